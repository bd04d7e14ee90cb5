"""Narratives that a browser would run something of, and those that only look as if."""

from __future__ import annotations

import pytest

from ingest.pipeline.validation.narratives import MARKS_MAX, REST_MAX, SHORT, is_active

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'
LONG = "<p>x</p>" * (SHORT // 8)
ACTIVE = (
    "<p title='x'onclick=x>",
    '<p title="x"onclick=x>',
    "<p title='>' onclick='x'>",
    "<p title=\">\"onclick='x'>",
    "<SCRIPT>",
    "<x:script>",
    "<html:script xmlns:html='http://www.w3.org/1999/xhtml'>",
    "<a href='java&#115;cript:x'>",
    "<a href='java\tscript:x'>",
    "<a href=' &#1;javascript:x'>",
    "<a href='javascript&colon;x'>",
    "<a href='JaVaScRiPt:x'>",
    "<a href=javascript:x>",
    "<a xlink:href='javascript:x'>",
    "<img src='data:text/html,<script>'>",
    "<img src='data:image/svg+xml;base64,xx'>",
    "<a href='data:text/html;base64,x'>",
    "<p style='background:url(x)'>",
    "<p style='background:u\\72l(x)'>",
    "<p style='width:expression(x)'>",
    "<p style='background:ur&#108;(x)'>",
    "<![CDATA[><script>x]]>",
    "<?xml-stylesheet href='x'?>",
    "<!DOCTYPE x [<!ENTITY a 'b'>]>",
    "<!--><img src=x onerror=x>-->",
    "<!-- --!><img src=x onerror=x>-->",
    '<p a=b"c onclick=x>',
    "<p <b onclick = 'x'>",
    "<svg/onload=x>",
    "<p/onclick=x>",
    "<p\nonclick\n=\n'x'>",
    "<p \x0conclick=x>",
    "<math><mi xlink:href='javascript:x'>",
    "<iframe srcdoc='x'>",
    "<p title='a' ONCLICK='x'>",
    '<a href="vbscript:x">',
    "<p title='<' onclick='x'>",
    "<form>",
    "</script>",
    '<p title="\nonclick=x>',
    "<a href='\u200bjavascript:x'>",
    "<p title=`x`onclick=x>",
    "<p ='x' onclick=x>",
    "<a href='java script:x'>",
    "<a href='java&#x0A;script:x'>",
)
PASSIVE = (
    "<p>onset = 2020</p>",
    "<p>a &lt; b &amp; c</p>",
    "<p title='on x=y'>x</p>",
    "<img src='data:image/png;base64,AAAA' alt='x'/>",
    "<a href='http://x/javascript:1'>",
    "<a href='#a'>x</a>",
    "<p style='color:red;font-weight:bold'>",
    "<!-- on x=1 -->",
    "<br/><BR><hr />",
    "<td colspan=2 nowrap>",
    "WBC < 5 and x<5",
    "<p>style = on data: none script</p>",
    '<p class="a">Description: &#160;x</p>',
    "<a name='b'>x</a>",
    "<table border='1' cellpadding=\"2\"><tr><td>x</td></tr></table>",
    "<p title='5 > 3'>x</p>",
    "x < body mass, < input",
    "WBC <normal range</p><p>more</p>",
)


@pytest.mark.parametrize("before", ["", LONG], ids=["short", "long"])
def test_active_content(before: str) -> None:
    assert [one for one in ACTIVE if not is_active(f"{DIV}{before}{one}</div>")] == []


@pytest.mark.parametrize("before", ["", LONG], ids=["short", "long"])
def test_passive_content(before: str) -> None:
    assert [one for one in PASSIVE if is_active(f"{DIV}{before}{one}</div>")] == []


def test_what_is_too_broken_to_tell() -> None:
    assert is_active(f"{DIV}<p <{'x' * REST_MAX}")
    assert is_active(f"{DIV}{'<' * (MARKS_MAX + REST_MAX + 1)}")
    assert not is_active(f"{DIV}<p <{'x' * 1_000}")


@pytest.mark.parametrize(
    "text",
    [
        "<b>&",
        "<",
        "<a ",
        "<a '",
        "on",
        "&",
        "<!--",
        "<!-- - ",
        "< ",
        ":a",
        ".a",
        "x=1 ",
        "<x:",
        "<?",
        "data:image/",
    ],
)
@pytest.mark.parametrize("before", ["", "<a ", "<a <"])
def test_a_hostile_narrative_is_read_in_one_go(text: str, before: str) -> None:
    """A megabyte takes hours when it is read again from each place in it."""
    is_active(f"{DIV}{before}{text * (200_000 // len(text))}&")
