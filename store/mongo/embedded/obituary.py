"""Reason for which a mongod ended, in one sentence for the operator."""

from __future__ import annotations

import re
import resource
import signal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

DEBIAN_PACKAGES: Final = {"libcurl.so.4": "libcurl4", "libssl.so.3": "libssl3", "libcrypto.so.3": "libssl3"}
SIGNAL_REASONS: Final[dict[int, str]] = {
    signal.SIGILL: "illegal instruction: this processor lacks AVX, which MongoDB needs",
    signal.SIGKILL: "killed, perhaps for want of memory",
}
_REPETITIONS: Final = frozenset((31380, 6384300))
"""Lines that only repeat that something is fatal."""
_TELLING: Final = ("No space left", "checksum", "corruption", "memory allocation", "Too many open files")
"""Words of the lines that say most, the most telling first; what follows only reports that it goes down."""
_TRACES: Final = ("Error collecting stack trace", "Unable to")
"""Beginnings of the lines that only tell of a backtrace."""
_REASON_MAX: Final = 400


def obituary(code: int, lines: Sequence[dict[str, Any] | str], log: Path, *, while_: str) -> str:
    """Sentence made of the exit code (negative: a signal) and the last lines of the log."""
    plain = [line for line in lines if isinstance(line, str)]
    if missing := re.search(r"error while loading shared libraries: ([^:\s]+)", "\n".join(plain)):
        library = missing[1]
        package = DEBIAN_PACKAGES.get(library)
        hint = f" (Debian and Ubuntu: `apt-get install {package}`)" if package else ""
        return f"mongod cannot start because the shared library {library} is missing{hint}."
    reason = _reason(lines) or SIGNAL_REASONS.get(-code) or "it gave no reason"
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if code == -signal.SIGABRT and space != resource.RLIM_INFINITY:
        reason += f"; its address space is limited to {space // 1024**2} MiB (`ulimit -v`)"
    ended = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"mongod ended {while_} ({ended}): {reason}; its log is {log}."


def _reason(lines: Sequence[dict[str, Any] | str]) -> str | None:
    """Most telling error, else the last one, else the last line that is not of mongod's log."""
    complaints = [
        _complaint(line)
        for line in lines
        # ASSERT only repeats that it is fatal.
        if not isinstance(line, str)
        and line.get("s") in {"E", "F"}
        and line.get("c") != "ASSERT"
        and line.get("id") not in _REPETITIONS
        and not line["msg"].startswith(_TRACES)
    ]
    for words in _TELLING:
        if telling := [text for text in complaints if words in text]:
            return _short(telling[-1])
    others = complaints or [line for line in lines if isinstance(line, str) and line]
    return _short(others[-1]) if others else None


def _short(text: str) -> str:
    return " ".join(text.split())[:_REASON_MAX].rstrip(".")


def _complaint(line: dict[str, Any]) -> str:
    message, attributes = str(line.get("msg", "")), line.get("attr", {})
    inner = attributes.get("message")
    if isinstance(inner, dict):  # WiredTiger's own words
        return f"{message}: {inner['msg']} ({inner['error_str']})"
    detail = attributes.get("error", "")
    if isinstance(detail, dict):
        detail = detail.get("errmsg", "")
    return f"{message}: {detail}" if detail else message
