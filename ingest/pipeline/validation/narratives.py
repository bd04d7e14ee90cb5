"""Active content of a narrative: elements, attributes and URLs that a browser runs, loads or submits. Pure.

Tags are read as browsers and XML parsers read them. From the first tag on that the two would read differently
the rest is searched without regard to tags: an attribute's name in a text is refused then, too.
https://hl7.org/fhir/R4/narrative.html#xhtml
"""

from __future__ import annotations

import re
from html import unescape
from typing import Final

SHORT: Final = 100_000
"""Characters of a narrative that is looked at as a whole first: most need no closer look."""
MARKS_MAX: Final = 200_000
"""Tags, and other `<`, that are read one by one; the rest is searched without regard to tags."""
REST_MAX: Final = 1_000_000
"""Characters that are searched so; a longer rest is refused."""
_ELEMENTS: Final = frozenset(
    "script iframe frame frameset object embed applet param form input button select option textarea link"
    " style meta base head body html svg math video audio source track template noscript portal plaintext"
    " xmp noembed noframes foreignobject".split()
)
_SUSPECT: Final = ("&", "\\", "<!", "<?", "script:", "mocha:", "data:", "style", "srcdoc")
"""Texts without which, and without event attributes, only the names of elements count."""
_EVENT: Final = re.compile(r"(?<![\w:.-])on[a-z]++\s*+=")
_NAMES: Final = re.compile(r"</?+([a-z][\w:.-]*+)")
_VALUE: Final = r"""\s*+=\s*+("[^"<]*+"|'[^'<]*+'|[^\s"'=<>`]++)"""
_NAME: Final = r"""[^\s"'=<>/`]++"""
_TAG: Final = re.compile(rf"</?+([A-Za-z][\w:.-]*+)((?:[\s/]++|{_NAME}(?:{_VALUE})?+){{0,400}}+)>")
_ATTRIBUTE: Final = re.compile(rf"({_NAME})(?:{_VALUE})?+")
_COMMENT: Final = re.compile(r"<!--(?!-?>)(?:[^-]++|-(?!-))*+-->")
_MARK: Final = re.compile(r"<[A-Za-z/!?]")
_HIDDEN: Final = re.compile(r"[\0-\x20\x7f-\xa0\xad\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]+")
"""Characters that browsers pass over in a URL, or that nobody sees."""
_RUN: Final = re.compile(
    r"(?:javascript|vbscript|livescript|mocha|data(?!:image/(?:png|gif|jpe?g|bmp|webp)[;,])):",
    re.IGNORECASE,
)
_STYLE: Final = re.compile(
    r"\\|/\*|url\(|expression\(|@import|behavior:|-moz-binding|javascript:", re.IGNORECASE
)
_IN_TEXT: Final = re.compile(
    rf"(?<![\w:.-])on[a-z]++\s*+=|srcdoc\s*+=|<!(?!--)|<\?"
    rf"|<\s*+/?+\s*+(?:[\w.-]++:)?+(?:{'|'.join(sorted(_ELEMENTS))})\b",
    re.IGNORECASE,
)


def is_active(div: str) -> bool:
    """Whether a narrative has active content, or is so broken that nobody can tell."""
    if len(div) <= SHORT and not _is_suspect(div.lower()):
        return False
    at = 0
    for _ in range(MARKS_MAX):
        at = div.find("<", at)
        if at < 0:
            return False
        if _MARK.match(div, at) is None:
            at += 1
            continue
        found = _COMMENT.match(div, at) or _TAG.match(div, at)
        if found is None:
            break
        if found.re is _TAG and _is_active_tag(found[1], found[2]):
            return True
        at = found.end()
    return _is_active_anywhere(div[at:])


def _is_suspect(lowered: str) -> bool:
    if any(one in lowered for one in _SUSPECT) or _EVENT.search(lowered) is not None:
        return True
    return any(_local(one) in _ELEMENTS for one in set(_NAMES.findall(lowered)))


def _is_active_tag(name: str, attributes: str) -> bool:
    if _local(name) in _ELEMENTS:
        return True
    return bool(attributes) and any(
        _is_active_attribute(_local(one[1]), one[2] or "") for one in _ATTRIBUTE.finditer(attributes)
    )


def _local(name: str) -> str:
    """A name without its namespace's prefix, as HTML compares it."""
    return name.rpartition(":")[2].lower()


def _is_active_attribute(name: str, value: str) -> bool:
    if name.startswith("on") or name == "srcdoc":
        return True
    plain = _HIDDEN.sub("", unescape(value.strip("\"'")))
    return _RUN.match(plain) is not None or (name == "style" and _STYLE.search(plain) is not None)


def _is_active_anywhere(rest: str) -> bool:
    if len(rest) > REST_MAX or _IN_TEXT.search(rest) is not None:
        return True
    return _RUN.search(_HIDDEN.sub("", unescape(rest))) is not None
