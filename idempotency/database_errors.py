"""What a database error means for the request: run it again, ask to come back, or report a bug."""

from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.utils import InternalError
from psycopg.errors import ConnectionTimeout

UNIQUE_VIOLATION = "23505"
LOCK_NOT_AVAILABLE = "55P03"
_ROLLED_BACK_BY_CONFLICT = {"40001", "40P01"}  # serialization failure, deadlock
# shut down, crashed, starting up, closed as idle
_CONNECTION_LOST = {"57P01", "57P02", "57P03", "57P05"}


def sqlstate(error: Exception) -> str | None:
    """Return the server's five-character code, or None where the server sent nothing."""
    return getattr(error.__cause__, "sqlstate", None)


def is_repeatable(error: Exception) -> bool:
    """Return True if the transaction may be retried at once, by a caller who dedups its effect.

    After a lost connection the COMMIT may have taken place: only something that finds its own
    record, as the boundary does, may retry it. A server that did not respond in time is no use to
    retry: that would take as long.
    """
    state = sqlstate(error)
    if isinstance(error.__cause__, ConnectionTimeout):
        return False
    if state is None:  # psycopg's own: the session ended, or a pooler ended it in its own way
        return isinstance(error, OperationalError | InterfaceError | InternalError)
    return state in _ROLLED_BACK_BY_CONFLICT or state in _CONNECTION_LOST or state.startswith("08")


def is_temporary(error: Exception) -> bool:
    """Return True if the database, not the request, is the cause: down, full, busy, read-only."""
    if isinstance(error, OperationalError | InterfaceError | InternalError):
        return True
    return isinstance(error, DatabaseError) and is_repeatable(error)


def violated_constraint(error: Exception) -> str | None:
    """Return the name of the constraint that refused the statement, or None."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return getattr(diagnosis, "constraint_name", None)
