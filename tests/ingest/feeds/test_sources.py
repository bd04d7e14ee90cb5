"""The file of sources and listeners: read as it says, refused with a sentence where it is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ingest.feeds.sources import first_match, load_feeds
from ingest.hl7v2.reader import read_header
from store.errors import StartupError
from tests.support.mllp import oru

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = '[[source]]\nname = "lab"\ntenant = "acme/Development"\n'
LISTENER = "[[listener]]\nport = 2575\n"
WHOLE = """
[[source]]
name = "lab"
tenant = "acme/Production"
profile = "lab.toml"
sending_application = "LAB"
receiving_facility = "CITY"

[[source]]
name = "rest"
tenant = "acme/Staging"
charset = "8859/1"

[[listener]]
port = 2575
host = "127.0.0.1"
name = "inside"
networks = ["10.0.0.0/8", "::1/128"]
acknowledge = "both"

[[listener]]
port = 2576
sources = ["rest"]
certificate = "tls.crt"
key = "tls.key"
client_ca = "ca.pem"
client_names = ["lab.example"]
"""


def written(folder: Path, text: str) -> Path:
    (folder / "lab.toml").write_text('zone = "Europe/Berlin"\n')
    (folder / "wrong.toml").write_text('zone = "Mars/Olympus"\n')
    file = folder / "sources.toml"
    file.write_text(text)
    return file


def test_a_whole_file_is_read_as_it_says(tmp_path: Path) -> None:
    feeds = load_feeds(written(tmp_path, WHOLE))
    lab, rest = feeds.sources
    assert (lab.name, str(lab.tenant), lab.profile.zone) == ("lab", "acme/Production", "Europe/Berlin")
    assert rest.profile.charset == "8859/1"
    inside, outside = feeds.ports
    assert (inside.name, inside.host, inside.sources, inside.both) == (
        "inside",
        "127.0.0.1",
        (lab, rest),
        True,
    )
    assert (outside.name, outside.sources, outside.certificate) == ("2576", (rest,), tmp_path / "tls.crt")
    assert feeds.of_tenant(rest.tenant) == (rest,)
    assert [inside.admits(one, ()) for one in ("10.1.2.3", "::1", "192.168.1.1")] == [True, True, False]
    assert [outside.admits("10.1.2.3", one) for one in ((), ("lab.example",), ("other",))] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("old", "new", "source"),
    [
        (b"", b"", "lab"),
        (b"|LAB|", b"|RIS|", "rest"),
        (b"|CITY|", b"|OTHER|", "rest"),
        (b"|LAB|", b"|LAB^1.2^ISO|", "lab"),
    ],
)
def test_the_first_source_that_matches_the_header_is_that_of_the_message(
    tmp_path: Path, old: bytes, new: bytes, source: str
) -> None:
    feeds = load_feeds(written(tmp_path, WHOLE))
    found = first_match(feeds.sources, read_header(oru().replace(old, new, 1)))
    assert found is not None
    assert found.name == source
    assert first_match(feeds.sources[:1], read_header(oru().replace(b"|LAB|", b"|X|", 1))) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "`source`"),
        ("name = ", "not TOML"),
        (SOURCE.replace("acme/Development", "acme"), "ORG/ENV"),
        (SOURCE.replace("name", "nmae"), "did you mean `name`"),
        (SOURCE + SOURCE, "two sources are named `lab`"),
        (SOURCE.replace('"lab"', '"la b"'), "source.0.name"),
        (SOURCE + 'profile = "none.toml"', "No such file"),
        (SOURCE + 'profile = "wrong.toml"', "zone"),
        (SOURCE + LISTENER + 'sources = ["lba"]', "no source is named `lba`"),
        (SOURCE + LISTENER.replace("2575", "70000"), "listener.0.port"),
        (SOURCE + LISTENER + 'key = "k"', "need `certificate`"),
        (SOURCE + LISTENER + 'certificate = "c"\nclient_names = ["x"]', "needs `client_ca`"),
        (SOURCE + LISTENER + 'networks = ["10.0.0.0/33"]', "listener.0.networks"),
        (SOURCE + LISTENER + 'acknowledge = "never"', "listener.0.acknowledge"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place_and_the_rule(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(StartupError, match=r"\.toml") as refused:
        load_feeds(written(tmp_path, text))
    assert says in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read: No such file"):
        load_feeds(tmp_path / "nothing.toml")
