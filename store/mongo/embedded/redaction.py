"""Lines of mongod's log without values: what is not known to be free of them is left out.

mongod writes the filter and the bounds of a search that hit its deadline into its log, and the document that
met a duplicate key; `redactClientLogData` is for its Enterprise edition. Here each attribute of a line is
kept by its name and kind: numbers, names of our own making, the words of the operating system.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import orjson

WITHHELD: Final = "withheld"
"""Attribute that names the attributes left out."""
TEXT_MAX: Final = 300
"""Longest text that is kept, in characters."""
_KEPT: Final = ("t", "s", "c", "id", "ctx", "msg", "tags")
"""Fields of a line, besides its attributes; `msg` is a constant of mongod's source."""
_NAMES: Final = frozenset(
    "address appName architecture collection context dataDirectory dbPath expr"
    " featureCompatibilityVersion file gitVersion host hostAndPort ident index namespace newState newVersion"
    " ns oldState path planCacheKey planSummary port protocol queryHash remote service ssl type"
    " version".split()
)
"""Attributes whose text names a thing of the server's or of ours; a plan's summary, fields of an index."""
_SPEAKING: Final = frozenset("- ASIO CONTROL ELECTION FTDC NETWORK STORAGE WT".split())
"""Components whose errors speak of files, sockets and settings; others quote what was written."""
_QUOTES: Final = re.compile(r"[{\[\"']")
"""Words after which an error begins to quote something."""
_WIREDTIGER: Final = re.compile(
    r"\b(?:[\w./-]+\.(?:wt|turtle|lock|bson)|WiredTiger(?:Log|PreplogLog|TmplogLog)?\.?\d*"
    r"|handle-\w+|failed to (?:read|write) \d+ bytes at offset \d+|potential hardware corruption"
    r"|read checksum error for \d+B block at offset \d+|illegal file format or internal value"
    r"|WiredTiger library panic|the process must exit and restart|WiredTiger has failed to open its metadata"
    r"|does not appear to be a WiredTiger file|unsupported WiredTiger file version"
    r"|memory allocation of \d+ bytes failed)"
)
"""Phrases of WiredTiger's that are kept. Others print keys, and pages in hexadecimal digits."""


def without_values(line: bytes) -> dict[str, Any] | None:
    """Line of the structured log, without values; None: it is no such line."""
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("msg"), str):
        return None
    kept: dict[str, Any] = {name: entry[name] for name in _KEPT if name in entry}
    kept["msg"] = kept["msg"].strip()[:TEXT_MAX]
    component = str(entry.get("c", ""))
    attributes: dict[str, Any] = {}
    withheld: list[str] = []
    given = entry.get("attr")
    for name, value in given.items() if isinstance(given, dict) else ():
        found = _attribute(component, name, value)
        if found is None and value is not None:
            withheld.append(name)
        else:
            attributes[name] = found
    if withheld:
        attributes[WITHHELD] = withheld
    if attributes:
        kept["attr"] = attributes
    return kept


def _attribute(component: str, name: str, value: object) -> object:
    """The value as far as it may be written; None: not at all."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        if name in _NAMES:
            return value[:TEXT_MAX]
        return _error(component, value) if name == "error" else None
    if not isinstance(value, dict):
        return None
    if name == "error":
        known = {key: value[key] for key in ("code", "codeName") if isinstance(value.get(key), int | str)}
        return {**known, "errmsg": _error(component, value.get("errmsg")) or ""}
    if name == "message" and component.startswith("WT"):
        return _wiredtiger(value)
    return None


def _error(component: str, text: object) -> str | None:
    """Words of an error up to what they quote."""
    if not isinstance(text, str) or component.rstrip("0123456789") not in _SPEAKING:
        return None
    return _QUOTES.split(text, maxsplit=1)[0].strip()[:TEXT_MAX]


def _wiredtiger(message: Mapping[str, Any]) -> dict[str, Any]:
    """WiredTiger's own message: its error, and the phrases that are known."""
    words = _WIREDTIGER.findall(str(message.get("msg", "")))
    return {
        "msg": ": ".join(dict.fromkeys(words))[:TEXT_MAX],
        "error_str": str(message.get("error_str", ""))[:TEXT_MAX],
        "error_code": message.get("error_code") if isinstance(message.get("error_code"), int) else None,
    }
