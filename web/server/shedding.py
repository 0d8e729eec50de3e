"""The 409 for one duplicate too many, made by the main loop: without a thread or the database.

It needs Django, which only workers load.
"""

import re
import uuid
from contextlib import suppress
from email.utils import formatdate
from functools import cache

import structlog
from django.utils import translation
from django.utils.translation.trans_real import (
    get_supported_language_variant,
    parse_accept_lang_header,
)
from rest_framework.renderers import JSONRenderer

from idempotency import key_digest, signals
from idempotency.errors import KeyInUse
from web.problems import handler
from web.server.senders import key_of

log = structlog.get_logger("request")

LANGUAGE = re.compile(rb"\r\naccept-language:[ \t]*([^\r]*)", re.IGNORECASE)
REQUEST_ID = re.compile(
    rb"\r\nx-request-id:[ \t]*([A-Za-z0-9._:/+=@-]{1,128})[ \t]*\r", re.IGNORECASE
)
CLOSE = re.compile(rb"\r\nconnection:[^\r]*close|\A[^\r]* HTTP/1\.0\r", re.IGNORECASE)


def wants_close(head: bytes) -> bool:
    """Return True if the client ends its connection after the response."""
    return CLOSE.search(head) is not None


def key_in_use(head: bytes, *, closes: bool) -> bytes:
    """Return the problem that the application would respond with; it is counted and logged."""
    sent = REQUEST_ID.search(head)
    request_id = sent[1].decode() if sent else uuid.uuid4().hex
    _record(head, request_id)
    fields = {
        "Connection": "close" if closes else "keep-alive",
        "Date": formatdate(usegmt=True),
        "X-Request-Id": request_id,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    accepted = LANGUAGE.search(head)
    common, body = _response(_language(accepted[1].decode("latin-1") if accepted else ""))
    return common + lines.encode() + b"\r\n" + body


def _record(head: bytes, request_id: str) -> None:
    """Count and log a refusal as if the application had made it; the path without its query."""
    digest = key_digest((key_of(head) or b"").decode("latin-1"))
    facts = {"key_digest": digest, "request_id": request_id}
    signals.refused.send_robust(KeyInUse, scope="", subject="", slug=KeyInUse.slug, **facts)
    method, target = head.split(b" ", 2)[:2]
    path = target.partition(b"?")[0].decode("latin-1")
    fields = {"method": method.decode(), "path": path, "status": KeyInUse.status, "user": None}
    log.info("responded", **facts, **fields, replayed=False, shed=True, ms=0.0)


@cache
def _response(language: str) -> tuple[bytes, bytes]:
    """Return the head without its last lines, and the body, in one of the languages."""
    with translation.override(language):
        problem = handler(KeyInUse(), {})
        body = JSONRenderer().render(problem.data)
    fields = {
        **problem.headers,
        "Content-Type": problem.content_type,
        "Content-Length": len(body),
        "Content-Language": language,
        "Cache-Control": "private, no-store",
        "Vary": "Accept, Accept-Language, Authorization, Cookie",
        "X-Content-Type-Options": "nosniff",
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 409 Conflict\r\n{lines}".encode(), body


def _language(accepted: str) -> str:
    """Return the language that Django would choose by this header."""
    for code, _ in parse_accept_lang_header(accepted.lower()):
        with suppress(LookupError):
            return get_supported_language_variant(code)
    return "en"
