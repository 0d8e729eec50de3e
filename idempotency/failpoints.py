"""Named points where a test may stop, delay or kill the process; nothing else can arm them.

There is no setting and no variable for this: a test's own WSGI module calls `install`.
"""

from collections.abc import Callable

_hook: Callable[[str], None] | None = None


def install(hook: Callable[[str], None] | None) -> None:
    """Call `hook` with the name of every failpoint passed from now on; None disarms."""
    global _hook  # noqa: PLW0603 - one hook for the whole process is the point
    _hook = hook


def failpoint(name: str) -> None:
    """Mark a place where a crash must do no harm."""
    if _hook is not None:
        _hook(name)
