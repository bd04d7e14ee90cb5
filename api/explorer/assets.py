"""Files of the explorer: its own from this package, the chart library's from a wheel of the extra `explorer`.

All are read once, when they are first asked for; a name that is no file here is never looked for on disk.
"""

from __future__ import annotations

from functools import cache
from hashlib import blake2b
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.resources.abc import Traversable

PAGE: Final = "index.html"
TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
"""Media types by the end of the name; files with another end are not served."""
LIBRARY: Final[Mapping[str, str]] = {"uplot.js": "uPlot.iife.js", "uplot.css": "uPlot.min.css"}
"""Names under `/explorer/library/` → files in the wheel of the chart library."""


class Asset(NamedTuple):
    """File as it is served."""

    body: bytes
    content_type: str
    tag: str
    """ETag, made of the content, so that an update of the service is seen at once."""


def _asset(body: bytes, name: str) -> Asset:
    tag = f'"{blake2b(body, digest_size=8).hexdigest()}"'
    return Asset(body, TYPES[name[name.rindex(".") :]], tag)


@cache
def own() -> Mapping[str, Asset]:
    """The explorer's own files, by their path below `static/`."""
    return {name: _asset(at.read_bytes(), name) for name, at in _walk(files(__package__) / "static")}


def _walk(folder: Traversable, before: str = "") -> Iterator[tuple[str, Traversable]]:
    for at in folder.iterdir():
        name = before + at.name
        if at.is_dir():
            yield from _walk(at, f"{name}/")
        elif name.endswith(tuple(TYPES)):
            yield name, at


@cache
def library() -> Mapping[str, Asset]:
    """Files of the chart library; none where the extra `explorer` is not installed."""
    spec = find_spec("uplot")  # Its place, without importing it: it would bring IPython along.
    if spec is None or not spec.submodule_search_locations:
        return {}
    folder = Path(spec.submodule_search_locations[0]) / "static"
    try:
        return {name: _asset((folder / file).read_bytes(), name) for name, file in LIBRARY.items()}
    except FileNotFoundError:  # Another package of that name, or another version.
        return {}
