"""Import contracts: each holds, and refuses a violation planted into the graph of imports."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grimp
import pytest
from importlinter.application.use_cases import read_user_options
from importlinter.configuration import configure
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract

if TYPE_CHECKING:
    from grimp import ImportGraph
    from importlinter.domain.contract import Contract

ROOT = Path(__file__).parent.parent
TYPES: dict[str, type[Contract]] = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "layers": LayersContract,
}
DRIVER = "driver: only store.mongo imports motor, pymongo, bson or gridfs"
PURE = "pure: no web, driver, scheduler or metrics, not even indirectly"
PLANTED = [
    ("api over ingest over store", "store.tenancy", "ingest.ids"),
    ("api over ingest over store", "ingest.settings", "api.settings.service"),
    (
        "inside store: schedule over mongo over sweep over ports over search over fhir",
        "store.fhir.references",
        "store.search.parameters",
    ),
    (
        "inside store: schedule over mongo over sweep over ports over search over fhir",
        "store.stores",
        "store.mongo.stores",
    ),
    ("inside ingest: each room knows only the rooms below it", "ingest.pipeline.stamp", "ingest.writes.push"),
    (
        "inside store.mongo: each room knows only the rooms below it",
        "store.mongo.driver.guard",
        "store.mongo.resources.writing",
    ),
    ("inside api: each room knows only the rooms below it", "api.server.logs", "api.search.links"),
    ("no cycles between modules or rooms", "store.search.values.dates", "store.search.planning.plan"),
    ("no cycles between modules or rooms", "ingest.pipeline.stamp", "ingest.pipeline.prepare"),
    (PURE, "ingest.pipeline.identity.facts", "prometheus_client"),
    (PURE, "ingest.hl7v2.reader", "aiohttp"),
    (PURE, "store.search.rows.care", "pymongo"),
    (PURE, "store.retention.policy", "store.mongo.documents"),
    (PURE, "store.retention.needs", "store.metrics"),
    (DRIVER, "api.commands.retention.purge", "pymongo"),
    (DRIVER, "store.files", "bson"),
    ("web: store has never heard of HTTP", "store.mongo.stores", "aiohttp"),
]


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return grimp.build_graph("store", "ingest", "api", include_external_packages=True, cache_dir=None)


@pytest.fixture(scope="module")
def contracts() -> dict[str, Contract]:
    configure()
    options = read_user_options(str(ROOT / "pyproject.toml"))
    return {one["name"]: _contract(one, options.session_options) for one in options.contracts_options}


def _contract(options: dict[str, Any], session: dict[str, Any]) -> Contract:
    made = TYPES[options["type"]]
    return made(name=options["name"], session_options=session, contract_options=options)


def kept(contract: Contract, graph: ImportGraph) -> bool:
    return contract.check(graph=deepcopy(graph), verbose=False).kept


def test_each_contract_has_a_planted_violation(contracts: dict[str, Contract]) -> None:
    assert {name for name, *_ in PLANTED} == set(contracts)


def test_each_contract_holds(contracts: dict[str, Contract], graph: ImportGraph) -> None:
    assert [name for name, contract in contracts.items() if not kept(contract, graph)] == []


@pytest.mark.parametrize(("name", "importer", "imported"), PLANTED)
def test_a_planted_violation_is_refused(
    contracts: dict[str, Contract], graph: ImportGraph, name: str, importer: str, imported: str
) -> None:
    assert {importer, imported} <= graph.modules, "the planted import names modules that are there"
    planted = deepcopy(graph)
    planted.add_import(importer=importer, imported=imported, line_number=1, line_contents="")
    assert not kept(contracts[name], planted)


@pytest.mark.parametrize(
    ("layer", "container"), [("ingest", "ingest"), ("store.mongo", "store.mongo"), ("api", "api")]
)
def test_a_room_that_no_layer_names_is_refused(
    contracts: dict[str, Contract], graph: ImportGraph, layer: str, container: str
) -> None:
    planted = deepcopy(graph)
    planted.add_module(f"{container}.elsewhere")
    assert not kept(contracts[f"inside {layer}: each room knows only the rooms below it"], planted)
