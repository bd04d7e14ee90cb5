"""Values that stand for "there is none", or hide what there is: words, one digit alone, masks."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from store.search.values.strings import folded_words

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Set as AbstractSet

_FILLING: Final = "0X9"
"""Characters of which a number of any length is none."""
_REPEATED: Final = 7
"""Length from which a number of one digit alone is none: `111-11-1111`."""
_MASKS: Final = "*#?_\u2022\u25cf\u2588"
"""Characters that hide a part of a number; an X does, too, beside digits alone."""
_MASKED: Final = 3
"""Hidden characters from which a number is hidden, as in `XXX-XX-1234`: many people share the rest."""
_BETWEEN: Final = str.maketrans("", "", " ./-")


def is_placeholder(value: str, placeholders: AbstractSet[str]) -> bool:
    """Whether a value is nobody's number: a word of the setting, one character again and again, or a mask."""
    bare = _bare(value)
    if not bare or bare in placeholders:
        return True
    if len(bare) > 1 and len(set(bare)) == 1 and (bare[0] in _FILLING or _is_repeated(bare)):
        return True
    return _is_masked(value.translate(_BETWEEN))


def placeholder_words(words: Iterable[str]) -> frozenset[str]:
    """The words of the setting as `is_placeholder` compares them: capitals, letters and digits alone."""
    return _words(tuple(words))


@lru_cache(maxsize=16)
def _words(words: tuple[str, ...]) -> frozenset[str]:
    """Remembered: every message asks for those of the setting."""
    return frozenset(map(_bare, words))


def _is_repeated(bare: str) -> bool:
    return len(bare) >= _REPEATED and bare.isdigit()


def _is_masked(text: str) -> bool:
    if len(text) - len(text.strip(_MASKS)) >= _MASKED:
        return True
    rest = text.strip("xX")
    return len(text) - len(rest) >= _MASKED and rest.isdigit()


def _bare(text: str) -> str:
    """Letters and digits alone, in capitals, without accents, forms of one width, digits of one script."""
    if text.isascii():
        return "".join(one for one in text if one.isalnum()).upper()
    return "".join(str(unicodedata.decimal(one, one)) for word in folded_words(text) for one in word).upper()
