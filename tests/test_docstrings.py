"""Docstrings open with a noun or a verb: a pronoun at the beginning leaves the reader a riddle."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
FOLDERS = ("store", "ingest", "api", "bench", "docs", "k8s", "tests")
OPENINGS = "How It Its Of One That They Those Under What Whatever When Where Which Who Whoever Whom Whose Why"
REFUSED = frozenset(OPENINGS.split())


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of the docstrings of modules, classes, functions, fields and constants."""
    for node in ast.walk(tree):
        for one in getattr(node, "body", ()) if not isinstance(node, (ast.Lambda, ast.IfExp)) else ():
            value = one.value if isinstance(one, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.lineno, value.value


def riddles(text: str) -> list[tuple[int, str]]:
    """The docstrings of a module that open with a refused word."""
    found = ((line, said.split(maxsplit=1)[0].strip(".,:;")) for line, said in docstrings(ast.parse(text)))
    return [(line, word) for line, word in found if word in REFUSED]


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_open_with_a_noun_or_a_verb(folder: str) -> None:
    modules = sorted((ROOT / folder).rglob("*.py"))
    assert modules
    found = [
        f"{module.relative_to(ROOT)}:{line}: {word} …"
        for module in modules
        for line, word in riddles(module.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_a_riddle_is_found_wherever_it_stands() -> None:
    text = '''"""What it is."""
LIMIT = 1
"""How many."""
class Held:
    """One hold."""
    id: str
    """Of the document."""
    def find(self):
        """Those that match."""
def lift():
    """Lift a hold."""
'''
    assert [word for _, word in riddles(text)] == ["What", "How", "One", "Of", "Those"]


def silent_nones(text: str) -> list[str]:
    """The public functions that may return None, and whose docstring does not say when."""
    return [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_")
        if node.returns is not None and ast.unparse(node.returns).endswith("| None")
        if (said := ast.get_docstring(node)) and "None" not in said and "Whether" not in said
    ]


@pytest.mark.parametrize("folder", ["store", "ingest"])
def test_a_function_that_may_return_none_says_when(folder: str) -> None:
    found = {
        str(module.relative_to(ROOT)): names
        for module in sorted((ROOT / folder).rglob("*.py"))
        if (names := silent_nones(module.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_a_silent_none_is_found() -> None:
    said = 'def a() -> int | None:\n    """The number."""\n'
    assert silent_nones(said) == ["a"]
    assert silent_nones(said.replace("number.", "number; None: there is none.")) == []
