"""A payment service that only waits: every payment succeeds after a round trip's latency."""

import asyncio
import json
from typing import Any
from uuid import uuid4

LATENCY_SECONDS = 0.05  # one way

Payments = dict[str, dict[str, Any]]


def serve(ports: Any) -> None:
    """Serve for ever; put the port into the queue first."""
    asyncio.run(_serve(ports))


async def _serve(ports: Any) -> None:
    payments: Payments = {}

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                status, body = await _respond(reader, payments)
                head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (OSError, EOFError):
            writer.close()  # the client closed the connection

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    ports.put(server.sockets[0].getsockname()[1])
    await server.serve_forever()


async def _respond(reader: asyncio.StreamReader, payments: Payments) -> tuple[str, bytes]:
    """Read `POST payments/` or `GET payments/{order_id}/` and return the response to it."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, path, _ = head.decode().split(" ", 2)
    length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
    body = await reader.readexactly(int(length or 0))
    await asyncio.sleep(2 * LATENCY_SECONDS)
    if method == "GET":
        payment = payments.get(path.rstrip("/").rpartition("/")[2])
        return ("200 OK", json.dumps(payment).encode()) if payment else ("404 Not Found", b"{}")
    terms = json.loads(body)
    made = {"id": str(uuid4()), "outcome": "succeeded", "created_at": "2026-01-01T00:00:00Z"}
    payment = payments.setdefault(terms["order_id"], terms | made)
    return "201 Created", json.dumps(payment).encode()
