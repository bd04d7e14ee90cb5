"""The bytes of the requests that are sent round and round, made beforehand."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from bench import reports
from bench.load import head, post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TENANT: Final = "Bench/Production"
BASE: Final = f"/fhir/R4/{TENANT}"
FORM: Final = "application/x-www-form-urlencoded"
FHIR: Final = "application/fhir+json"
REQUESTS: Final = 2_000
"""Search requests made beforehand, each for a random patient."""
SEED: Final = 2026


def searches(
    kind: str, patients: Iterable[tuple[str, int]], token: str, *, requests: int = REQUESTS
) -> Callable[[], bytes]:
    """Searches for random ones of these patients (site and number)."""
    chosen = random.Random(SEED).choices(list(patients), k=requests)
    endless = itertools.cycle([search(kind, number, token, site) for site, number in chosen])
    return endless.__next__


def search(kind: str, number: int, token: str, site: str = "") -> bytes:
    """Search for one patient."""
    reference = f"Patient/{reports.patient_id(number, site)}"
    form = {
        "patient": f"patient={reference}",
        "subject": f"subject={reference}",
        "chain": f"patient.identifier={quote(f'{reports.PATIENT_SYSTEM}|{reports.mrn(number, site)}')}",
        "include": f"patient={reference}&_include=DiagnosticReport:result",
    }[kind]
    path = f"{BASE}/DiagnosticReport/_search"
    return post(path, form.encode(), media_type=FORM, token=token)


def bundles(
    template: reports.BundleTemplate, token: str, prefix: str, path: str = BASE
) -> Callable[[], bytes]:
    """Distinct Bundles of one form."""
    numbers = itertools.count(int(prefix) * 10**11)
    size = len(template.body(next(numbers)))
    start = head(path, media_type=FHIR, token=token, length=size)
    return lambda: start + template.body(next(numbers))


def pushes(patients: int, token: str, prefix: str) -> Callable[[], bytes]:
    """Distinct reports of patients that no search asks for."""
    template = reports.Template(patients + 1)
    numbers = itertools.count(int(prefix) * 10**11)
    size = len(template.body(next(numbers)))
    start = head(f"{BASE}/DiagnosticReport", media_type=FHIR, token=token, length=size)
    return lambda: start + template.body(next(numbers))
