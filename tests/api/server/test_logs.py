"""Content of a line of the log, and what never stands in it."""

from __future__ import annotations

import ast
import logging
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from api.metrics import new_registry
from api.server.log_handler import LINES_MAX, WAITING_BYTES_MAX, JsonHandler
from api.server.logs import ERRORS_MAX, FIELDS, OURS, JsonFormatter, log_fields
from tests.support.lines import logged

if TYPE_CHECKING:
    from collections.abc import Iterator

SENTINEL = "S3NTINEL"


def test_only_allowed_fields_are_shown() -> None:
    with logged() as lines:
        logging.getLogger("api.x").info("done", extra={"count": 3, "patient": SENTINEL})
    [line] = lines.parsed
    assert line["count"] == 3
    assert "patient" not in line


def test_each_field_that_is_logged_is_shown() -> None:
    """A field that is not on the list is dropped without a word: its line tells nobody why."""
    root = Path(__file__).parents[3]
    given: set[str] = set()
    said: list[str] = []
    for path in (path for folder in OURS for path in (root / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            given.update(fields_given(node))
            said += messages(node)
    assert given <= FIELDS
    assert {"reason", "listener"} <= given
    # A message is shown as it stands, without its arguments.
    assert not [one for one in said if "%" in one]


def messages(node: ast.AST) -> Iterator[str]:
    """Message of a call of `LOG`."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="LOG")), args=[ast.Constant(value=str(said)), *_]):
            yield said
        case _:
            pass


def fields_given(node: ast.AST) -> Iterator[str]:
    """Names in a literal that is given as `extra`, or called so before."""
    match node:
        case ast.keyword(arg="extra", value=ast.Dict() as given):
            yield from names_in(given)
        case ast.Assign(targets=[ast.Name(id="extra")], value=ast.Dict() as given):
            yield from names_in(given)
        case _:
            pass


def names_in(given: ast.Dict) -> Iterator[str]:
    return (key.value for key in given.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def test_a_value_that_is_not_json_shows_as_its_type() -> None:
    with logged() as lines:
        logging.getLogger("ingest.x").info("done", extra={"count": ValueError(SENTINEL)})
    assert lines.parsed[0]["count"] == "ValueError"


def test_of_others_only_the_place_and_the_type_are_shown() -> None:
    with logged() as lines:
        try:
            int(SENTINEL)
        except ValueError:
            logging.getLogger("pymongo.command").exception("failed: %s", SENTINEL)
    [line] = lines.parsed
    assert SENTINEL not in str(line)
    assert line["message"].startswith("test_logs:")
    assert line["errors"] == ["ValueError"]


def test_our_own_messages_are_shown_without_arguments() -> None:
    with logged() as lines:
        logging.getLogger("store.x").warning("the key %s", SENTINEL)
    assert lines.parsed[0]["message"] == "the key %s"


@pytest.fixture
def ours_alone() -> Iterator[None]:
    """The root logger as `dod serve` leaves it: nobody but our handler looks."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    ours = JsonHandler()
    ours.setFormatter(JsonFormatter())
    root.handlers[:] = [ours]
    root.setLevel(logging.INFO)
    yield
    ours.flush()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("ours_alone")
def test_the_short_way_writes_what_the_long_way_does(capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"route": "search", "status": 200, "tenant": None}
    logger = logging.getLogger("api.request")
    log_fields(logger, "request", {**fields, "patient": SENTINEL})
    logger.info("request", extra={**fields, "patient": SENTINEL})
    short, long = (orjson.loads(line) for line in capsys.readouterr().err.splitlines())
    assert all(line.pop("time").endswith("Z") for line in (short, long))
    assert short == long == {"level": "INFO", "logger": "api.request", "message": "request", **fields}


@pytest.mark.usefixtures("ours_alone")
async def test_lines_of_a_loop_are_written_together_and_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("api.request")
    for count in range(3):
        log_fields(logger, "request", {"count": count})
    assert capsys.readouterr().err == ""
    logger.warning("now")
    lines = [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line.get("count", line["message"]) for line in lines] == [0, 1, 2, "now"]


@pytest.mark.usefixtures("ours_alone")
def test_a_level_that_is_not_shown_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().setLevel(logging.WARNING)
    log_fields(logging.getLogger("api.request"), "request", {"count": 1})
    assert capsys.readouterr().err == ""


def _of_itself(way: str) -> Exception:
    """An error whose chain has no end."""
    error, other = ValueError(SENTINEL), KeyError(SENTINEL)
    if way in ("cause", "context"):
        setattr(error, f"__{way}__", error)
    else:
        error.__context__, other.__cause__ = other, error
    return error


@pytest.mark.parametrize(
    ("way", "shown"),
    [
        ("cause", ["ValueError"]),
        ("context", ["ValueError"]),
        ("by way of another", ["ValueError", "KeyError"]),
    ],
)
def test_an_error_that_came_of_itself_is_shown_once(way: str, shown: list[str]) -> None:
    error = _of_itself(way)
    with logged() as lines:
        logging.getLogger("api.x").error("failed", exc_info=error)
    assert lines.parsed[0]["errors"] == shown
    error.__cause__ = error.__context__ = None


def test_a_long_chain_of_errors_is_cut() -> None:
    error = ValueError()
    for _ in range(1_000):
        after = ValueError()
        after.__cause__, error = error, after
    with logged() as lines:
        logging.getLogger("api.x").error("failed", exc_info=error)
    assert len(lines.parsed[0]["errors"]) == ERRORS_MAX


# --- the reader of stderr


@contextmanager
def stderr(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[JsonHandler]:
    """Our handler, writing to this descriptor."""
    with os.fdopen(number, "w") as file:
        monkeypatch.setattr(sys, "stderr", file)
        handler = JsonHandler()
        handler.setFormatter(JsonFormatter())
        yield handler
        monkeypatch.undo()


def _warn(handler: JsonHandler, text: str = "now") -> None:
    handler.handle(logging.LogRecord("api.x", logging.WARNING, "", 0, text, None, None))


def _lost() -> float:
    return new_registry().get_sample_value("dod_log_lines_lost_total") or 0


@pytest.mark.parametrize("where", ["/dev/full", "a pipe without a reader"])
def test_lines_that_cannot_be_written_are_counted_and_nobody_fails(
    monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    number = os.open(where, os.O_WRONLY) if where.startswith("/") else os.dup(writing)
    os.close(writing)
    before = _lost()
    with stderr(monkeypatch, number) as handler:
        for _ in range(3):
            _warn(handler)
        for _ in range(LINES_MAX):
            handler.say(b"{}")
        handler.flush()
    assert _lost() - before == 3 + LINES_MAX


def test_a_reader_that_stands_still_holds_up_nobody_and_gets_whole_lines_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A write into a full pipe would stop the event loop for as long as its reader likes."""
    reading, writing = os.pipe()
    long = "x" * 10_000
    count = 2 * WAITING_BYTES_MAX // len(long)
    before = _lost()
    with stderr(monkeypatch, writing) as handler:
        for _ in range(count):
            _warn(handler, long)
        lost = _lost() - before
        assert 0 < lost < count
        got = b""
        while handler._waiting or handler._lines:
            got += os.read(reading, 65_536)
            handler.flush()
    while piece := os.read(reading, 65_536):
        got += piece
    os.close(reading)
    lines = [orjson.loads(line) for line in got.splitlines()]
    assert len(lines) == count - lost
    assert all(line["message"] == long for line in lines)


def test_a_line_that_cannot_be_made_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _lost()
    handler = JsonHandler()
    monkeypatch.setattr(handler, "format", lambda _: 1 / 0)
    _warn(handler)
    assert _lost() - before == 1


def test_a_closed_or_missing_stderr_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    for gone in (None, open(os.devnull, "w")):  # noqa: PTH123, SIM115 -- closed below
        if gone is not None:
            gone.close()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", gone)
            handler = JsonHandler()
            handler.setFormatter(JsonFormatter())
            _warn(handler)
