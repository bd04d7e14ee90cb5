"""`dod demo`: start the service, push sample reports as a source would, search them, keep serving."""

from __future__ import annotations

import socket
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson
import typer
from aiohttp import ClientSession, ClientTimeout

from api.app import utc_now
from api.auth.scopes import ADMIN
from api.commands.access.tenants import create_tenant, issue_token
from api.database import command_stores
from api.demo import years
from api.serve import running
from store.errors import StartupError
from store.tenancy import Tenant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from importlib.resources.abc import Traversable

    from api.settings.service import Settings

TENANT: Final = Tenant("redox-fhir-sandbox", "Development")
PATIENT: Final = "Patient/81c2f5eb-f99f-40c4-b504-59483e6148d7"
REPORT: Final = "27894d07-e072-4969-ab7c-12f175be32c2"
"""Patient and report of upstream's page "Retrieve a patient's diagnostic results"."""
FHIR: Final = {"Content-Type": "application/fhir+json"}


class Sample(NamedTuple):
    """Push of the demo."""

    file: str
    method: str
    path: str
    what: str


SAMPLES: Final = (
    Sample(
        "product-page-report.json",
        "PUT",
        f"DiagnosticReport/{REPORT}",
        "the product page's own report (its `category` is an object; it is mended)",
    ),
    Sample(
        "message.json",
        "POST",
        "$process-message",
        "a lipid panel with observations and patient, in one message",
    ),
    Sample("imaging-report.json", "PUT", "DiagnosticReport/demo-chest-x-ray", "an imaging report with a PDF"),
)


async def demo(settings: Settings, *, once: bool) -> None:
    """Run the service, push the samples, search them and print each answer; with `once`, end after that.

    Raises StartupError when something did not work.
    """
    quiet = settings.model_copy(update={"log_level": "WARNING", **ports_of(settings)})
    async with running(quiet) as service:
        base = f"{service.url}/fhir/R4/{TENANT}"
        token = await _let_in(quiet)
        _say(f"The service runs at {service.url}, metrics and probes at {service.admin_url}.\n")
        headers = {"Authorization": f"Bearer {token}"}
        async with ClientSession(headers=headers, timeout=ClientTimeout(total=30)) as client:
            for sample in SAMPLES:
                await _push(client, base, sample)
            await _push_years(client, base)
            await _push_refused(client, base)
            await _search(client, base)
        _say(_try_yourself(base, token, service.admin_url))
        if not once:
            _say("Serving until Ctrl-C.")
            await service.ended()


def ports_of(settings: Settings) -> dict[str, int]:
    """Ports in place of defaults that are taken: any that is free. One that was asked for stays."""
    wanted = {
        "port": (settings.host, settings.port),
        "admin_port": (settings.admin_host, settings.admin_port),
    }
    defaults = {name: at for name, at in wanted.items() if name not in settings.model_fields_set}
    taken = [name for name, at in defaults.items() if not is_free(*at)]
    for name in taken:
        _say(f"Port {wanted[name][1]} is in use, so another one is taken; DOD_{name.upper()} names one.")
    return dict.fromkeys(taken, 0)


def is_free(host: str, port: int) -> bool:
    """Whether nothing listens there."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


async def _let_in(settings: Settings) -> str:
    """A tenant, and a token for it that lives a day: the demo has no open door either."""
    async with command_stores(settings) as stores:
        await create_tenant(stores.access, TENANT, policies=stores.policies, now=utc_now())
        return await issue_token(
            stores.access,
            tenants=[TENANT],
            scopes=["system/*.cruds", ADMIN],
            days=1,
            client="demo",
            now=utc_now(),
        )


def _samples() -> Traversable:
    """The folder of the samples: in the package when it was built, at the top of a checkout else."""
    packed = files("api.demo").joinpath("samples")
    return packed if packed.is_dir() else Path(__file__).parents[2] / "samples"


async def _push(client: ClientSession, base: str, sample: Sample) -> None:
    body = _samples().joinpath(sample.file).read_bytes()
    async with client.request(sample.method, f"{base}/{sample.path}", data=body, headers=FHIR) as answer:
        if not answer.ok:
            raise StartupError(f"The demo's push of {sample.file} was answered {answer.status}.")
        _say(f"Pushed {sample.what}: {answer.status}.")


async def _push_years(client: ClientSession, base: str) -> None:
    """Eight years of one patient, as Bundles of a source that catches up."""
    count = 0
    for step in bundles(years.steps(utc_now())):
        async with client.post(base, data=step.body, headers=FHIR) as answer:
            entries = orjson.loads(await answer.read()).get("entry", [])
            count += step.entries
            if not all(entry["response"]["status"].startswith("2") for entry in entries):
                raise StartupError("The demo's push of eight years was refused in part.")
    _say(f"Pushed eight years of a made-up patient: {count} resources.")


async def _push_refused(client: ClientSession, base: str) -> None:
    """A report that is refused, so that there is a letter to look at."""
    body = years.to_json(years.without_status(utc_now())).encode()
    async with client.post(f"{base}/DiagnosticReport", data=body, headers=FHIR) as answer:
        if "Dead-Letter" not in answer.headers:
            raise StartupError(f"The demo's faulty report was answered {answer.status}.")
        _say(f"Pushed a report without a status: {answer.status}, kept as a dead letter.")


class Step(NamedTuple):
    """A batch to be pushed."""

    entries: int
    body: bytes


def bundles(steps: Iterable[list[dict[str, Any]]], entries_max: int = 100) -> Iterator[Step]:
    """Batches of PUTs; of a resource that comes twice, the second is in a later batch."""
    waiting: dict[str, dict[str, Any]] = {}
    for step in steps:
        urls = {f"{one['resourceType']}/{one['id']}": one for one in step}
        if waiting and (waiting.keys() & urls.keys() or len(waiting) + len(urls) > entries_max):
            yield _batch(waiting)
            waiting = {}
        waiting |= urls
    yield _batch(waiting)


def _batch(resources: Mapping[str, dict[str, Any]]) -> Step:
    entries = [{"resource": one, "request": {"method": "PUT", "url": url}} for url, one in resources.items()]
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    return Step(len(entries), years.to_json(bundle).encode())


async def _search(client: ClientSession, base: str) -> None:
    """The product page's own request."""
    url = f"{base}/DiagnosticReport/_search"
    _say(f"\nPOST {url}\n     subject={PATIENT}\n")
    async with client.post(url, data={"subject": PATIENT}) as answer:
        bundle = await answer.read()
    found = orjson.loads(bundle)
    ids = {entry["resource"]["id"] for entry in found.get("entry", [])}
    if answer.status != 200 or REPORT not in ids:  # noqa: PLR2004 -- HTTP
        raise StartupError(f"The demo's search was answered {answer.status} without its report.")
    _say(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())


def _try_yourself(base: str, token: str, admin_url: str) -> str:
    origin = base.partition("/fhir/")[0]
    return f"""
Try it yourself:

  TOKEN={token}
  curl -H "Authorization: Bearer $TOKEN" {base}/DiagnosticReport/_search \\
       -d 'patient.identifier=urn:redox:redox-fhir-sandbox:MR|MADE-UP-0001'
  curl -H "Authorization: Bearer $TOKEN" {base}/DiagnosticReport/_search \\
       -d 'patient={PATIENT}&category=LAB&date=ge2015-01-01'
  curl -H "Authorization: Bearer $TOKEN" {base}/DiagnosticReport/{REPORT}
  curl {base}/metadata
  curl {admin_url}/metrics

Or look at it in a browser; the link signs in, and the token leaves the address at once:

  {origin}/explorer#tenant={TENANT}&token={token}&patient={years.PATIENT}
"""


def _say(text: str) -> None:
    typer.echo(text)
