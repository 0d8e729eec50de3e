"""API tokens: issued by signing in, stored as digests, revoked by deletion.

The database's clock decides when a token expires. A change of its user's password deletes it in the
same commit: the trigger of `web/migrations/0002_guards.py` sees every change, by whatever route.
"""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.contrib.auth.hashers import get_hasher, identify_hasher
from django.contrib.auth.models import User
from django.db import Error, connection, connections, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from idempotency import ahead
from web.models import ApiToken

PREFIX = "api_"  # so that a scanner for leaked secrets knows one
EXPIRING_PER_USER_MAX = 20

# What hardly a request needs is loaded when it is asked for; a hash least of all.
_DEFERRED = {"password", "last_login", "date_joined"}
_COLUMNS = [each.attname for each in User._meta.concrete_fields if each.name not in _DEFERRED]

# One statement a request: whose token it is, whether its use is to be noted, and what is recorded
# of the request's key.
AUTHENTICATE = f"""
SELECT token.id, coalesce(token.last_used_at < now() - interval '1 hour', true),
       {ahead.COLUMNS}, {", ".join(f'owner."{column}"' for column in _COLUMNS)}
  FROM web_apitoken token JOIN auth_user owner ON owner.id = token.user_id
       {ahead.join("'user:' || owner.id")}
 WHERE token.digest = %(digest)s AND owner.is_active
   AND (token.expires_at > now() OR token.expires_at IS NULL)
"""  # noqa: S608 - the names of the model's columns

# SKIP LOCKED: a request that notes the use already, or revokes the token, holds nobody up.
NOTE_USE = """
UPDATE web_apitoken SET last_used_at = now()
 WHERE id = (SELECT id FROM web_apitoken WHERE id = %(id)s
                AND coalesce(last_used_at < now() - interval '1 hour', true)
                FOR NO KEY UPDATE SKIP LOCKED)
"""

# Won or lost here: a sign-in waits for a change of the password in flight, then sees another hash.
LOCK_USER = "SELECT password FROM auth_user WHERE id = %(user)s AND is_active FOR NO KEY UPDATE"

DELETE_SURPLUS = """
DELETE FROM web_apitoken WHERE id IN (
    SELECT id FROM web_apitoken WHERE user_id = %(user)s AND expires_at IS NOT NULL
     ORDER BY expires_at > now() DESC, coalesce(last_used_at, created_at) DESC, id DESC
    OFFSET %(keep)s)
"""

ISSUE = """
INSERT INTO web_apitoken (user_id, digest, name, created_at, expires_at)
VALUES (%(user)s, %(digest)s, %(name)s, now(), now() + %(lifetime)s::interval)
RETURNING id, expires_at
"""

ADD = """
INSERT INTO web_apitoken (user_id, digest, name) VALUES (%(user)s, %(digest)s, %(name)s)
ON CONFLICT (digest) DO NOTHING
"""

ANNOUNCE = "SELECT set_config('web.same_password', %(digest)s, false)"


class Issued(NamedTuple):
    """A new token, the only time that its text is known."""

    id: int
    token: str
    name: str
    expires_at: datetime | None


def digest(token: str) -> str:
    """Return what the database stores of a token, from which nobody can derive it."""
    return hashlib.sha256(token.encode()).hexdigest()


def authenticate(token: str, request: Any = None) -> tuple[User, int] | None:
    """Return whose valid token this is, and its id; None of any other. Notes the use.

    :param request: that sent it; what is recorded of its key is noted on it
    """
    with connection.cursor() as cursor:
        cursor.execute(AUTHENTICATE, {"digest": digest(token), **ahead.values(request)})
        row = cursor.fetchone()
    if row is None:
        return None
    token_id, is_to_be_noted, *rest = row
    seen, columns = rest[: ahead.WIDTH], rest[ahead.WIDTH :]
    if request is not None:
        ahead.note(request, seen)
    if is_to_be_noted:
        note_use(token_id)
    return User.from_db(connection.alias, _COLUMNS, columns), token_id


def note_use(token_id: int) -> None:
    """Note that a token is used, once an hour, in a transaction of its own; or not at all.

    A database that takes no writes, or is busy, fails no request by this.
    """
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(NOTE_USE, {"id": token_id})
    except Error:
        return


def issue(user: User, *, name: str, lifetime: timedelta | None) -> Issued | None:
    """Issue a new token to a user whose password was right; every call issues another one.

    Of the user's tokens that expire, beyond a number the one that was longest unused goes. None:
    the password has been changed since, or the user is inactive.
    """
    token = PREFIX + secrets.token_urlsafe(32)
    values: dict[str, Any] = {
        "user": user.pk,
        "digest": digest(token),
        "name": name,
        "lifetime": lifetime,
        "keep": EXPIRING_PER_USER_MAX - 1,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LOCK_USER, values)
        if cursor.fetchone() != (user.password,):
            return None
        cursor.execute(DELETE_SURPLUS, values)
        cursor.execute(ISSUE, values)
        token_id, expires_at = cursor.fetchone()
    return Issued(token_id, token, name, expires_at)


def add(user: User, token: str, *, name: str) -> None:
    """Make a text a token of a user's that does not expire; a repeated call changes nothing."""
    with connection.cursor() as cursor:
        cursor.execute(ADD, {"user": user.pk, "digest": digest(token), "name": name})


def tokens_of(user: Any) -> QuerySet[ApiToken]:
    """Return a user's valid tokens, newest first."""
    valid = Q(expires_at=None) | Q(expires_at__gt=Now())
    return ApiToken.objects.filter(valid, user=user).order_by("-id")


def revoke(user: Any, token_id: int) -> bool:
    """Revoke a user's token; False of a repeated call, and of another user's token."""
    deleted, _ = ApiToken.objects.filter(user=user, pk=token_id).delete()
    return bool(deleted)


def announce_new_hash(instance: Any, using: str, update_fields: Any, **_: Any) -> None:
    """Let the trigger know that the hash about to be saved is of the same password as before.

    Django makes such a hash after a sign-in, where its hasher has become stronger. Whatever is not
    announced counts as another password. (A receiver of `pre_save`.)
    """
    if instance._password is not None or update_fields != frozenset({"password"}):
        return
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT password FROM auth_user WHERE id = %s", [instance.pk])
        (stored,) = cursor.fetchone() or ("",)
        if _is_outdated(stored):
            cursor.execute(ANNOUNCE, {"digest": digest(instance.password)})


def _is_outdated(encoded: str) -> bool:
    """Return True if Django would hash the password of this hash anew, as `check_password` does."""
    try:
        hasher, preferred = identify_hasher(encoded), get_hasher()
    except ValueError:  # no password, or a hasher that is not in the settings
        return False
    return hasher.algorithm != preferred.algorithm or preferred.must_update(encoded)
