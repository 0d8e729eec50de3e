"""What the settings may be: a value outside of its limits stops every start of the project."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from idempotency.conf import Settings

Limits = tuple[Any, Any]

YEARS_10 = timedelta(days=3650)
NUMBERS: dict[str, Limits] = {
    "WAIT_SECONDS": (0, 3600),
    "WAIT_SECONDS_MAX": (0, 3600),
    "RESPONSE_BYTES_MAX": (1, 512 * 1024 * 1024),
    "WAITING_THREADS_MAX": (0, 10_000),
    "JOURNAL_ROWS_MAX": (0, 1_000_000),
}
TIMES: dict[str, Limits] = {
    "RETENTION": (timedelta(minutes=1), YEARS_10),
    "TOKEN_LIFETIME": (timedelta(seconds=1), timedelta(days=365)),
    "JOURNAL_RETENTION": (timedelta(minutes=1), YEARS_10),
}
JOURNAL_SECONDS: Limits = (0.05, 3600)
RATES = ("TOKEN_RATE", "EXECUTION_RATE")
COUNT: Limits = (1, 1_000_000_000)
WINDOW_SECONDS: Limits = (1, 31 * 24 * 3600)


def outside(chosen: Settings) -> Iterator[str]:
    """Yield a sentence for each setting that is outside of its limits, or of another type."""
    for name, limits in NUMBERS.items():
        if not _is_within(getattr(chosen, name), int, limits):
            yield _sentence(name, f"a whole number from {limits[0]} to {limits[1]}", chosen)
    for name, limits in TIMES.items():
        if not _is_within(getattr(chosen, name), timedelta, limits):
            yield _sentence(name, f"a timedelta from {limits[0]} to {limits[1]}", chosen)
    horizon: Any = chosen.RETRY_HORIZON
    if not isinstance(horizon, timedelta | None):
        yield _sentence("RETRY_HORIZON", "a timedelta, or None", chosen)
    seconds = chosen.JOURNAL_SECONDS
    if seconds is not None and not _is_within(seconds, int | float, JOURNAL_SECONDS):
        yield _sentence("JOURNAL_SECONDS", "a number from 0.05 to 3600, or None", chosen)
    yield from _outside_rates(chosen)


def _outside_rates(chosen: Settings) -> Iterator[str]:
    for name in RATES:
        rate = getattr(chosen, name)
        if not _is_rate(rate) and not (rate is None and name == "EXECUTION_RATE"):
            yield _sentence(name, "(how many, in how many seconds), each 1 or more", chosen)


def _is_within(value: Any, kind: Any, limits: Limits) -> bool:
    is_of_kind = isinstance(value, kind) and not isinstance(value, bool)
    return is_of_kind and limits[0] <= value <= limits[1]


def _is_rate(rate: Any) -> bool:
    if not isinstance(rate, tuple | list) or len(rate) != 2:
        return False
    return _is_within(rate[0], int, COUNT) and _is_within(rate[1], int, WINDOW_SECONDS)


def _sentence(name: str, wanted: str, chosen: Settings) -> str:
    return f"IDEMPOTENCY[{name!r}] is {wanted}, not {getattr(chosen, name)!r}."
