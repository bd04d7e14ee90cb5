"""Whether an answer is what was asked for, and whether two servers answer alike."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

import orjson

from bench.load import END_OF_HEAD, ask_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.servers import Server

VOLATILE: Final = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=X-Request-Id: )[0-9a-f]{32}"
    rb"|(?<=Date: )[^\r]+|(?<=Last-Modified: )[^\r]+|(?<=\"lastUpdated\":\")[^\"]+"
)
"""Elements that differ from one answer to the next: ids, moments."""


def content(answer: bytes) -> bytes:
    """The body of an answer."""
    return answer.partition(END_OF_HEAD)[2]


def found(each: int) -> Callable[[bytes], None]:
    """Whether a Bundle holds as many reports as a patient has."""

    def check(answer: bytes) -> None:
        bundle = orjson.loads(content(answer))
        assert bundle["total"] == each == len(bundle["entry"]), bundle["total"]

    return check


def found_of_patient(each: int, *, included: int = 0) -> Callable[[bytes], None]:
    """Whether a Bundle holds that many reports, all of the patient asked for, and brings along so many."""

    def check(answer: bytes) -> None:
        bundle = orjson.loads(content(answer))
        modes = Counter(entry["search"]["mode"] for entry in bundle["entry"])
        assert bundle["total"] == each, bundle["total"]
        assert modes == Counter(match=each, include=included), modes
        assert len({entry["fullUrl"] for entry in bundle["entry"]}) == each + included, "an entry twice"
        links = {link["relation"]: link["url"] for link in bundle["link"]}
        asked = parse_qs(urlsplit(links["self"]).query)["patient"]
        subjects = {entry["resource"]["subject"]["reference"] for entry in bundle["entry"]}
        assert subjects == set(asked), (subjects, asked)
        named = {one["reference"] for entry in bundle["entry"] for one in entry["resource"].get("result", ())}
        brought = {
            f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
            for entry in bundle["entry"]
            if entry["search"]["mode"] == "include"
        }
        assert brought <= named, brought - named

    return check


def stored(answer: bytes) -> None:
    """Whether a push was answered with the report."""
    report = orjson.loads(content(answer))
    assert report["meta"]["versionId"] == "1", report["meta"]


def all_stored(number: int) -> Callable[[bytes], None]:
    """Whether every entry of a Bundle was created."""

    def check(answer: bytes) -> None:
        statuses = Counter(entry["response"]["status"] for entry in orjson.loads(content(answer))["entry"])
        assert statuses == Counter({"201 Created": number}), statuses

    return check


async def verify_same(
    one: Server,
    other: Server,
    request: bytes,
    other_request: bytes | None = None,
    *,
    renamed: Callable[[bytes], bytes] = bytes,
) -> None:
    """Both give the same bytes, but for ids and the moment; the other's answer may have to be renamed."""
    ours = comparable(await ask_once(one.port, request))
    theirs = comparable(renamed(await ask_once(other.port, other_request or request)))
    assert ours[0] == theirs[0], f"the heads of two answers differ: {ours[0]} {theirs[0]}"
    assert ours[1] == theirs[1], f"two answers differ: {ours[1][:2000]!r} {theirs[1][:2000]!r}"


def comparable(answer: bytes) -> tuple[list[bytes], bytes]:
    """Head lines in alphabetical order and body, without what is new in each answer."""
    lines, _, body = VOLATILE.sub(b"*", answer).partition(END_OF_HEAD)
    return sorted(lines.split(b"\r\n")), body
