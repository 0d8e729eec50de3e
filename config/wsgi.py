import os
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from web.database.deadlines import expect_responses

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

CHARSETS = ("utf-8", "utf8", "us-ascii", "iso-8859-1")

django_application = get_wsgi_application()
expect_responses(within_seconds=settings.DATABASE_RESPONSE_SECONDS)


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """Serve a request; a charset that is no text encoding would fail before Django's middleware."""
    media, separator, parameters = environ.get("CONTENT_TYPE", "").partition(";")
    _, named, charset = parameters.lower().partition("charset=")
    if separator and named and charset.split(";")[0].strip(' "') not in CHARSETS:
        environ["CONTENT_TYPE"] = media
    return django_application(environ, start_response)
