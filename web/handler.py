"""How a request is read, before any middleware: nothing that a client sends may raise here."""

from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters


class ReadableRequest(WSGIRequest):
    """A request of UTF-8 whose headers can be parsed: what can't be is left out.

    Django parses the content type before the middleware, where an exception is an HTML page, and
    Accept wherever a view asks for it. Both fail where a parameter names a charset that Python
    doesn't know, as `charset*=x''y` does.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        content_type, accept = environ.get("CONTENT_TYPE", ""), environ.get("HTTP_ACCEPT", "")
        if not _can_be_parsed(content_type):
            environ["CONTENT_TYPE"] = content_type.partition(";")[0].strip()
        if ";" in accept:
            environ["HTTP_ACCEPT"] = ",".join(filter(_can_be_parsed, accept.split(",")))
        super().__init__(environ)

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        """Read the content type; its charset decides nothing.

        JSON is UTF-8, and a charset has no meaning there (RFC 8259, sections 8.1 and 11). A query
        string and the pages' forms are UTF-8 too. Django would decode them by the parameter, with
        codecs such as bz2 that decode no text.
        """
        self.content_type, self.content_params = parse_header_parameters(
            meta.get("CONTENT_TYPE", "")
        )


class Handler(WSGIHandler):
    """Django's handler, with requests that any header leaves readable."""

    request_class = ReadableRequest


def _can_be_parsed(header: str) -> bool:
    try:
        parse_header_parameters(header)
    except Exception:  # email.message raises whatever its parts happen to raise
        return False
    return True
