"""Names of patients in a subscription: in its filters, and in what its client wrote beside them. Pure.

An erasure takes them out of what is there (`store.mongo.subscriptions.forgetting`); what comes after it is
asked for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus

import orjson

from store.retention.bodies.mentions import names_asked
from store.retention.erased_names import KEY, NUMBER, Name, references

if TYPE_CHECKING:
    from store.subscriptions.records import Subscription

_WORD: Final = re.compile(r"""[^\s"',;:()\[\]{}<>?&=/#|]{4,500}""")
"""Word that may be a patient's number, if it has a digit: `1` and `24h` are said of much else."""
WORDS_MAX: Final = 1_000


def names_in(subscription: Subscription) -> frozenset[Name]:
    """Names that may be those of a patient who was erased."""
    found: set[Name] = set()
    for text in subscription.filters:
        found |= names_asked(text.partition("?")[2] or text)
    told: dict[str, Any] = orjson.loads(subscription.resource or b"{}")
    beside = (subscription.id, unquote_plus(subscription.channel.endpoint), str(told.get("reason", "")))
    words = [word for text in beside for word in _WORD.findall(text)][:WORDS_MAX]
    found |= {Name(NUMBER, word) for word in words if any(map(str.isdigit, word))}
    quoted = b" ".join(b'"' + text.encode() + b'"' for text in beside)
    return frozenset(found | {Name(KEY, one) for one in references(quoted) if one.startswith("Patient/")})
