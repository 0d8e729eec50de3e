"""HTTP/1.1 as bytes: whole requests and responses, read off a stream."""

import asyncio
import re
from asyncio import StreamReader
from typing import NamedTuple

END_OF_HEAD = b"\r\n\r\n"
# The peer closed the connection, or does not speak HTTP.
BROKEN = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


class RawResponse(NamedTuple):
    """The bytes of a whole response, or none; and whether it ends the connection."""

    content: bytes = b""
    is_last: bool = True


async def read_request(reader: StreamReader) -> bytes:
    """Return the bytes of the next request."""
    head = await reader.readuntil(END_OF_HEAD)
    return head + (await _read_body(reader, head) or b"")


async def read_response(reader: StreamReader, request: bytes) -> RawResponse:
    """Return the response to a request."""
    head = await reader.readuntil(END_OF_HEAD)
    while head[9:10] == b"1":  # 100 Continue: but the whole request has been sent already
        head = await reader.readuntil(END_OF_HEAD)
    if request.startswith(b"HEAD ") or head[9:12] in {b"204", b"304"}:
        return RawResponse(head, is_last=False)
    body = await _read_body(reader, head)
    if body is None:
        return RawResponse(head + await reader.read())
    return RawResponse(head + body, is_last=_header(head, b"Connection") == b"close")


async def _read_body(reader: StreamReader, head: bytes) -> bytes | None:
    """Return the body whose length a head names; None if it names none."""
    if not _header(head, b"Transfer-Encoding"):
        length = _header(head, b"Content-Length")
        return await reader.readexactly(int(length)) if length else None
    body, size = b"", 1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        body += line + await reader.readexactly(size + 2)
    return body


def _header(head: bytes, name: bytes) -> bytes:
    match = re.search(rb"\r\n%s:[ \t]*([^\r]*?)[ \t]*\r\n" % name, head, re.IGNORECASE)
    return match[1].lower() if match else b""
