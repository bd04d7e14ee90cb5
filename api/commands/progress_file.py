"""File that keeps how far a long walk through all tenants has come: one that was broken off goes on there."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from store.errors import StartupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from store.tenancy import Tenant

T = TypeVar("T")


class ProgressFile(Generic[T]):
    """Progress of each tenant, as a dataclass; without a path nothing is kept.

    `of` names what is done: a file of something else is refused.
    """

    def __init__(self, path: Path | None, of: str, make: Callable[..., T]) -> None:
        self._path = path
        self._of = of
        self._make = make
        self._reached: dict[str, Any] = {}
        if path is not None and path.exists():
            try:
                told = json.loads(path.read_text(encoding="utf-8"))
                self._reached = {name: _fields(make(**one)) for name, one in told["tenants"].items()}
                is_ours = told["of"] == of
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                raise StartupError(
                    f"The progress file {path} cannot be read: remove it to begin anew."
                ) from None
            if not is_ours:
                raise StartupError(
                    f"The progress file {path} is that of another command or release, not of {of}: name"
                    " another file, or remove it to begin anew."
                )

    def of(self, tenant: Tenant) -> T:
        """Place to go on from."""
        return self._make(**self._reached.get(str(tenant), {}))

    def keep(self, tenant: Tenant, reached: T) -> None:
        """Note how far it has come; replaced in one step, readable by us alone."""
        if self._path is None:
            return
        self._reached[str(tenant)] = _fields(reached)
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps({"of": self._of, "tenants": self._reached}), encoding="utf-8")
        fresh.replace(self._path)

    def end(self) -> None:
        """All is looked at: the next run begins anew."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _fields(reached: Any) -> dict[str, Any]:  # noqa: ANN401 -- a dataclass
    return asdict(reached)
