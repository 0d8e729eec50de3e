"""A key's record, read ahead by the statement that authenticates its caller: all a replay needs.

Any authentication that is one SQL statement can bring the record with it:

    SELECT owner.id, …, {ahead.COLUMNS}
      FROM token JOIN owner … {ahead.join("'user:' || owner.id")} WHERE …

Give it `ahead.values(request)`, and pass the columns to `ahead.note(request, columns)`. What was
seen can only be replayed, after the view's own permission checks, to the request that it is about.
A key without a record is looked up again under its lock; on a standby each one is.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from idempotency import errors, keys, records
from idempotency.stored import Stored

COLUMNS = f"record.identity, {records.STORED}"
WIDTH = 1 + records.STORED_WIDTH

_SEEN = "_idempotency_seen"
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def join(scope: str) -> str:
    """Return the JOIN that finds the record of a request's key.

    :param scope: an SQL expression for who the key belongs to, as the setting SCOPE has it; by
        default that is `'user:' || <the user's id>`. It may not come from a request
    """
    return f"""LEFT JOIN idempotency_record record ON record.identity = sha256(convert_to(
        length({scope}) || ':' || {scope} || %(idempotency_key)s::text, 'UTF8'))
        AND NOT pg_is_in_recovery()"""


def values(request: Any) -> dict[str, str | None]:
    """Return the values of the JOIN: the key of a request that writes, if it has one."""
    key = None
    if request is not None and request.method in _WRITES:
        with suppress(errors.KeyInvalid):  # for the view to refuse
            key = keys.read_key(request)
    return {"idempotency_key": key}


def note(request: Any, columns: Sequence[Any], *, using: str = "default") -> None:
    """Note on a request, Django's or DRF's, what its authentication saw; a later note replaces it.

    :param columns: the values of COLUMNS
    :param using: the database that they come from
    """
    identity, *stored = columns
    seen = None if identity is None else (using, bytes(identity), records.stored_of(stored))
    setattr(getattr(request, "_request", request), _SEEN, seen)


def seen(request: Any, *, identity: bytes, using: str) -> Stored | None:
    """Return what was seen of a key, or None: nothing, or another key's record."""
    noted = getattr(request, _SEEN, None)
    return noted[2] if noted and noted[:2] == (using, identity) else None
