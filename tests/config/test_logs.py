"""A log line below the level costs nothing."""

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import structlog

from config.logs import without_traceback


@pytest.fixture
def processed() -> Iterator[list[str]]:
    """The events that reach the processor after the first one."""
    events: list[str] = []

    def note(_logger: Any, _method: str, event: Any) -> Any:
        events.append(event["event"])
        return event

    processors = structlog.get_config()["processors"]
    configured = list(processors)
    processors.insert(1, note)  # in place: loggers that were used before have this very list
    yield events
    processors[:] = configured


def test_a_line_below_the_level_runs_no_processor(processed: list[str]) -> None:
    name = f"test-{uuid4()}"
    logging.getLogger(name).setLevel("INFO")
    log = structlog.get_logger(name)

    log.debug("below")
    log.info("at the level")

    assert processed == ["at the level"]


def test_what_django_refuses_of_a_client_is_a_warning_without_a_traceback() -> None:
    bug = (None, None, None)
    name = "django.security.DisallowedHost"
    refused = logging.LogRecord(name, logging.ERROR, "", 0, "Invalid Host", (), bug)
    of_ours = logging.LogRecord("problems", logging.ERROR, "", 0, "a bug", (), bug)

    assert without_traceback(refused)
    assert without_traceback(of_ours)

    assert (refused.levelname, refused.exc_info) == ("WARNING", None)
    assert (of_ours.levelname, of_ours.exc_info) == ("ERROR", bug)
