"""Leniency of the Data Model's shape: what sources write for a text, a flag, an object and a list. Pure.

Numbers and booleans are taken for text, empty texts and lists for null, a list of one for what is in it, and
one object for a list of one.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator

from store.fhir.datatypes import Number

_TRUE: Final = frozenset({"true", "yes", "y", "1"})
_FALSE: Final = frozenset({"false", "no", "n", "0"})


def _alone(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """The value of a list of one; null of an empty one."""
    if isinstance(value, list) and len(value) < 2:  # noqa: PLR2004 -- one at most
        return value[0] if value else None
    return value


def some_text(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """A text, of whatever a scalar is written as. Raises ValueError."""
    value = _alone(value)
    if isinstance(value, Number):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return value if value.strip() else None
    if value is None:
        return None
    raise ValueError("must be a text, a number or null")


def _flag(value: Any) -> Any:  # noqa: ANN401 -- JSON
    said = str(some_text(value) or "").strip().lower()
    if said in _TRUE:
        return "true"
    if said in _FALSE:
        return "false"
    if not said:
        return None
    raise ValueError("must be true, false or null")


def an_object(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """An object; null and an empty text are an empty one. Raises ValueError."""
    value = _alone(value)
    if value is None or _is_blank(value):
        return {}
    if not isinstance(value, dict):
        raise ValueError("must be an object or null")  # noqa: TRY004 -- what pydantic takes for a fault
    return value


def several(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """A list without what says nothing; null is an empty one, and an object or text a list of one."""
    found = value if isinstance(value, list) else [value]
    return [one for one in found if one is not None and not _is_blank(one)]


def phones(value: Any) -> Any:  # noqa: ANN401 -- JSON
    """Numbers to call; one alone is that of an office."""
    value = _alone(value)
    if isinstance(value, str | Number) and not _is_blank(value):
        return {"Office": value}
    return an_object(value)


def _is_blank(value: Any) -> bool:  # noqa: ANN401 -- JSON
    return isinstance(value, str) and not value.strip()


def _email(value: Any) -> Any:  # noqa: ANN401 -- JSON
    if not isinstance(value, dict):
        return some_text(value)
    if "Address" not in value:
        raise ValueError("must be a text, or an object with `Address`")
    return some_text(value["Address"])


def _said(texts: list[str | None]) -> list[str | None]:
    return [one for one in texts if one is not None]


Word = Annotated[str | None, BeforeValidator(some_text)]
Flag = Annotated[str | None, BeforeValidator(_flag)]
Texts = Annotated[list[Word], BeforeValidator(several), AfterValidator(_said)]
Emails = Annotated[
    list[Annotated[str | None, BeforeValidator(_email)]], BeforeValidator(several), AfterValidator(_said)
]
