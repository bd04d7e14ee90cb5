"""Hooks of MkDocs for the site of `docs/`: pages of the repository's other folders, and links that fit.

Links are written for whoever reads the repository: `../README.md` from a page here, `docs/audit.md` from
there. The site has all pages below one root. A link to a file that is no page of it (a sample, a manifest)
becomes the file's name; one to a page, an anchor or a picture that is not there fails the build.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parent.parent
OTHERS: Final = {
    "README.md": "overview.md",  # Another README would be the index.
    **{name: name for name in ("ARCHITECTURE.md", "DECISIONS.md", "CONTRIBUTING.md", "CHANGELOG.md")},
    **{name: name for name in ("k8s/README.md", "samples/README.md")},
}
"""Pages from outside `docs/`: path in the repository → path on the site."""
_SOURCES: Final = {on_site: path for path, on_site in OTHERS.items()}
_LINK: Final = re.compile(r"(?P<text>\[(?:[^\[\]]|\[[^\]]*\])*\])\((?P<to>[^()\s]+)\)")
_PICTURE: Final = re.compile(r'(?P<name>src|srcset)="docs/(?P<to>[^"]+)"')
_FENCE: Final = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside."""
    for path, on_site in OTHERS.items():
        files.append(File.generated(config, on_site, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with links as the site has them; what stands in code stays."""
    here = page.file.src_uri
    in_repository = _SOURCES.get(here, f"docs/{here}")
    up = posixpath.relpath(".", posixpath.dirname(here) or ".")
    parts = _FENCE.split(markdown)
    for index in range(0, len(parts), 2):
        parts[index] = _LINK.sub(lambda found: _fitting(found, in_repository, up), parts[index])
        parts[index] = _PICTURE.sub(rf'\g<name>="{up}/\g<to>"', parts[index])
    return "".join(parts)


def _fitting(found: re.Match[str], source: str, up: str) -> str:
    target, mark, anchor = found["to"].partition("#")
    if not target or ":" in target:
        return found[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    on_site = OTHERS.get(path, path.removeprefix("docs/"))
    if path.startswith("docs/") or path in OTHERS:
        return f"{found['text']}({up}/{on_site}{mark}{anchor})"
    if not (ROOT / path).exists():
        raise FileNotFoundError(f"{source} links to {target}, which is not there")
    return f"`{path}`"
