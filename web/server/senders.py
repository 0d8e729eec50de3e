"""Who sends a request, and with which key, as its head says, before anything is checked.

Digests only: no credential and no key stays in memory or reaches a log.
"""

import hashlib
import re
from typing import NamedTuple

from django.conf import settings

WRITES = re.compile(rb"(?:POST|PUT|PATCH|DELETE) ")
AUTHORIZATION = re.compile(rb"\r\nauthorization:[ \t]*([^\r]*)", re.IGNORECASE)
COOKIES = re.compile(rb"\r\ncookie:([^\r]*)", re.IGNORECASE)
KEY = re.compile(rb"\r\nidempotency-key:[ \t]*([^\r]*)", re.IGNORECASE)
ESCAPED = re.compile(rb"\\(.)")


class Sender(NamedTuple):
    """Whose turn a request takes, and what makes it a duplicate.

    :param caller: digest of the credentials; b"" without any: all anonymous clients are one caller
    :param key: digest of the credentials and the key; None where no key of a caller is in play
    """

    caller: bytes
    key: bytes | None


NOBODY = Sender(b"", None)


def sender(head: bytes) -> Sender:
    """Return who sends a request with this head.

    Two credentials of one user are two callers here; the database knows better.
    """
    credentials = [*AUTHORIZATION.findall(head), *_sessions(head)]
    if not credentials:
        return NOBODY
    caller = _digest(*credentials)
    key = key_of(head) if WRITES.match(head) else None
    return Sender(caller, None if key is None else _digest(caller, key))


def _sessions(head: bytes) -> list[bytes]:
    name = settings.SESSION_COOKIE_NAME.encode()
    pairs = [pair.strip() for line in COOKIES.findall(head) for pair in line.split(b";")]
    return [pair for pair in pairs if pair.startswith(name + b"=")]


def key_of(head: bytes) -> bytes | None:
    """Return a head's key, the same whether it was quoted or bare, or None."""
    found = KEY.search(head)
    if found is None:
        return None
    key = found[1].rstrip()
    is_quoted = len(key) > 1 and key.startswith(b'"') and key.endswith(b'"')
    return ESCAPED.sub(rb"\1", key[1:-1]) if is_quoted else key


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.digest()
