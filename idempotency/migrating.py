"""Keys that are imported as tombstones: refused, never run again. Another package's, for everybody.

The other packages don't store whose a key was, or store only a digest. So an imported key belongs
to a scope of its own, and the project's scope function asks for it while clients may retry it.

This app's own keys, which a restored backup has forgotten, are imported by their identities.
"""

from collections.abc import Iterable, Iterator
from itertools import islice

from django.db import connections

from idempotency import errors, keys, records

IMPORTED = "imported"
IDENTITY_BYTES = 32

# As the purge leaves it: the identity alone. Fingerprint version 0 was never computed.
IMPORT = """
INSERT INTO idempotency_record (
    identity, scope, key, fingerprint_version, fingerprint_by, fingerprint, method, path, subject,
    content_type, headers, request_id, retained_until)
SELECT identity, '', '', 0, '', '', '', '', '', '', '{}', '', now()
  FROM unnest(%s::bytea[]) identity
ON CONFLICT (identity) DO NOTHING
"""


def import_keys(old: Iterable[str], *, batch: int = 1000, using: str = "default") -> int:
    """Make a tombstone of every key and return how many are new; a repeated call makes none.

    :param old: the keys, or what the other package stored instead of them
    """
    identities = (keys.identity(IMPORTED, key) for key in old)
    return import_identities(identities, batch=batch, using=using)


def import_identities(
    identities: Iterable[bytes], *, batch: int = 1000, using: str = "default"
) -> int:
    """Make a tombstone of every key of this app's that a restored backup has forgotten.

    Returns how many are new; a repeated call makes none, and no record is overwritten.

    :param identities: as the signal `executed` names them, from the project's logs
    """
    imported, remaining = 0, iter(identities)
    while some := list(islice(remaining, batch)):
        with connections[using].cursor() as cursor:
            cursor.execute(IMPORT, [some])
            imported += cursor.rowcount
    return imported


def refuse_imported(key: str | None, *, using: str = "default") -> None:
    """Refuse a key that was imported; one statement. Call it in the project's scope function.

    :param key: of the request, or what the other package would have stored; None: none
    :raises errors.KeyExpired: the other package may have executed it
    """
    if key is not None and records.inquire(keys.identity(IMPORTED, key), using=using).is_used:
        raise errors.KeyExpired


def stripped(lines: Iterable[str]) -> Iterator[str]:
    """Return the keys of a file that has one a line."""
    return (line.strip() for line in lines if line.strip())
