"""The explorer's files over HTTP: what they are, who gets them, and what they never hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from api.explorer import assets
from api.explorer.pages import POLICY
from tests.support.service import opened_service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.service import Service

STATIC = Path(assets.__file__).parent / "static"
SCRIPTS = {str(at.relative_to(STATIC)): at.read_text() for at in sorted(STATIC.rglob("*.js"))}
SHEETS = {str(at.relative_to(STATIC)): at.read_text() for at in sorted(STATIC.rglob("*.css"))}


async def at(service: Service, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    """Status, header fields and text of an answer without a token."""
    url = service.client.make_url(path)
    async with service.client.session.get(url, headers=headers, allow_redirects=False) as answer:
        return (
            answer.status,
            {name.lower(): value for name, value in answer.headers.items()},
            await answer.text(),
        )


async def test_all_files_that_the_page_names_are_served(service: Service) -> None:
    status, headers, text = await at(service, "/explorer")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-security-policy"] == POLICY
    named = set(re.findall(r'(?:href|src)="([^"]+)"', text))
    assert "explorer/static/app.js" in named
    for name in [*named, *(f"explorer/static/{name}" for name in [*SCRIPTS, *SHEETS])]:
        status, headers, text = await at(service, f"/{name}")
        assert status == 200, name
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        again, told, empty = await at(service, f"/{name}", **{"If-None-Match": headers["etag"]})
        assert (again, told["etag"], empty) == (304, headers["etag"], "")
    for name in ("explorer/library/uplot.js", "explorer/library/uplot.css"):
        status, headers, text = await at(service, f"/{name}")
        assert (status, bool(text)) == (200, True)


@pytest.mark.parametrize(
    "path",
    [
        *("/explorer/static/missing.js", "/explorer/static/../pages.py", "/explorer/static/%2e%2e/pages.py"),
        *("/explorer/static/index.html", "/explorer/library/uplot.py", "/explorer/library/__init__.js"),
    ],
)
async def test_nothing_else_is_served(service: Service, path: str) -> None:
    status, _, text = await at(service, path)
    assert status == 404
    assert "import" not in text


async def test_a_slash_at_the_end_leads_to_the_page(service: Service) -> None:
    status, headers, _ = await at(service, "/explorer/")
    assert (status, headers["location"]) == (308, "../explorer")


async def test_a_setting_turns_it_off(mongodb: str) -> None:
    async with opened_service(mongodb, explorer=False) as service:
        for path in ("/explorer", "/explorer/static/app.js", "/explorer/library/uplot.js"):
            status, _, text = await at(service, path)
            assert status == 404
            assert "DOD_EXPLORER" in text


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The service as it is without the extra `explorer`."""
    monkeypatch.setattr(assets, "find_spec", lambda _: None)
    assets.library.cache_clear()
    yield
    assets.library.cache_clear()


@pytest.mark.usefixtures("no_library")
async def test_without_the_extra_it_says_how_to_get_it(service: Service) -> None:
    status, headers, text = await at(service, "/explorer")
    assert (status, headers["content-type"]) == (404, "text/plain; charset=utf-8")
    assert "pip install 'data-on-demand[explorer]'" in text
    assert (await service.get("metadata")).status == 200


UNSAFE = re.compile(
    r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|srcdoc|javascript:\S"
    r"|localStorage|sessionStorage|indexedDB|document\.cookie|importScripts|setHTML|DOMParser|createContextualFragment"
)
ELSEWHERE = re.compile(r"(?:https?:)?//[\w.-]+\.\w+")
NAMES = {"http://www.w3.org", "http://loinc.org", "https://www.w3.org"}
"""Names in the form of addresses, which nothing is asked of."""


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_parses_data_as_markup_or_keeps_it(name: str) -> None:
    code = SCRIPTS[name]
    assert UNSAFE.findall(code) == []
    assert set(ELSEWHERE.findall(code)) <= NAMES


@pytest.mark.parametrize("name", SHEETS)
def test_no_sheet_loads_anything(name: str) -> None:
    assert "url(" not in SHEETS[name]
    assert "@import" not in SHEETS[name]


SENTENCE = re.compile(r"""(?<![\w.])["'`]([A-Z][a-z]+(?: [\w,;]+){2,}[^"'`]*)["'`]""")


def test_texts_are_in_one_file() -> None:
    """No sentence stands in another module."""
    for name, code in SCRIPTS.items():
        if name not in ("texts.js", "views/snippets.js"):
            lines = [line for line in code.splitlines() if not line.lstrip().startswith("//")]
            assert SENTENCE.findall("\n".join(lines)) == [], name


def test_modules_stay_small() -> None:
    assert [name for name, code in SCRIPTS.items() if code.count("\n") > 400] == []
