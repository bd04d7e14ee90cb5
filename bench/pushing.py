"""`python -m bench.pushing`: what a push costs beside a plain one: with an `Idempotency-Key`, under a policy.

One service on an embedded mongod, two tenants, one of which has a retention policy. Every report is about one
of the tenant's patients; what it refers to otherwise is not there.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any, Final

from bench import reports, servers
from bench.answers import stored
from bench.load import ask_once, post
from bench.requests import FHIR
from bench.rounds import Contender, Target, compare, of_comparisons, rows

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

PLAIN: Final = "Bench/Production"
KEEPING: Final = "Bench/Staging"
"""The tenant with a policy."""
PATIENTS: Final = 1_000


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = of_comparisons("bench.pushing", __doc__)
    parser.add_argument("--pushers", type=int, default=64, help="pushes in flight [64]")
    return parser.parse_args()


async def main() -> None:
    """Start, push, print, end."""
    options = arguments()
    async with servers.database(pin=not options.no_pin) as (mongod, place, on):
        token = servers.token(PLAIN, KEEPING, uri=mongod.uri)
        servers.dod("retention", "set", KEEPING, "--keep-days", "1095", uri=mongod.uri)
        quiet = {"DOD_RETENTION_INTERVAL_MINUTES": "0"}
        with servers.service(mongod, place / "log", on, **quiet) as server:
            for tenant in (PLAIN, KEEPING):
                body = reports.batch([reports.patient(number) for number in range(PATIENTS)])
                sent = post(f"/fhir/R4/{tenant}", body, media_type=FHIR, token=token)
                answer = await ask_once(server.port, sent)
                assert answer.count(b"201 Created") == PATIENTS, answer[:2000]
            for label, tenant, keyed in (
                ("with Idempotency-Key", PLAIN, True),
                ("under a policy", KEEPING, False),
            ):
                pair = (
                    Contender(label, server, pushes(tenant, token, keyed=keyed), stored),
                    Contender("plain", server, pushes(PLAIN, token), stored),
                )
                times: dict[str, Any] = {"seconds": options.seconds, "rounds": options.rounds}
                await compare(pair, status=b"201", connections=options.pushers, **times)
                title = f"Pushes {label}, {options.pushers} in flight"
                print("\n" + "\n".join(rows(title, pair, Target(None, at_most=True))), flush=True)


_PREFIXES: Final = itertools.count(1)


def pushes(tenant: str, token: str, *, keyed: bool = False) -> Callable[[], bytes]:
    """Distinct reports, each about the next patient."""
    templates = itertools.cycle([reports.Template(number) for number in range(PATIENTS)])
    numbers = itertools.count(next(_PREFIXES) * 10**11)
    path = f"/fhir/R4/{tenant}/DiagnosticReport"

    def make() -> bytes:
        number = next(numbers)
        request = post(path, next(templates).body(number), media_type=FHIR, token=token)
        if not keyed:
            return request
        return request.replace(b"\r\n", b"\r\nIdempotency-Key: key-%d\r\n" % number, 1)

    return make


if __name__ == "__main__":
    asyncio.run(main())
