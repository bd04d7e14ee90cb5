"""The reader: segments, fields, delimiters, charsets, line ends, files and batches."""

import encodings
from collections.abc import Iterator
from contextlib import suppress

import hl7
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.hl7v2.batches import split
from ingest.hl7v2.charsets import codec_of
from ingest.hl7v2.reader import Message, Unreadable, read, read_header
from tests.support.extra import DATA

HEAD = r"MSH|^~\&|LAB|HOSP|EHR|MAIN|20260302081500||ORU^R01^ORU_R01|M1|P|2.5.1"
BODY = ("PID|1||7^^^HOSP^MR||Doe^Jane", "OBR|1||F1|GLU^Glucose^L", r"OBX|1|TX|N^Note^L||a\T\b~c")


def message(*segments: str, head: str = HEAD, end: str = "\r") -> bytes:
    return end.join([head, *segments, ""]).encode()


def texts(read_message: Message) -> list[str]:
    return [one.text(read_message.header.delimiters) for one in read_message.segments]


def test_a_message_is_its_segments_and_fields() -> None:
    found = read(message(*BODY))
    assert texts(found) == [HEAD, *BODY]
    assert found.type == ("ORU", "R01")
    assert found.control_id == "M1"
    assert [(one.name, one.sequence) for one in found.segments][1:] == [("PID", 1), ("OBR", 1), ("OBX", 1)]
    assert found.segments[1].fields[3] == "7^^^HOSP^MR"
    assert found.header.fields[1:3] == ("|", r"^~\&")
    assert found.header.fields[9] == "ORU^R01^ORU_R01"
    assert found.faults == ()


def test_the_header_s_values() -> None:
    head = (
        r"MSH|^~\&|LAB&x^1.2^ISO|H\T\S^9|EHR|MAIN|20260302||oru^r01|M\F\1|t^A|2.5.1^BEL|||al|NE||8859/1~ASCII"
    )
    header = read_header(message(*BODY, head=head))
    assert header.sending_application == "LAB&x"
    assert header.sending_facility == "H&S"
    assert (header.receiving_application, header.receiving_facility) == ("EHR", "MAIN")
    assert header.type == ("ORU", "R01")
    assert header.control_id == "M|1"
    assert (header.processing_id, header.version, header.charsets) == ("T", "2.5.1", ("8859/1", "ASCII"))
    assert (header.accept_acknowledgment, header.application_acknowledgment) == ("AL", "NE")


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r", "\n\n"])
def test_any_line_end_ends_a_segment(end: str) -> None:
    assert texts(read(message(*BODY, end=end))) == [HEAD, *BODY]


def test_framing_and_byte_order_marks_are_not_of_the_message() -> None:
    framed = b"\x0b" + message(*BODY) + b"\x1c\r"
    assert texts(read(framed)) == [HEAD, *BODY]
    assert texts(read(b"\xef\xbb\xbf" + message(*BODY))) == [HEAD, *BODY]
    assert texts(read(b"\r\n  " + message(*BODY))) == [HEAD, *BODY]


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        (r"|^~\&", ("|", "^", "~", "\\", "&", "")),
        (r"|^~\&#", ("|", "^", "~", "\\", "&", "#")),
        (r"#@%!$", ("#", "@", "%", "!", "$", "")),
        (r"|^~\ ".strip(), ("|", "^", "~", "\\", "&", "")),
        (r"|^", ("|", "^", "~", "\\", "&", "")),
        (r"|^~\\&", ("|", "^", "~", "\\", "&", "")),
    ],
)
def test_the_delimiters_are_those_of_msh(marks: str, expected: tuple[str, ...]) -> None:
    mark = marks[0]
    head = HEAD.replace("|", mark).replace(r"^~\&", marks[1:])
    head = head.replace("ORU^R01^ORU_R01", f"ORU{marks[1]}R01")
    found = read(message(mark.join(["PID", "1", "", "7"]), head=head))
    assert tuple(found.header.delimiters) == expected
    assert found.type == ("ORU", "R01")
    assert found.segments[1].fields[3] == "7"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("ORU^^ORU_R01", ("ORU", "R01")),
        ("ORU_R01", ("ORU", "R01")),
        ("ORU", ("ORU", "R01")),
        ("ORM", ("ORM", "O01")),
        ("OUL", ("OUL", "")),
        ("MDM_T02", ("MDM", "T02")),
    ],
)
def test_the_type_is_told_by_the_structure_where_the_event_is_missing(
    sent: str, told: tuple[str, str]
) -> None:
    assert read_header(message(*BODY, head=HEAD.replace("ORU^R01^ORU_R01", sent))).type == told


@pytest.mark.parametrize(
    ("declared", "encoding", "default"),
    [
        ("8859/1", "iso8859-1", None),
        ("8859/2", "iso8859-2", None),
        ("8859/15", "iso8859-15", None),
        ("UNICODE UTF-8", "utf-8", None),
        ("UTF-8", "utf-8", None),
        ("ISO IR87", "iso2022_jp", None),
        ("~ISO IR87", "iso2022_jp_ext", None),
        ("ISO IR14~ISO IR87~ISO IR159", "iso2022_jp_ext", None),
        ("ISO IR13~ISO IR87", "iso2022_jp_ext", None),
        ("ASCII~8859/2", "iso8859-2", None),
        ("ASCII~KLINGON", "utf-8", None),
        ("8859/1~UNICODE UTF-8", "iso8859-1", None),
        ("GB 18030-2000", "gb18030", None),
        ("", "utf-8", None),
        ("", "iso8859-1", "8859/1"),
        ("ASCII", "cp1252", "windows-1252"),
    ],
)
def test_text_is_read_in_the_charset_of_msh_18_else_the_source_s(
    declared: str, encoding: str, default: str | None
) -> None:
    japanese = {"iso2022_jp": "山田", "iso2022_jp_ext": "山田ｶﾞ", "gb18030": "山田"}
    name = {**japanese, "iso8859-2": "Łódź", "iso8859-15": "€é"}.get(encoding, "Müllé")
    text = f"{HEAD}||||||{declared}\rPID|1||7||{name}\r"
    found = read(text.encode(encoding), default)
    assert found.segments[1].fields[5] == name
    assert found.header.encoding == encoding
    assert found.header.charsets == tuple(declared.split("~"))
    assert found.faults == ()


@pytest.mark.parametrize("name", ["punycode", "PUNY_CODE", "idna", "utf-7", "unicode_escape", "hex"])
def test_codecs_that_are_no_charsets_are_unknown(name: str) -> None:
    assert codec_of(name) is None


def test_names_of_charsets_that_came_are_not_remembered() -> None:
    before = len(encodings._cache)
    for number in range(10):
        with pytest.raises(Unreadable):
            read(f"{HEAD}||||||klingon{number}\rPID|1||7||Müller\r".encode())
    assert len(encodings._cache) == before


def test_a_charset_that_nobody_names_is_guessed_and_said() -> None:
    found = read(f"{HEAD}\rPID|1||7||Müller\r".encode("cp1252"))
    assert found.segments[1].fields[5] == "Müller"
    assert [(one.place, one.severity) for one in found.faults] == [("MSH[1]-18", "W")]


@pytest.mark.parametrize(
    ("data", "place", "code"),
    [
        (b"", "MSH[1]", "100"),
        (b"hello", "MSH[1]", "100"),
        (b"PID|1\r", "MSH[1]", "100"),
        (b"MSH|^~\\&", "MSH[1]-9.1", "101"),
        (b"MSH|^^\\&|LAB\rPID|1\r", "MSH[1]-2", "102"),
        (b"MSH|abcd|LAB\rPID|1\r", "MSH[1]-2", "102"),
        (message(*BODY, head=HEAD.replace("ORU^R01^ORU_R01", "")), "MSH[1]-9.1", "101"),
        (message("PID|1||7||Müller", head=f"{HEAD}||||||KLINGON"), "MSH[1]-18", "102"),
        (f"{HEAD}||||||UNICODE UTF-8\rPID|1||7||Müller\r".encode("cp1252"), "MSH[1]-18", "102"),
        (message("PID|1||7", HEAD, "PID|1||8"), "MSH[2]", "100"),
        (message("PID|1||7", "what is this"), "PID[1]", "100"),
        (message("PID|1||7", "xyz|1|NM"), "PID[1]", "100"),
    ],
)
def test_what_is_no_message_is_refused_with_place_and_rule(data: bytes, place: str, code: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read(data)
    assert [(one.place, one.code, one.severity) for one in caught.value.faults] == [(place, code, "E")]
    assert "Müller" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        message("PID|1||7||Müller", head=f"{HEAD}||||||KLINGON"),
        message("PID|1||7", HEAD),
        message("PID|1||7", "no segment"),
        message("PID|1||7", head=HEAD.replace("ORU^R01^ORU_R01", "")),
    ],
)
def test_a_refusal_knows_the_message_it_is_about(data: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        read(data)
    assert caught.value.header is not None
    assert caught.value.header.control_id == "M1"


def test_a_message_of_a_header_alone_has_nothing_to_say() -> None:
    found = read(message())
    assert [(one.place, one.severity) for one in found.faults] == [("MSH[1]", "E")]


def test_what_is_plain_is_read_whatever_the_charset_is_called() -> None:
    assert read(message(*BODY, head=f"{HEAD}||||||KLINGON")).header.charsets == ("KLINGON",)


def test_segments_in_small_letters_and_indented_ones_are_known() -> None:
    assert [one.name for one in read(message("pid|1||7", "  obx|1|NM|K||1")).segments] == [
        "MSH",
        "PID",
        "OBX",
    ]


def test_a_segment_in_pieces_is_put_together() -> None:
    found = read(message("OBX|1|FT|N^Note^L||first ha", "ADD|lf, seco", "ADD|nd half||||||F", "NTE|1||x"))
    assert [one.name for one in found.segments] == ["MSH", "OBX", "NTE"]
    assert found.segments[1].fields[5] == "first half, second half"
    assert found.segments[1].fields[11] == "F"


def test_lines_of_text_that_nobody_escaped_stay_text() -> None:
    found = read(message("OBX|1|TX|N^Note^L||first line", "second line", "", "third | line", "OBX|2|NM|K||1"))
    assert found.segments[1].fields[5] == "first line\nsecond line\nthird "
    assert found.segments[2].fields[5] == "1"


def test_a_file_is_many_messages() -> None:
    one, other = message(*BODY), message(*BODY, head=HEAD.replace("M1", "M2"))
    whole = b"FHS|^~\\&|LAB\rBHS|^~\\&|LAB\r" + one + b"\x0b" + other + b"\x1c\rBTS|2\rFTS|1\r"
    assert [read(each).control_id for each in split(whole)] == ["M1", "M2"]
    assert texts(read(next(split(one + other)))) == [HEAD, *BODY]
    assert list(split(b"")) == []
    with pytest.raises(Unreadable):
        [read(each) for each in split(b"garbage\r" + one)]


def _files() -> Iterator[bytes]:
    for path in sorted((DATA / "oru").glob("*")) if DATA else []:
        if path.suffix in (".hl7", ".txt"):
            yield path.read_bytes()


@pytest.mark.skipif(DATA is None, reason="TEST_DATA names no folder")
def test_python_hl7_reads_public_messages_the_same() -> None:
    for data in (each for file in _files() for each in split(file)):
        found = read(data)
        theirs = hl7.parse(data.removeprefix(b"\xef\xbb\xbf").decode(found.header.encoding).rstrip("\r"))
        assert [str(one).split(found.header.delimiters.field)[1:] for one in theirs][1:] == [
            list(one.fields)[1:] for one in found.segments
        ][1:]


_TEXT = st.text(
    st.characters(exclude_characters="|^~\\&\r\n", codec="utf-8", exclude_categories=["Cc"]), max_size=8
)
_FIELDS = st.lists(st.lists(_TEXT, min_size=1, max_size=3).map("^".join), min_size=1, max_size=6).map(
    "|".join
)


@given(st.lists(st.tuples(st.sampled_from(["PID", "OBX", "ZZ1"]), _FIELDS), min_size=1, max_size=5))
def test_what_is_read_is_what_was_sent_and_what_python_hl7_reads(sent: list[tuple[str, str]]) -> None:
    segments = [f"{name}|{fields}" for name, fields in sent]
    found = read(message(*segments))
    assert texts(found) == [HEAD, *segments]
    theirs = hl7.parse(message(*segments).decode())
    for mine, other in zip(found.segments[1:], theirs[1:], strict=True):
        # It leaves blanks at the end of a segment out.
        assert str(other).rstrip() == "|".join(mine.fields).rstrip()


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    for each in (data, HEAD.encode() + b"\r" + data, b"MSH" + data):
        with suppress(Unreadable):
            assert read(each).segments
