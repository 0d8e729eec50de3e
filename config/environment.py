"""Numbers from the environment, each within its limits: a wrong one ends every start in a line."""

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()


def whole(name: str, *, default: int, least: int = 1, most: int) -> int:
    """Return a variable that is a whole number within its limits.

    :raises ImproperlyConfigured: it is not
    """
    given = env.str(name, default=str(default)).strip()
    is_short = len(given) <= 20  # Python converts no number of thousands of digits
    if is_short and given.isascii() and given.isdecimal() and least <= int(given) <= most:
        return int(given)
    raise ImproperlyConfigured(
        f"{name} is a whole number from {least:,} to {most:,}, not {given[:40]!r}."
    )
