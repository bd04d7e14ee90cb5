"""The reference pages under `docs/`, made from the tables that run the server. `make docs` writes them.

A test compares them with what stands there, so that they cannot fall behind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from prometheus_client.metrics import MetricWrapperBase

from api.cli.page import page as commands_page
from api.metrics import ApiMetrics, new_registry
from api.processes.metrics import annex_metrics, herald_metrics
from api.server.loop_lag import LoopMetrics
from api.server.tls_metrics import TlsMetrics
from api.settings.groups import grouped
from api.settings.service import Settings, variable
from api.subscriptions.metrics import SubscriptionMetrics
from api.workers.metrics import SupervisorMetrics
from ingest.data_model.page import page as data_model_page
from ingest.feeds.metrics import FeedMetrics
from ingest.hl7v2.mapping.listing import DATATYPES, SECTIONS, STATUSES
from ingest.hl7v2.profile import DEFAULT_PROFILE, SourceProfile
from ingest.metrics import IngestMetrics, RefusalMetrics
from store.changes.metrics import ChangeMetrics
from store.metrics import StoreMetrics
from store.retention.metrics import RetentionMetrics
from store.search.parameters import COMMON, TYPES, SearchType
from store.search.parsing.includes import reversible_of
from store.search.rows.builders import ANY

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from api.settings.groups import SettingsGroup
    from ingest.hl7v2.mapping.listing import Section
    from store.search.parameters import Parameter, ResourceType

_MADE: Final = "<!-- Made by `make docs`. Do not edit. -->"


def settings_page() -> str:
    """All settings with default and meaning."""
    head = [
        _MADE,
        "",
        "# Settings",
        "",
        "Command-line options win over the environment, the environment over files in `DOD_SECRETS_DIR`,",
        "those over the TOML file of `--config` (names in lower case, without `DOD_`). Unknown names are",
        "refused.",
        "`dod settings` shows the values in force and where each comes from.",
        "",
    ]
    return "\n".join([*head, *(line for one in grouped(Settings.model_fields) for line in _group(one))])


def _group(group: SettingsGroup) -> Iterator[str]:
    yield f"## {group.title}"
    yield ""
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    yield from map(_setting, group.names)
    yield ""


def _setting(name: str) -> str:
    field = Settings.model_fields[name]
    default = "unset" if field.default is None else f"`{field.default}`"
    return f"| `{variable(name)}` | {default} | {_cell(field.description or '')} |"


def search_page() -> str:
    """All search parameters, type by type."""
    head = [
        _MADE,
        "",
        "# Search parameters",
        "",
        "By resource type; the common ones at the end serve every type. Tokens take `code`, `system|code`,",
        "`|code`, `system|`; dates take the prefixes `eq ne gt ge lt le sa eb ap`; references `Type/id`,",
        "a bare id or an absolute URL, and can be chained (`patient.identifier=…`,",
        "`subject:Patient.birthdate=…`).",
        "Where a search must name its patient, a bare id in `subject` is a Patient's, and no chain, `_has`",
        "or include leads from what many patients share (a Location, Group, Device …) to any of them.",
        "`_has:Type:reference:parameter=…` is the way back. Strings start a word, without case and",
        "accents; quantities are `[prefix]number[|system|code]`.",
        "Of one text the first 1,000 characters are searched, from the start of each of its first 12",
        "words; of `_content` and `_text` the first 50,000. `:exact` finds no longer text.",
        "",
        "Modifiers: `:missing` on all; `:not` and `:text` on tokens, `:of-type` on identifiers;",
        "`:identifier` and `:Type` on references; `:exact` and `:contains` on strings.",
        "",
        "`_sort` takes each of them but composites, `_text`, `_content` and `order`, several with commas,",
        "`-` before those that go down; what has no value sorts below everything.",
        "",
        "`_summary` (`true`, `text`, `data`, `count`, `false`) and `_elements=status,code` cut down",
        "what is shown, of a read too; mandatory elements and modifiers stay.",
        "",
        "`_include=Type:reference[:Target]`, `Type:*` or `*` brings along what the matches of a page",
        "refer to, `_revinclude=Type:reference` what refers to them (listed below each type);",
        "`:iterate` goes on from there, up to four references.",
        "",
        "Chains, `_has` and includes need a token that may search the types they lead to; an identifier",
        "with its value needs none (`patient.identifier=system|value`).",
        "",
        "`__explain=true` adds how the search was answered, for tokens with the scope `dod/admin`",
        "([operations.md](operations.md)).",
        "",
    ]
    types = [line for row in TYPES.values() if row.parameters for line in _type(row)]
    common = ["## Every type", "", *_table(COMMON)]
    return "\n".join([*head, *types, *common]) + "\n"


def _type(row: ResourceType) -> Iterator[str]:
    yield f"## {row.name}"
    yield ""
    back = ", ".join(f"`{one.name}`" for one in reversible_of(row))
    yield from _table(row.parameters)
    yield ""
    if back:
        yield f"`_revinclude={row.name}:…` takes {back}."
        yield ""


def _table(parameters: tuple[Parameter, ...]) -> Iterator[str]:
    yield "| name | type | where | notes |"
    yield "|---|---|---|---|"
    for row in parameters:
        kind = "reference or token" if row.type is SearchType.SPECIAL else row.type.fhir
        where = f"`{row.expression}`" if row.expression else ""
        yield f"| `{row.name}` | {kind} | {_cell(where)} | {_cell('; '.join(_notes(row)))} |"


def _notes(row: Parameter) -> Iterator[str]:
    if row.aliases:
        yield "also " + ", ".join(f"`{alias}`" for alias in row.aliases)
    if row.targets:
        yield "to any type" if row.targets == ANY else "to " + ", ".join(row.targets)
    if row.components:
        yield "written `" + "$".join(part.name for part in row.components) + "`"
    elif row.members and not row.documentation:
        yield "one of " + ", ".join(f"`{name}`" for name in row.members)
    if row.documentation:
        yield row.documentation


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


_METRIC_GROUPS: Final = (
    ("HTTP", ("dod_http", "dod_search", "dod_verifications", "dod_token_requests", "dod_source")),
    ("Pushes", ("dod_ingest", "dod_dead_letters")),
    ("The store", ("dod_store",)),
    ("The change feed", ("dod_changes",)),
    ("Forgetting", ("dod_retention",)),
    ("Subscriptions", ("dod_subscription",)),
    ("The process and what else there is", ("",)),
)
"""Titles, and how the names of their metrics begin; the first that fits."""


def all_metrics() -> CollectorRegistry:
    """Every metric that any process of the service may have."""
    registry = new_registry()
    for made in METRICS:
        made(registry)
    return registry


METRICS: Final[Sequence[Callable[[CollectorRegistry], object]]] = (
    *(ApiMetrics, IngestMetrics, RefusalMetrics, RetentionMetrics, StoreMetrics, LoopMetrics),
    *(
        TlsMetrics,
        SupervisorMetrics,
        annex_metrics,
        herald_metrics,
        FeedMetrics,
        ChangeMetrics,
        SubscriptionMetrics,
    ),
)
"""All that registers metrics. A test finds what is missing here."""


def metrics_page() -> str:
    """All metrics with type, labels and meaning."""
    head = [
        _MADE,
        "",
        "# Metrics",
        "",
        "`GET /metrics` on the admin port, as Prometheus text or OpenMetrics. Counters are there from the",
        "start, so that `increase()` sees the first step. No label holds a tenant, an id or any text of a",
        "request: their values come from tables of the service, and those of `source` from",
        "`DOD_METRIC_SOURCES`.",
        "",
        "Histograms have `_bucket`, `_sum` and `_count`. Alerts and the dashboard made of these are in",
        "`k8s/monitoring`; what to do about an alert is in [runbook.md](runbook.md).",
        "",
    ]
    rows = sorted(_metric_rows(all_metrics()))
    lines: list[str] = []
    for title, prefixes in _METRIC_GROUPS:
        here = [row for row in rows if row[0].startswith(prefixes)]
        rows = [row for row in rows if row not in here]
        lines += [f"## {title}", "", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        lines += [f"| `{name}` | {kind} | {labels} | {_cell(text)} |" for name, kind, labels, text in here]
        lines.append("")
    return "\n".join([*head, *lines])


_SUFFIXES: Final[Mapping[str, str]] = {"counter": "_total", "info": "_info"}


def _metric_rows(registry: CollectorRegistry) -> Iterator[tuple[str, str, str, str]]:
    """Name, type, labels and meaning of each metric."""
    collectors = registry._collector_to_names  # noqa: SLF001 -- labels without a value are nowhere else
    parts = [part for one in collectors for part in (one, *vars(one).values())]
    labels = {part._name: part._labelnames for part in parts if isinstance(part, MetricWrapperBase)}  # noqa: SLF001
    for one in registry.collect():
        name = one.name + _SUFFIXES.get(one.type, "")
        known = labels.get(one.name, ()) or sorted({key for s in one.samples for key in s.labels} - {"le"})
        yield name, one.type, ", ".join(known), one.documentation


def mapping_page() -> str:
    """The mapping of HL7 v2, segment by segment, and what a source profile may say."""
    head = [
        _MADE,
        "",
        "# HL7 v2 to FHIR",
        "",
        "After HL7's [v2-to-FHIR guide](https://build.fhir.org/ig/HL7/v2-to-fhir/): what each field of a",
        "message becomes. How messages come in and are answered: [hl7v2.md](hl7v2.md). A field without a",
        "row is in the message alone, which is kept.",
        "",
    ]
    lines = [line for section in SECTIONS for line in _mapped(section)]
    lines += ["# Datatypes", "", *(line for section in DATATYPES for line in _mapped(section))]
    lines += ["# Statuses", ""]
    for title, codes in STATUSES:
        told = "; ".join(f"`{code}` {status}" for code, status in codes.items())
        lines += [f"{title}: {told}.", ""]
    lines += ["# The source profile", "", "| setting | default | meaning |", "|---|---|---|"]
    for name, field in SourceProfile.model_fields.items():
        default = DEFAULT_PROFILE.model_dump(mode="json")[name]
        shown = f"`{default}`" if default else "unset"
        lines.append(f"| `{name}` | {shown} | {_cell(field.description or '')} |")
    return "\n".join([*head, *lines, ""])


def _mapped(section: Section) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    yield "| field | element | types | remarks |"
    yield "|---|---|---|---|"
    for line in section.lines:
        element = f"`{line.element}`" if line.element else ""
        yield f"| {line.field} | {element} | {_cell(line.type)} | {_cell(line.condition)} |"
    yield ""


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "settings.md": settings_page,
    "search-parameters.md": search_page,
    "metrics.md": metrics_page,
    "hl7v2-mapping.md": mapping_page,
    "data-model.md": data_model_page,
    "commands.md": lambda: commands_page([_MADE, ""]),
}


def main() -> None:
    """Write the pages into the folder given."""
    folder = Path(sys.argv[1])
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
