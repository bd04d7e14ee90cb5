"""Commands and codes of errors: what pages name in passing is there, and what there is stands on a page."""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from typer.main import get_command

from api.cli.main import app
from ingest.http.outcome import STATUS_CODES
from tests.test_pages import BLOCK as RUN
from tests.test_pages import PAGES

ROOT: Final = Path(__file__).resolve().parents[1]
NAMED: Final = (
    *(page for page in PAGES if page.name != "commands.md"),  # Made from the commands themselves.
    *(ROOT / name for name in ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "k8s").rglob("*.md")),
    *sorted((ROOT / "k8s").rglob("*.yaml")),
)
IN_PASSING: Final = re.compile(r"`(dod [^`\n]+)`")
BLOCK: Final = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
OF_BLOCK: Final = re.compile(r"(?:^|[;|&(]|-- )\s*(dod [^;|&)\n]*)", re.MULTILINE)
MAKE: Final = re.compile(r"`make ([a-z][a-z-]*[a-z])\b(?!-)")


def named() -> list[tuple[str, str]]:
    """All commands that pages name, each with its page."""
    found = []
    for page in NAMED:
        text = page.read_text(encoding="utf-8")
        commands = IN_PASSING.findall(text)
        for block in BLOCK.findall(text):
            commands += OF_BLOCK.findall(re.sub(r"\\\n", "", block))
        found += [(str(page.relative_to(ROOT)), command) for command in commands]
    return found


@cache
def tree() -> Any:
    """The command line."""
    return get_command(app)


def unknown(command: Any, words: list[str]) -> str | None:
    """The first word that names nothing; None: all do."""
    place = [command]
    for word in words:
        if word.startswith("-") and word != "-":
            name = word.partition("=")[0]
            there = [param for one in place for param in one.params]
            options = {option for param in there for option in (*param.opts, *param.secondary_opts)}
            if name != "--help" and name not in options:
                return word
        elif all(hasattr(one, "commands") for one in place):
            # `list\|show` names two.
            names = word.split("|")
            if not all(name in one.commands for one in place for name in names):
                return word
            place = [one.commands[name] for one in place for name in names]
    return None


@pytest.mark.parametrize(("page", "text"), sorted(set(named())))
def test_a_command_that_a_page_names_is_there(page: str, text: str) -> None:
    plain = re.sub(r"\s#.*|[<>].*", "", text.replace("\\|", "|").replace("…", "x"))
    try:
        words = shlex.split(plain)[1:]
    except ValueError:  # A quotation goes on over lines.
        words = plain.split()[1:]
    assert unknown(tree(), words) is None, (page, text, unknown(tree(), words))


def test_a_make_target_that_a_page_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    there = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    told = {name for page in NAMED for name in MAKE.findall(page.read_text(encoding="utf-8"))}
    assert told
    assert told <= there


def test_no_block_of_commands_escapes_the_test_that_runs_them() -> None:
    """A fence that is indented, or of another name, would be run by nobody, and not be marked either."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        shells = re.findall(r"^[ >]*```(?:sh|bash|shell|console|shell-session)\b", text, re.MULTILINE)
        assert len(RUN.findall(text)) == len(shells), page
        for name, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            assert name == "sh" or not re.search(r"^(?:\$ |curl |dod )", block, re.MULTILINE), page


def codes() -> set[str]:
    """Codes of all issues that the service tells."""
    files = (file for folder in ("store", "ingest", "api") for file in (ROOT / folder).rglob("*.py"))
    calls = (
        node
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Issue"
    )
    found = {
        str(call.args[0].value) for call in calls if call.args and isinstance(call.args[0], ast.Constant)
    }
    return found | set(STATUS_CODES.values())


def test_each_code_of_an_error_is_explained_and_no_other() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8").partition("## Refusals")[2]
    told = [
        name
        for row in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
        for name in re.findall(r"`([a-z-]+)`", row)
    ]
    assert len(told) == len(set(told))
    assert set(told) == codes()
