"""Modules that the image has compiled: mypyc looks up what fields are declared to be when they are loaded.

An import for type checkers alone is then a service that does not start. No compiler is needed to see that,
nor an expression that mypyc does not know.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import tomllib
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent
HOOK: Final = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"][
    "targets"
]["wheel"]["hooks"]["mypyc"]
COMPILED: Final[list[str]] = HOOK["include"]


def fields_of(tree: ast.Module) -> list[tuple[str, str]]:
    """Class and type of each field of a NamedTuple or dataclass: its outermost name."""
    found = []
    for one in tree.body:
        if not isinstance(one, ast.ClassDef):
            continue
        makers = [ast.unparse(each).partition("(")[0] for each in (*one.bases, *one.decorator_list)]
        if not {"NamedTuple", "dataclass"} & set(makers):
            continue
        for field in one.body:
            told = field.annotation if isinstance(field, ast.AnnAssign) else None
            while isinstance(told, ast.Subscript):
                told = told.value
            if isinstance(told, ast.Name):  # Of a union nothing is looked up.
                found.append((one.name, told.id))
    return found


@pytest.mark.parametrize("path", COMPILED)
def test_what_a_field_is_declared_to_be_is_imported(path: str) -> None:
    tree = ast.parse((ROOT / path.lstrip("/")).read_text(encoding="utf-8"))
    module = importlib.import_module(path.strip("/").removesuffix(".py").replace("/", "."))
    there = vars(module).keys() | vars(builtins).keys()
    assert [one for one in fields_of(tree) if one[1] not in there] == []


@pytest.mark.parametrize("path", COMPILED)
def test_nothing_is_looked_for_in_a_tuple_or_list_with_a_star(path: str) -> None:
    """`x in (a, *more)` ends mypyc with an error of its own: it compares item by item. A set display does."""
    tree = ast.parse((ROOT / path.lstrip("/")).read_text(encoding="utf-8"))
    shown = [
        told
        for one in ast.walk(tree)
        if isinstance(one, ast.Compare)
        for told in one.comparators
        if isinstance(told, ast.Tuple | ast.List)
    ]
    starred = [one for one in shown if any(isinstance(item, ast.Starred) for item in one.elts)]
    assert [f"line {one.lineno}: {ast.unparse(one)}" for one in starred] == []
