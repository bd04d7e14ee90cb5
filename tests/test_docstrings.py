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
