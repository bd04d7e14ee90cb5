"""What a line of the log shows, and what it never does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson
import pytest

from api.logs import JsonFormatter, JsonHandler, log_fields
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
