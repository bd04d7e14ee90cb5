"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386) on decoded resources: numbers keep their digits,
nothing is changed in place.

Pure. A patch that is malformed is 400; one that does not fit the resource as it is (a path that is not
there, a `test` that fails) is 409, as RFC 5789 section 2.2 has it. https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

import binascii
import re
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Final, NamedTuple

from ingest.pipeline.budget import elements_in
from ingest.pipeline.decode import decode_any
from ingest.pipeline.stamp import dump
from store.errors import Category, ServiceError
from store.fhir.datatypes import Number
from store.fhir.issues import Issue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from store.fhir.datatypes import Json, JsonObject

FORMAT: Final = "application/json-patch+json"
"""https://www.rfc-editor.org/rfc/rfc6902#section-6"""
MERGE_FORMAT: Final = "application/merge-patch+json"
"""https://www.rfc-editor.org/rfc/rfc7386#section-4"""
OPERATIONS_MAX: Final = 1_000
DEPTH_MAX: Final = 200
"""Steps of a pointer: deeper JSON is not stored."""
COPIED_MAX: Final = 16 * 1024 * 1024
"""Bytes that `copy` may add in one patch: each can double the resource."""
COPIED_ELEMENTS_MAX: Final = 10_000
"""JSON values that `copy` may add in one patch: those of a small one are prepared on the event loop."""
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}", re.ASCII)
_BAD_ESCAPE: Final = re.compile(r"~(?![01])")

Pointer = tuple[str, ...]


class Operation(NamedTuple):
    """Operation of a patch, checked for its form."""

    op: str
    path: Pointer
    value: Json = None
    source: Pointer = ()
    number: int = 0
    """Place in the patch, for refusals: a path may hold a value, so none is repeated."""


class _Unfit(Exception):  # noqa: N818 -- a reason, carried to `apply`
    pass


def read(patch: Json) -> tuple[Operation, ...]:
    """The operations of a patch document. Raises ServiceError `incorrect` with every issue."""
    if not isinstance(patch, list) or len(patch) > OPERATIONS_MAX:
        text = f"a JSON Patch is an array of at most {OPERATIONS_MAX} operations"
        raise ServiceError(Category.INCORRECT, Issue("structure", text))
    operations, issues = [], []
    for number, one in enumerate(patch):
        try:
            operations.append(_operation(one, number))
        except ValueError as error:
            issues.append(Issue("structure", f"operation {number}: {error}", (f"[{number}]",)))
    if issues:
        raise ServiceError(Category.INCORRECT, *issues)
    return tuple(operations)


def read_any(patch: Json) -> tuple[Operation, ...]:
    """Patch of clients that do not tell its format, as fhirpy: an object is a merge patch."""
    return (Operation(_MERGE, (), patch),) if isinstance(patch, dict) else read(patch)


def is_fhirpath(patch: Json) -> bool:
    """Whether it is a FHIRPath Patch, which is an object too. https://hl7.org/fhir/R4/fhirpatch.html"""
    return isinstance(patch, dict) and patch.get("resourceType") == "Parameters"


def carried(binary: JsonObject | None, where: str) -> tuple[Operation, ...]:
    """The patch that an entry of a Bundle holds, as the data of a Binary. `where` is the place of that."""
    return read(decode_any(document(binary, where)))


def document(binary: JsonObject | None, where: str) -> bytes:
    """Bytes of the patch in a Binary. Raises ServiceError."""
    held = {} if binary is None else binary
    if held.get("resourceType") != "Binary" or held.get("contentType") != FORMAT:
        text = f"`{where}` of a PATCH must be a Binary with `contentType` `{FORMAT}`"
        raise ServiceError(Category.UNSUPPORTED, Issue("not-supported", text, (where,)))
    data, path = held.get("data"), f"{where}.data"
    if not isinstance(data, str):  # Also of one so long that it was taken for a file.
        raise ServiceError(Category.INCORRECT, Issue("required", f"`{path}` must hold the patch", (path,)))
    try:
        return binascii.a2b_base64("".join(data.split()), strict_mode=True)
    except ValueError:
        issue = Issue("structure", f"`{path}` must be Base64", (path,))
        raise ServiceError(Category.INCORRECT, issue) from None


def _operation(one: Json, number: int) -> Operation:
    if not isinstance(one, dict):
        raise ValueError("must be an object")  # noqa: TRY004 -- becomes an issue like the others
    op = one.get("op")
    if not isinstance(op, str) or op not in _OPERATIONS:
        raise ValueError(f"`op` is one of {', '.join(_OPERATIONS)}")
    if op in ("add", "replace", "test") and "value" not in one:
        raise ValueError("`value` is missing")
    source: Pointer = ()
    path = _pointer(one.get("path"), "path")
    if op in ("move", "copy"):
        source = _pointer(one.get("from"), "from")
        if op == "move" and len(path) > len(source) and path[: len(source)] == source:
            raise ValueError("nothing can be moved into itself")
    return Operation(op, path, one.get("value"), source, number)


def _pointer(text: Json, name: str) -> Pointer:
    """https://www.rfc-editor.org/rfc/rfc6901"""
    if not isinstance(text, str) or (text and not text.startswith("/")) or _BAD_ESCAPE.search(text):
        raise ValueError(f"`{name}` must be a JSON Pointer such as `/status`")
    steps = tuple(step.replace("~1", "/").replace("~0", "~") for step in text.split("/")[1:])
    if len(steps) > DEPTH_MAX:
        raise ValueError(f"`{name}` has more than {DEPTH_MAX} steps")
    return steps


def apply(resource: JsonObject, operations: Sequence[Operation]) -> JsonObject:
    """The resource after all operations, in order; the one given stays as it is.

    Raises ServiceError `conflict` when one does not fit: then none has taken place.
    """
    patched: Json = resource
    copied = elements = 0
    for operation in operations:
        try:
            if operation.op == "copy":
                source = _at(patched, operation.source)
                elements += 1 + elements_in(source, COPIED_ELEMENTS_MAX)
                copied += 0 if elements > COPIED_ELEMENTS_MAX else len(dump(source))
                if copied > COPIED_MAX or elements > COPIED_ELEMENTS_MAX:
                    text = "the patch copies more than a resource can hold"
                    raise ServiceError(Category.TOO_LARGE, Issue("too-long", text))
            patched = _APPLY[operation.op](patched, operation)
        except _Unfit as error:
            text = f"operation {operation.number}: {error}"
            issue = Issue("conflict", text, (f"[{operation.number}]",))
            raise ServiceError(Category.CONFLICT, issue) from None
        except RecursionError:
            issue = Issue("structure", "the patch is nested too deep")
            raise ServiceError(Category.INCORRECT, issue) from None
    if not isinstance(patched, dict):
        issue = Issue("structure", "what a patch leaves must be a resource")
        raise ServiceError(Category.UNPROCESSABLE, issue)
    return patched


def _add(whole: Json, operation: Operation) -> Json:
    return _put(whole, operation.path, operation.value, replaces=False)


def _remove(whole: Json, operation: Operation) -> Json:
    return _without(whole, operation.path)


def _replace(whole: Json, operation: Operation) -> Json:
    return _put(whole, operation.path, operation.value, replaces=True)


def _move(whole: Json, operation: Operation) -> Json:
    value = _at(whole, operation.source)
    if operation.source == operation.path:
        return whole
    return _put(_without(whole, operation.source), operation.path, value, replaces=False)


def _copy(whole: Json, operation: Operation) -> Json:
    return _put(whole, operation.path, _at(whole, operation.source), replaces=False)


def _test(whole: Json, operation: Operation) -> Json:
    if not same(_at(whole, operation.path), operation.value):
        message = "the `test` fails: another value is there"
        raise _Unfit(message)
    return whole


def _merge(whole: Json, operation: Operation) -> Json:
    return _merged(whole, operation.value)


def _merged(before: Json, change: Json) -> Json:
    """Members replace those of their name, objects are merged, null removes; lists are replaced whole."""
    if not isinstance(change, dict):
        return change
    there = before if isinstance(before, dict) else {}
    done = {name: value for name, value in there.items() if name not in change or change[name] is not None}
    for name, value in change.items():
        if value is not None:
            done[name] = _merged(there.get(name), value)
    return done


_MERGE: Final = "merge"
_OPERATIONS: Final[Mapping[str, Callable[[Json, Operation], Json]]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
_APPLY: Final = {**_OPERATIONS, _MERGE: _merge}
"""Operations that a patch document may ask for, and what stands for a merge patch."""


def _at(whole: Json, path: Pointer) -> Json:
    for step in path:
        whole = _child(whole, step)
    return whole


def _child(parent: Json, step: str) -> Json:
    if isinstance(parent, dict) and step in parent:
        child: Json = parent[step]
        return child
    if isinstance(parent, list):
        return parent[_index(step, len(parent) - 1)]  # type: ignore[no-any-return]  # narrowed to list[Any]
    raise _not_there()


def _put(parent: Json, path: Pointer, value: Json, *, replaces: bool) -> Json:
    """A copy of the parent with the value at the path; only what lies on the path is copied."""
    if not path:
        return value
    step, rest = path[0], path[1:]
    if rest:
        return _with_child(parent, step, _put(_child(parent, step), rest, value, replaces=replaces))
    if replaces:
        _child(parent, step)
        return _with_child(parent, step, value)
    if isinstance(parent, dict):
        return {**parent, step: value}
    if isinstance(parent, list):
        at = len(parent) if step == "-" else _index(step, len(parent))
        return [*parent[:at], value, *parent[at:]]
    raise _not_there()


def _with_child(parent: Json, step: str, child: Json) -> Json:
    """The parent with a child that is there already put in place of the old one."""
    if isinstance(parent, list):
        at = int(step)
        return [*parent[:at], child, *parent[at + 1 :]]
    if isinstance(parent, dict):
        return {**parent, step: child}
    raise _not_there()


def _without(parent: Json, path: Pointer) -> Json:
    if not path:
        return None
    step, rest = path[0], path[1:]
    child = _child(parent, step)
    if rest:
        return _with_child(parent, step, _without(child, rest))
    if isinstance(parent, list):
        at = int(step)
        return [*parent[:at], *parent[at + 1 :]]
    if isinstance(parent, dict):
        return {name: value for name, value in parent.items() if name != step}
    raise _not_there()


def _index(step: str, last: int) -> int:
    if not _INDEX.fullmatch(step) or int(step) > last:
        raise _not_there()
    return int(step)


def _not_there() -> _Unfit:
    return _Unfit("the path is not there")


def same(one: Json, other: Json) -> bool:
    """Equality as RFC 6902 section 4.6 has it: numbers by their value, `1.0` is `1.00`."""
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if _is_number(one) and _is_number(other):
        return _same_number(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return isinstance(one, str) and isinstance(other, str) and one == other


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float, Number))


def _same_number(one: Json, other: Json) -> bool:
    with localcontext() as exact:
        # Signals stay out of it: a number of any size compares as equal or not.
        exact.traps = dict.fromkeys(exact.traps, False)
        return _text(one) == _text(other) or Decimal(_text(one)) == Decimal(_text(other))


def _text(number: Json) -> str:
    return number.text if isinstance(number, Number) else repr(number)
