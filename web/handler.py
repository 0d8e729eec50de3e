"""How a request is read, before any middleware: nothing that a client sends may raise here."""

from typing import Any

from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.utils.http import parse_header_parameters


class Utf8Request(WSGIRequest):
    """A request whose query string and body are UTF-8, whatever charset its content type names.

    JSON is UTF-8, and a charset parameter has no meaning there (RFC 8259, sections 8.1 and 11).
    The pages' forms are UTF-8 too. Django would decode by the parameter, with codecs such as bz2
    that decode no text.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        """Read the media type with its parameters; without them where they can't be read.

        Django calls this before the middleware, where an exception is an HTML page. Whoever parses
        the header later reads the same as this.
        """
        header = meta.get("CONTENT_TYPE", "")
        try:
            self.content_type, self.content_params = parse_header_parameters(header)
        except Exception:  # email.message raises whatever its parts happen to raise
            media_type = header.partition(";")[0].strip().lower()
            self.content_type, self.content_params = media_type, {}
            meta["CONTENT_TYPE"] = media_type


class Handler(WSGIHandler):
    """Django's handler, with requests that any header leaves readable."""

    request_class = Utf8Request
