"""The tree: small modules in rooms that can be looked over, and pages that name what is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODULES = [path for folder in ("store", "ingest", "api") for path in sorted((ROOT / folder).rglob("*.py"))]
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
LINES_MAX, LINES_AIM, MODULES_MAX = 400, 300, 15
NAMED = re.compile(r"`((?:store|ingest|api|tests|docs|k8s|bench)/[\w/.-]*\w/?)`")
WORDS = {"utils", "helpers", "common", "manager", "base", "misc"}


def lines_of(module: Path) -> int:
    return len(module.read_text(encoding="utf-8").splitlines())


def test_no_module_is_long() -> None:
    assert [str(one.relative_to(ROOT)) for one in MODULES if lines_of(one) > LINES_MAX] == []


def test_no_module_of_tests_is_long() -> None:
    modules = sorted((ROOT / "tests").rglob("test_*.py"))
    assert [str(one.relative_to(ROOT)) for one in modules if lines_of(one) > LINES_MAX] == []


def test_modules_past_the_aim_are_named_with_a_reason() -> None:
    start = ARCHITECTURE.index("Modules of more than 300 lines")
    reasons = ARCHITECTURE[start : ARCHITECTURE.index("\n\n", start)]
    long = [one.relative_to(ROOT).with_suffix("") for one in MODULES if lines_of(one) > LINES_AIM]
    tables = Path("ingest/hl7v2/mapping")
    unnamed = [str(one) for one in long if not one.is_relative_to(tables) and one.name not in reasons]
    assert unnamed == []


def test_rooms_can_be_looked_over() -> None:
    rooms = {one.parent for one in MODULES}
    crowded = {str(one.relative_to(ROOT)): len(list(one.glob("[!_]*.py"))) for one in rooms}
    assert {room: count for room, count in crowded.items() if count > MODULES_MAX} == {}


def test_no_module_has_a_vague_name() -> None:
    assert [str(one.relative_to(ROOT)) for one in MODULES if one.stem in WORDS] == []


def test_no_two_modules_of_a_room_differ_by_a_plural() -> None:
    names = {one.relative_to(ROOT).with_suffix("") for one in MODULES}
    assert [str(one) for one in names if one.with_name(one.name + "s") in names] == []


def test_the_root_has_the_pages_that_readers_look_for() -> None:
    pages = {"ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "DECISIONS.md", "README.md"}
    assert {page.name for page in ROOT.glob("*.md")} == pages


def test_what_the_pages_name_is_there() -> None:
    pages = [ROOT / name for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "README.md")]
    missing = {
        (page.name, name)
        for page in pages
        for name in NAMED.findall(page.read_text(encoding="utf-8"))
        if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()
    }
    assert missing == set()
