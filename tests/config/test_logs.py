"""A log line below the level costs nothing."""

import logging
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import structlog


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
