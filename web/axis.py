"""The time axis of a drawing: where its ticks are."""

TICKS_MAX = 5
STEPS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


def ticks(length_ms: float) -> range:
    """Return the milliseconds to name on an axis; its end is left free, for the last one's text."""
    step = next((ms for ms in STEPS_MS if length_ms / ms < TICKS_MAX), STEPS_MS[-1])
    return range(0, int(length_ms * 0.9) + 1, step)
