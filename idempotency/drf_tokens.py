"""Token authentication of Django REST framework that brings the key's record: `idempotency.ahead`.

    REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": ["idempotency.drf_tokens.TokenAuthentication"],
    }

Needs `rest_framework.authtoken`, or a token model of one's own with a `key` and a `user`.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from django.db import connections, router
from rest_framework import authentication
from rest_framework.request import Request

from idempotency import ahead


class TokenAuthentication(authentication.TokenAuthentication):
    """`rest_framework.authentication.TokenAuthentication` in one plain statement.

    The statement finds the token, its user, and the record of the request's key, so that a replay
    needs no other one.

    :cvar scope: an SQL expression for who a key belongs to: the setting SCOPE in SQL. `owner` is
        the user's row. None: `user:` and the user's id, which is SCOPE's default. It may not come
        from a request
    """

    scope: str | None = None
    request: Request

    def authenticate(self, request: Request) -> Any:
        self.request = request
        return super().authenticate(request)

    def authenticate_credentials(self, key: str) -> Any:
        """Return the user and the token.

        :raises AuthenticationFailed: as the superclass, which makes the error
        """
        token_model: Any = self.get_model()
        user_model = token_model._meta.get_field("user").related_model
        using = router.db_for_read(token_model)
        with connections[using].cursor() as cursor:
            statement = _statement(token_model, user_model, self.scope)
            cursor.execute(statement, {"token": key, **ahead.values(self.request)})
            row = cursor.fetchone()
        if row is None:
            return super().authenticate_credentials(key)
        seen, columns = row[: ahead.WIDTH], row[ahead.WIDTH :]
        width = len(token_model._meta.concrete_fields)
        token = _instance(token_model, columns[:width], using)
        token.user = _instance(user_model, columns[width:], using)
        if not token.user.is_active:
            return super().authenticate_credentials(key)
        ahead.note(self.request, seen, using=using)
        return token.user, token


@cache
def _statement(token: Any, user: Any, scope: str | None) -> str:
    owner = f'owner."{user._meta.pk.column}"'
    columns = [f'token."{field.column}"' for field in token._meta.concrete_fields]
    columns += [f'owner."{field.column}"' for field in user._meta.concrete_fields]
    return f"""
SELECT {ahead.COLUMNS}, {", ".join(columns)}
  FROM "{token._meta.db_table}" token
  JOIN "{user._meta.db_table}" owner ON {owner} = token."{token._meta.get_field("user").column}"
       {ahead.join(scope or f"'user:' || {owner}")}
 WHERE token."{token._meta.get_field("key").column}" = %(token)s
"""  # noqa: S608 - names of the models' tables and columns


def _instance(model: Any, values: Sequence[Any], using: str) -> Any:
    fields = model._meta.concrete_fields
    read = [
        field.from_db_value(value, None, connections[using])
        if hasattr(field, "from_db_value")
        else value
        for field, value in zip(fields, values, strict=True)
    ]
    return model.from_db(using, [field.attname for field in fields], read)
