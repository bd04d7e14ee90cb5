"""Words of a resource, and which of them a search finds. https://hl7.org/fhir/R4/search.html#content"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.search.values import content

REPORT: dict[str, Any] = {
    "resourceType": "DiagnosticReport",
    "id": "secretid",
    "meta": {"tag": [{"code": "tagged"}]},
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "display": "Blood count"}], "text": "Blood COUNT"},
    "subject": {"reference": "Patient/p1", "display": "José O'Brien"},
    "effectiveDateTime": "2020-05-01T08:00:00Z",
    "issued": "2020-05",
    "text": {"div": "<div class='hidden'>Zahl<b>en</b> &amp; W&#246;rter</div>"},
    "presentedForm": [{"contentType": "text/plain", "data": "QUJD", "title": "Scan"}],
    "contained": [{"resourceType": "Patient", "id": "c", "name": [{"given": ["Ana"]}]}],
}


def test_what_a_resource_says_is_its_words_once_and_folded() -> None:
    assert content.content(REPORT).split() == [
        *("final", "blood", "count", "jose", "obrien", "zahl", "en", "worter", "scan", "ana")
    ]


@pytest.mark.parametrize(
    ("div", "words"),
    [
        pytest.param("<p>One</p><p>Two</p>", " one two", id="a tag parts words"),
        pytest.param("<p title='three'>One</p>", " one", id="attributes say nothing"),
        pytest.param("&lt;b&gt;One", " b one", id="an escaped tag is text"),
        pytest.param("One one ONE", " one", id="each once"),
        pytest.param("<br/>", "", id="nothing"),
        pytest.param("<" * 100_000, "", id="tags that never end"),
        pytest.param("&#" + "9" * 10_000, "", id="a character that there is not"),
    ],
)
def test_a_narrative(div: str, words: str) -> None:
    assert content.narrative(div) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [("Blood  COUNT", ("blood", "count")), (r"a\,b a", ("a", "b")), ("O'Brien", ("obrien",))],
)
def test_a_value_is_its_words(text: str, words: tuple[str, ...]) -> None:
    assert content.parse(text) == words


@pytest.mark.parametrize("text", ["", "-", r"\,", "' '"])
def test_a_value_without_words_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no letter or digit"):
        content.parse(text)


def test_a_long_resource_is_indexed_as_far_as_the_bound() -> None:
    words = content.content({"conclusion": "word" + " x" * content.CONTENT_MAX + " behind"})
    assert words == " word x"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_json_has_words_that_are_words(value: Any) -> None:
    words = content.content({"note": value})
    assert words == "".join(f" {word}" for word in dict.fromkeys(words.split()))
