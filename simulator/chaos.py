"""A proxy that breaks HTTP on purpose, between a client and a server, and counts what it broke.

Each request has a connection of its own to the server, so that nothing is lost but what was meant
to be. Where several losses come up for a request, the first of those below is what happens. SIGUSR1
turns the faults off and on; SIGINT or SIGTERM ends the proxy, which then prints its counts; until
then GET /chaos tells them.
"""

import argparse
import asyncio
import json
import random
import re
import signal
import socket
import struct
import sys
import threading
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Mapping
from itertools import cycle
from typing import Literal, NamedTuple, Self

from web.arguments import number_up_to

Fault = Literal["drop-request", "cut-answer", "cut-halfway", "hang", "repeat", "delay"]
LOSSES: dict[Fault, str] = {
    "drop-request": "the server never sees the request; the client's connection is reset",
    "cut-answer": "the server has answered; the client gets a reset and no byte",
    "cut-halfway": "the server has answered; the client gets half of the bytes and a reset",
    "hang": "the server has answered; the client gets nothing until it gives up",
    "repeat": "the server gets the request twice at once; the client gets the first answer",
}
TIMES_ASKED: dict[Fault | None, int] = {"drop-request": 0, "repeat": 2}
PART_GIVEN: dict[Fault | None, float] = {"drop-request": 0, "cut-answer": 0, "cut-halfway": 0.5}
LOST_ANSWERS: tuple[Fault, ...] = ("cut-answer", "cut-halfway", "hang")
OWN_COUNTS = b"GET /chaos "  # answered by the proxy itself, and not counted
BROKEN = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)  # a peer left or is no HTTP
END = b"\r\n\r\n"


class Answer(NamedTuple):
    """The bytes of a whole answer, none where the server failed, and whether they end a stream."""

    content: bytes = b""
    last: bool = True


class ChaosProxy:
    """Forward HTTP/1.1 from `url` to a target, with faults, in a thread; a context manager.

    `chance` is a fault's probability per request, decided by the seed and the request's number; a
    delay lasts `delay_ms`. `happened` counts faults, and the server's own failures as no-answer;
    `reached` counts the POSTs that were delivered to the server, repeats too. `GET /chaos` tells
    the counts.
    """

    def __init__(self, target: tuple[str, int], *, port: int = 0, seed: int = 0) -> None:
        self.target = target
        self.chance: Mapping[Fault, float] = {}
        self.delay_ms = 0
        self.requests = self.reached = 0
        self.happened: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 - faults, no secret
        self._rules: list[tuple[Fault, bytes]] = []
        self._calm = False
        self._tasks: set[asyncio.Task[None] | None] = set()
        self._started, self._over = threading.Event(), asyncio.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def arm(self, fault: Fault, pattern: bytes = b"", times: int = 1) -> None:
        """Have the next `times` requests whose bytes contain a pattern meet a fault; adds up."""
        self._rules.extend([(fault, pattern)] * times)

    def calm(self) -> None:
        """Turn the faults off from the next request on; what is armed stays armed."""
        self._calm = True

    def resume(self) -> None:
        """Turn the faults on again."""
        self._calm = False

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._connection, sock=self._listener)
        self._started.set()
        await self._over.wait()
        server.close()  # not waited for: clients may keep idle connections for ever

    async def _connection(self, reader: StreamReader, writer: StreamWriter) -> None:
        # Drained is then sent; but a reset takes back what a client has no room for, above 100 kB.
        writer.transport.set_write_buffer_limits(0)
        me = asyncio.current_task()
        self._tasks.add(
            me
        )  # else nothing keeps it while it waits: the loop's own reference is weak
        try:
            while await self._exchange(reader, writer):
                pass
        except (*BROKEN, asyncio.CancelledError):
            pass  # the client has left, or the proxy ends
        finally:
            writer.close()
            self._tasks.discard(me)

    async def _exchange(self, reader: StreamReader, writer: StreamWriter) -> bool:
        """Take one request there and its answer back; return whether another may follow."""
        request = await _read_request(reader)
        if not request.startswith(OWN_COUNTS):
            return await self._forward(request, reader, writer)
        writer.write(self._counts())
        await writer.drain()
        return True

    async def _forward(self, request: bytes, reader: StreamReader, writer: StreamWriter) -> bool:
        self.requests += 1
        loss = await self._wait(self._decide(request))
        answer = await self._ask(request, loss)
        if loss == "hang" and answer.content:
            await reader.read()  # until the client gives up
            return False
        writer.write(answer.content[: int(len(answer.content) * PART_GIVEN.get(loss, 1))])
        await writer.drain()
        if loss in PART_GIVEN or not answer.content:
            _reset(writer)
            return False
        return not answer.last

    def _counts(self) -> bytes:
        """Return the answer to a question about the proxy itself."""
        counts = {"requests": self.requests, "reached": self.reached, "happened": self.happened}
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"
        body = json.dumps(counts)
        return (head.format(len(body)) + body).encode()

    def _decide(self, request: bytes) -> set[Fault]:
        """Return what shall befall a request: a rule's fault, or else chance's."""
        draws: dict[Fault, float] = {
            fault: self._random.random() for fault in (*LOSSES, "delay")
        }  # for every request, so that its luck depends on its number alone
        if self._calm:
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

    async def _ask(self, request: bytes, loss: Fault | None) -> Answer:
        """Have the server do a request as often as a loss wants, count, and return an answer."""
        asked = [self._ask_once(request) for _ in range(TIMES_ASKED.get(loss, 1))]
        answers = [await first for first in asyncio.as_completed(asked)]
        if failures := sum(not answer.content for answer in answers):
            self.happened["no-answer"] += failures
        elif loss:
            self.happened[loss] += 1
        return next((answer for answer in answers if answer.content), Answer())

    async def _ask_once(self, request: bytes) -> Answer:
        try:
            reader, writer = await asyncio.open_connection(*self.target)
            try:
                writer.write(request)
                self.reached += request.startswith(b"POST ")
                return await _read_answer(reader, request)
            finally:
                writer.close()
        except BROKEN:
            return Answer()


async def _read_request(reader: StreamReader) -> bytes:
    head = await reader.readuntil(END)
    return head + (await _read_body(reader, head) or b"")


async def _read_answer(reader: StreamReader, request: bytes) -> Answer:
    head = await reader.readuntil(END)
    while head[9:10] == b"1":  # 100 Continue: but the whole request has been sent already
        head = await reader.readuntil(END)
    if request.startswith(b"HEAD ") or head[9:12] in {b"204", b"304"}:
        return Answer(head, last=False)
    body = await _read_body(reader, head)
    if body is None:
        return Answer(head + await reader.read())
    return Answer(head + body, last=_field(head, b"Connection") == b"close")


async def _read_body(reader: StreamReader, head: bytes) -> bytes | None:
    """Return the body whose length a head tells; None if it tells none."""
    if not _field(head, b"Transfer-Encoding"):
        length = _field(head, b"Content-Length")
        return await reader.readexactly(int(length)) if length else None
    body, size = b"", 1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        body += line + await reader.readexactly(size + 2)
    return body


def _field(head: bytes, name: bytes) -> bytes:
    found = re.search(rb"\r\n%s:[ \t]*([^\r]*?)[ \t]*\r\n" % name, head, re.IGNORECASE)
    return found[1].lower() if found else b""


def _reset(writer: StreamWriter) -> None:
    """End a connection with RST, which nobody takes for the end of an answer."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def main() -> int:
    """Run the proxy until SIGINT or SIGTERM, print the counts and return the exit code."""
    chosen = _arguments()
    signals = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # in the proxy's thread too: sigwait has them
    try:
        proxy = ChaosProxy(chosen.target, port=chosen.port, seed=chosen.seed)
    except OSError as error:
        sys.exit(f"can't listen: {error.strerror}")
    proxy.chance = {fault: vars(chosen)[fault] for fault in LOSSES} | {"delay": chosen.delay_ms > 0}
    proxy.delay_ms = chosen.delay_ms
    with proxy:
        _say(f"Forwarding {proxy.url} to {chosen.target[0]}:{chosen.target[1]} until Ctrl-C.")
        _obey(signals, proxy)
    for name, count in [("requests", proxy.requests), *sorted(proxy.happened.items())]:
        _say(f"{name} {count}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator.chaos", description=__doc__)
    add, port = parser.add_argument, number_up_to(65_535)
    add("--port", type=port, required=True, metavar="N", help="where to listen, on 127.0.0.1")
    add("--target", type=_address, required=True, metavar="HOST:PORT", help="the server")
    add("--seed", type=int, default=0, metavar="N", help="the same one, the same faults (0)")
    for fault, what in LOSSES.items():
        said = f"how probable it is, 0 to 1 a request, that {what}"
        add(f"--{fault}", type=_probability, dest=fault, default=0.0, metavar="P", help=said)
    said = "how many milliseconds every request waits before it is forwarded"
    add("--delay-ms", type=number_up_to(600_000), default=0, metavar="N", help=said)
    return parser.parse_args()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host or "127.0.0.1", number_up_to(65_535)(port)


def _probability(text: str) -> float:
    if not re.fullmatch(r"0|1|[01]?\.\d+", text) or float(text) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a probability from 0 to 1")
    return float(text)


def _obey(signals: set[signal.Signals], proxy: ChaosProxy) -> None:
    for switch, said in cycle([(proxy.calm, "Faults off."), (proxy.resume, "Faults on.")]):
        if signal.sigwait(signals) != signal.SIGUSR1:
            return
        switch()
        _say(said)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
