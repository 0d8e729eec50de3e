"""The proxy itself: it forwards requests, breaks what its rules and its seed decide, and counts."""

import asyncio
import json
import random
import socket
import struct
import threading
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from simulator.chaos.faults import LOSSES, SHARE_RETURNED, TIMES_SENT, Fault
from simulator.chaos.messages import (
    BROKEN,
    END_OF_HEAD,
    RawResponse,
    read_request,
    read_response,
)

OWN = (b"GET /chaos ", b"PUT /chaos ")  # the proxy responds itself, and does not count these


class ChaosProxy:
    """Forward HTTP/1.1 from `url` to a target, with faults, in a thread; a context manager.

    `chance` is a fault's probability per request, decided by the seed and the request's number; a
    delay lasts `delay_ms`. `happened` counts faults, and the server's own failures as no-response;
    `reached` counts the POSTs that were delivered to the server, duplicates too. `GET /chaos`
    returns the counts and whether the faults are on; `PUT /chaos` with {"faults": true} or false
    turns them on or off, and a repeated one changes nothing.
    """

    def __init__(
        self, target: tuple[str, int], *, host: str = "127.0.0.1", port: int = 0, seed: int = 0
    ) -> None:
        self.target = target
        self.chance: Mapping[Fault, float] = {}
        self.delay_ms = 0
        self.requests = self.reached = 0
        self.happened: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 - faults, no secret
        self._rules: list[tuple[Fault, bytes]] = []
        self.is_calm = False
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._started, self._ending = threading.Event(), asyncio.Event()
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://{host}:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    def arm(self, fault: Fault, pattern: bytes = b"", times: int = 1) -> None:
        """Give the next `times` requests whose bytes contain a pattern a fault; calls add up."""
        self._rules.extend([(fault, pattern)] * times)

    def calm(self) -> None:
        """Turn the faults off from the next request on; what is armed stays armed."""
        self.is_calm = True

    def resume(self) -> None:
        """Turn the faults on again."""
        self.is_calm = False

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connection, sock=self._listener)
        self._started.set()
        await self._ending.wait()
        server.close()  # not waited for: clients may keep idle connections for ever

    async def _connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        # Drained is then sent; but a reset takes back what a client has no room for, above 100 kB.
        writer.transport.set_write_buffer_limits(0)
        task = asyncio.current_task()
        self._tasks.add(task)  # the loop's own reference is weak: a waiting task could be collected
        try:
            while await self._exchange(reader, writer):
                pass
        except (*BROKEN, asyncio.CancelledError):
            pass  # the client closed the connection, or the proxy ends
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _exchange(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """Forward one request and return its response; True if another request may follow."""
        request = await read_request(reader)
        if not request.startswith(OWN):
            return await self._forward(request, reader, writer)
        writer.write(self._own_response(request))
        await writer.drain()
        return True

    async def _forward(self, request: bytes, reader: StreamReader, writer: StreamWriter) -> bool:
        self.requests += 1
        loss = await self._wait(self._decide(request))
        response = await self._send(request, loss)
        if loss == "hang" and response.content:
            await reader.read()  # until the client gives up
            return False
        writer.write(response.content[: int(len(response.content) * SHARE_RETURNED.get(loss, 1))])
        await writer.drain()
        if loss in SHARE_RETURNED or not response.content:
            _reset(writer)
            return False
        return not response.is_last

    def _own_response(self, request: bytes) -> bytes:
        """Turn the faults on or off if a request says so, and return the proxy's own state."""
        status = "200 OK"
        if request.startswith(b"PUT "):
            faults = _faults_of(request.partition(END_OF_HEAD)[2])
            if faults is None:
                status = "400 Bad Request"
            else:
                self.is_calm = not faults
        counts = {"requests": self.requests, "reached": self.reached, "happened": self.happened}
        body = json.dumps({"faults": not self.is_calm, **counts})
        fields = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        return f"HTTP/1.1 {status}\r\n{fields}\r\n\r\n{body}".encode()

    def _decide(self, request: bytes) -> set[Fault]:
        """Return the faults of a request: a rule's one, or else those that chance decides."""
        draws: dict[Fault, float] = {
            fault: self._random.random() for fault in (*LOSSES, "delay")
        }  # for every request, so that its faults depend on its number alone
        if self.is_calm:
            return set()
        for fault, pattern in self._rules:
            if pattern in request:
                self._rules.remove((fault, pattern))
                return {fault}
        return {fault for fault, draw in draws.items() if draw < self.chance.get(fault, 0)}

    async def _wait(self, faults: set[Fault]) -> Fault | None:
        """Delay if a request's faults say so, and return the loss among them."""
        if "delay" in faults:
            await asyncio.sleep(self.delay_ms / 1000)
            self.happened["delay"] += 1
        return next((loss for loss in LOSSES if loss in faults), None)

    async def _send(self, request: bytes, loss: Fault | None) -> RawResponse:
        """Send a request as often as a loss demands, count, and return the first response."""
        sent = [self._send_once(request) for _ in range(TIMES_SENT.get(loss, 1))]
        responses = [await first for first in asyncio.as_completed(sent)]
        if failures := sum(not response.content for response in responses):
            self.happened["no-response"] += failures
        elif loss:
            self.happened[loss] += 1
        return next((response for response in responses if response.content), RawResponse())

    async def _send_once(self, request: bytes) -> RawResponse:
        try:
            reader, writer = await asyncio.open_connection(*self.target)
            try:
                writer.write(request)
                self.reached += request.startswith(b"POST ")
                return await read_response(reader, request)
            finally:
                writer.close()
        except BROKEN:
            return RawResponse()


def _faults_of(body: bytes) -> bool | None:
    """Return what {"faults": true} or false asks for, or None: it is something else."""
    with suppress(ValueError):
        match json.loads(body):
            case {"faults": bool(faults)}:
                return faults
    return None


def _reset(writer: StreamWriter) -> None:
    """End a connection with RST, which no client mistakes for the end of a response."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()
