"""A policy as a privacy officer writes it: TOML, or the same names as options, → Policy.

Everything wrong is said at once, each with its place.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from store.retention.categories import STATUSES, is_category
from store.retention.policy import DAYS_MAX, CountedFrom, Policy, Rule
from store.search.parameters import DIAGNOSTIC_REPORT, TYPES
from store.search.values import tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Days = Annotated[StrictInt, Field(ge=1, le=DAYS_MAX)]
Names = Annotated[list[StrictStr], Field(max_length=100)]
RULES_MAX: Final = 100
_CATEGORY: Final = DIAGNOSTIC_REPORT.by_name["category"]


class PolicyError(ValueError):
    """Faults of a policy: one sentence for each."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


class _Duration(BaseModel):
    """Days for which something stays, or without end."""

    model_config = ConfigDict(extra="forbid")

    keep_days: Days | None = None
    without_end: StrictBool = False
    counted_from: CountedFrom = CountedFrom.RECEIVED


class _Rule(_Duration):
    type: StrictStr = ""
    category: Names = []
    status: Names = []


class _Policy(_Duration):
    rules: Annotated[list[_Rule], Field(max_length=RULES_MAX)] = []
    superseded_days: Days | None = None
    dead_letter_days: Days | None = None
    audit_days: Days | None = None
    page_token_days: Days | None = None
    idempotency_days: Days | None = None
    erasure_days: Days | None = None


def parse(text: str) -> Policy:
    """The policy that a TOML text declares. Raises PolicyError."""
    try:
        return declared(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PolicyError([f"no TOML: {error}"]) from None


def declared(given: Mapping[str, Any]) -> Policy:
    """The policy of these names. Raises PolicyError with every fault."""
    try:
        read = _Policy.model_validate(given)
    except ValidationError as error:
        raise PolicyError([_sentence(fault) for fault in error.errors(include_url=False)]) from None
    faults = [*_faults_of(read, ""), *_faults_of_rules(read.rules)]
    if faults:
        raise PolicyError(faults)
    single = read.model_dump(exclude={"rules", "without_end"})
    return Policy(**single, rules=tuple(map(_rule, read.rules)))


def _rule(read: _Rule) -> Rule:
    categories = tuple(tokens.parse(one, _CATEGORY) for one in read.category)
    return Rule(read.keep_days, read.counted_from, read.type, categories, tuple(read.status))


def _sentence(fault: Any) -> str:  # noqa: ANN401 -- pydantic's
    place = ".".join(str(part) for part in fault["loc"])
    said = "is not a name that a policy has" if fault["type"] == "extra_forbidden" else fault["msg"]
    return f"`{place}`: {said}"


def _faults_of(read: _Duration, place: str) -> Iterator[str]:
    if read.keep_days is not None and read.without_end:
        yield f"`{place}keep_days`: either so many days or `without_end`"


def _faults_of_rules(rules: list[_Rule]) -> Iterator[str]:
    for number, rule in enumerate(rules):
        place = f"rules.{number}."
        yield from _faults_of(rule, place)
        if rule.keep_days is None and not rule.without_end:
            yield f"`{place}keep_days`: a rule says how many days, or `without_end = true`"
        if not (rule.type or rule.category or rule.status):
            yield f"`{place}type`: a rule names a type, a category or a status; for all there is the default"
        if rule.type and rule.type not in TYPES:
            yield f"`{place}type`: not a resource type of R4"
            continue
        row = TYPES[rule.type] if rule.type else DIAGNOSTIC_REPORT
        for name, values in (("category", rule.category), ("status", rule.status)):
            if values and name not in row.by_name:
                yield f"`{place}{name}`: {row.name} cannot be searched by {name}"
        for text in rule.category:
            if not is_category(text):
                yield f"`{place}category`: {text!r} is unknown; one of your own is written `system|code`"
        known = STATUSES.get(row.name)
        for text in rule.status:
            if known is not None and text not in known:
                yield f"`{place}status`: {text!r} is unknown; it is one of {', '.join(sorted(known))}"


def written(policy: Policy) -> str:
    """The TOML that declares this policy."""
    lines = [f"# version {policy.version}, made {policy.made_at:%Y-%m-%d %H:%M}Z"] if policy.version else []
    lines += _kept(policy.keep_days, policy.counted_from)
    for name in _Policy.model_fields:
        days = getattr(policy, name, None)
        if name.endswith("_days") and name != "keep_days" and days is not None:
            lines.append(f"{name} = {days}")
    for rule in policy.rules:
        lines += ["", "[[rules]]", *([f"type = {_quoted(rule.type)}"] if rule.type else [])]
        for name, values in (("category", rule.category), ("status", rule.status)):
            if values:
                lines.append(f"{name} = [{', '.join(map(_quoted, values))}]")
        lines += _kept(rule.keep_days, rule.counted_from)
    return "\n".join(lines)


def _kept(days: int | None, since: CountedFrom) -> list[str]:
    if days is None:
        return ["without_end = true"]
    return [f"keep_days = {days}", f"counted_from = {_quoted(since.value)}"]


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
