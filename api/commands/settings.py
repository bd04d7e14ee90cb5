"""`dod settings`: every setting with its value, where that comes from, its default and what it is for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from api.settings.groups import grouped
from api.settings.service import Settings, load_settings, secret_names, variable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from api.settings.groups import SettingsGroup


def describe_settings(**options: Path | str | None) -> str:
    """All settings as text; secrets are masked by their type."""
    settings = load_settings(**options)
    given = {name for name, value in options.items() if value is not None}
    sources = _sources(settings, given)
    lines = (line for group in grouped(Settings.model_fields) for line in _group(settings, group, sources))
    return "\n".join(lines).strip()


def _group(settings: Settings, group: SettingsGroup, sources: dict[str, str]) -> Iterator[str]:
    yield f"\n# {group.title}"
    for name in group.names:
        yield from _lines(settings, name, sources)


def _lines(settings: Settings, name: str, sources: dict[str, str]) -> Iterator[str]:
    field = Settings.model_fields[name]
    default, value = _shown(field.default), _shown(getattr(settings, name))
    source = f"from {sources[name]}; default {default}" if name in sources else "default"
    yield f"{variable(name)} = {value}  ({source})"
    yield from (f"    {line}" for line in (field.description or "").splitlines())


def _shown(value: object) -> str:
    return "unset" if value is None else str(value)


def _sources(settings: Settings, options: set[str]) -> dict[str, str]:
    """Setting → where its value comes from; the first that has it wins, as in `load_settings`."""
    variables = {name.lower() for name, value in os.environ.items() if value}
    mounted = {name for _, name in secret_names(settings.secrets_dir)} if settings.secrets_dir else set()
    found: dict[str, str] = {}
    for name in settings.model_fields_set:
        if name in options:
            found[name] = "the command line"
        elif variable(name).lower() in variables:
            found[name] = "the environment"
        elif name in mounted:
            found[name] = f"a file in {settings.secrets_dir}"
        else:
            found[name] = f"the file {settings.config}"
    return found
