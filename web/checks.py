"""What `check --deploy` and `migrate` warn of: forwarding by anybody, and tokens in plain text."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.db import connections


def proxies_are_named(**_: Any) -> list[CheckMessage]:
    """Warn of a proxy that is not named: its clients all have one address."""
    if getattr(settings, "SECURE_PROXY_SSL_HEADER", None) is None or settings.TRUSTED_PROXIES:
        return []
    text = (
        "BEHIND_TLS_PROXY trusts X-Forwarded-Proto of every peer, and all clients of the proxy "
        "share its address, and with it the limit on signing in."
    )
    return [Warning(text, hint="Set TRUSTED_PROXIES to the proxy's address.", id="web.W001")]


def old_tokens(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Warn of the table of rest_framework.authtoken, which this project used earlier."""
    return [warning for each in databases or () for warning in _old_tokens(each)]


def _old_tokens(using: str) -> list[CheckMessage]:
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT to_regclass('authtoken_token')")
        if cursor.fetchone() == (None,):
            return []
    text = (
        "The table authtoken_token holds API tokens in plain text. They stay valid without it: "
        "their digests are in web_apitoken. Users who have one there can't be deleted."
    )
    hint = "Once no server of the earlier version runs: DROP TABLE authtoken_token;"
    return [Warning(text, hint=hint, id="web.W002")]
