"""`python -m bench.feeds`: an HL7 v2 result beside the same as a FHIR message, both over HTTP.

An ORU^R01 with twelve OBX, and the Bundle that it is mapped to, pushed to `$process-message`. What the first
costs more is reading, mapping and the kept message. Part of `make bench`.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Final

import orjson

from bench import servers
from bench.answers import content
from bench.load import post
from bench.requests import FHIR
from bench.rounds import Contender, Target, compare, of_comparisons, rows
from ingest.hl7v2.profile import DEFAULT_PROFILE
from ingest.hl7v2.reader import read
from ingest.hl7v2.translate import translate
from ingest.pipeline.stamp import dump

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from bench.servers import Server

TENANT: Final = "Bench/Production"
RESULTS: Final = 12
TARGET: Final = Target(1.5, at_most=True)
TITLE: Final = f"HL7 v2: an ORU with {RESULTS} OBX, beside the same as a FHIR message"
_NUMBER: Final = b"%012d" % 0
_ER7: Final = "application/hl7-v2"


def oru(number: bytes) -> bytes:
    """A laboratory's result."""
    results = [
        f"OBX|{n}|NM|{2_000 + n}-3^Analyte {n}^LN||{4 + n}.2|mmol/L^^UCUM|3.5-12.1|N|||F|||20261122093000|LAB"
        for n in range(1, RESULTS + 1)
    ]
    lines = [
        "MSH|^~\\&|LAB|HOSP|DOD|CITY|20261122103000+0000||ORU^R01^ORU_R01|#|P|2.5.1",
        "PID|1||MRN#^^^HOSP&urn:bench:mrn&URI^MR||Bench^Patient||19700101|F|||1 Street^^City",
        "OBR|1|O#^HIS|F#^LAB|24323-8^Panel^LN|||20261122093000|||||||||||||||20261122100000||LAB|F",
        *results,
        "",
    ]
    return "\r".join(lines).encode().replace(b"#", number)


def as_message(number: bytes) -> bytes:
    """The same as it is mapped."""
    bundle = translate(read(oru(number)), DEFAULT_PROFILE).bundle
    assert bundle is not None
    return dump(bundle)


def accepted(answer: bytes) -> None:
    """Whether a message was accepted."""
    assert b"\rMSA|AA|" in answer, answer[:2_000]


def stored(answer: bytes) -> None:
    """Whether all of a message was made."""
    told = [entry["response"]["status"] for entry in orjson.loads(content(answer))["entry"]]
    assert told.count("201 Created") >= len(told) - 1, told  # The laboratory is there already.


_PREFIXES: Final = itertools.count(1)


def pushes(path: str, whole: bytes, token: str, media_type: str) -> Callable[[], bytes]:
    """Distinct requests of one length."""
    parts, numbers = whole.split(_NUMBER), itertools.count(next(_PREFIXES) * 10**10)

    def make() -> bytes:
        body = (b"%012d" % next(numbers)).join(parts)
        return post(f"/fhir/R4/{path}", body, media_type=media_type, token=token)

    return make


def contenders(service: Server, tenant: str, token: str) -> tuple[Contender, Contender]:
    """The two to compare."""
    v2 = pushes(f"{tenant}/$hl7v2", oru(_NUMBER), token, _ER7)
    fhir = pushes(f"{tenant}/$process-message", as_message(_NUMBER), token, FHIR)
    return Contender("HL7 v2", service, v2, accepted), Contender("FHIR message", service, fhir, stored)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = of_comparisons("bench.feeds", __doc__)
    parser.add_argument("--senders", type=int, default=8, help="messages in flight [8]")
    return parser.parse_args()


async def main() -> None:
    """Start, push, print, end."""
    options = arguments()
    async with servers.database(pin=not options.no_pin) as (mongod, place, on):
        token = servers.token(TENANT, uri=mongod.uri)
        with servers.service(mongod, place / "log", on) as server:
            pair = contenders(server, TENANT, token)
            times = {"seconds": options.seconds, "rounds": options.rounds}
            await compare(pair, status=b"200", connections=options.senders, **times)
            print("\n" + "\n".join(rows(TITLE, pair, TARGET)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
