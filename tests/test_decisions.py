"""DECISIONS.md as a book of reference: six headings, an anchor for each entry, no citation to nowhere."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "DECISIONS.md").read_text(encoding="utf-8")
HEADINGS = ["Search", "Storage", "Ingest", "Idempotency", "Privacy", "Operations"]
CITED = re.compile(r"DECISIONS\.md#([\w-]+)")
ENTRY = re.compile(r'### [^\n]+\n<a id="[\w-]+"></a>\n\d{4}-\d\d-\d\d\. (?:[^\n]+\n)+')


def test_there_are_six_headings() -> None:
    assert re.findall(r"^## (.+)$", TEXT, re.MULTILINE) == HEADINGS


def test_each_entry_is_a_title_an_anchor_and_a_dated_paragraph() -> None:
    titles = [line for line in TEXT.splitlines() if line.startswith("### ")]
    bodies = re.split(r"^(?=### )", TEXT, flags=re.MULTILINE)[1:]
    assert len(bodies) == len(titles)
    assert [
        body[:60]
        for body in bodies
        if not ENTRY.fullmatch(re.split(r"^## ", body, flags=re.MULTILINE)[0].strip() + "\n")
    ] == []


def test_anchors_are_unique() -> None:
    anchors = Counter(re.findall(r'<a id="([\w-]+)">', TEXT))
    assert [name for name, count in anchors.items() if count > 1] == []


def test_the_dates_of_a_heading_only_grow() -> None:
    for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        dates = re.findall(r"^(\d{4}-\d\d-\d\d)\. ", part, re.MULTILINE)
        assert all(earlier <= later for earlier, later in pairwise(dates))


def test_what_is_cited_is_there() -> None:
    anchors = set(re.findall(r'<a id="([\w-]+)">', TEXT))
    sources = [p for d in ("store", "ingest", "api", "bench", "tests", "docs") for p in (ROOT / d).rglob("*")]
    cited = {
        (str(path.relative_to(ROOT)), name)
        for path in [*sources, *ROOT.glob("*.md")]
        if path.suffix in (".py", ".md")
        for name in CITED.findall(path.read_text(encoding="utf-8"))
    }
    assert {one for one in cited if one[1] not in anchors} == set()


def test_the_code_cites_no_numbers() -> None:
    modules = [path for d in ("store", "ingest", "api") for path in (ROOT / d).rglob("*.py")]
    assert [m.name for m in modules if re.search(r"\bdecisions? D\d", m.read_text(encoding="utf-8"))] == []
