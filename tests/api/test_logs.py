"""What a line of the log shows, and what it never does."""

from __future__ import annotations

import logging

from tests.support.lines import logged

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
