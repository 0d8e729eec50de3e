"""Nothing is read any longer for a client that has closed its connection."""

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from django.db import connection
from django.http import HttpRequest

AGAIN_MILLISECONDS = 500  # a cancellation between two statements ends neither
_CLOSED = getattr(select, "POLLRDHUP", select.POLLHUP)


@contextmanager
def cancelled_when_given_up(request: HttpRequest) -> Iterator[threading.Event]:
    """Cancel the statements of a block, in the database too, once its client is gone.

    Yields an event that is set then. Without gunicorn nothing is watched.
    """
    gone = threading.Event()
    client = request.META.get("gunicorn.socket")
    if client is None:
        yield gone
        return
    connection.ensure_connection()
    ours, its = socket.socketpair()
    watching = (client.fileno(), its, connection.connection, gone)
    watcher = threading.Thread(target=_watch, args=watching, daemon=True)
    watcher.start()
    try:
        yield gone
    finally:
        ours.close()
        watcher.join()
        its.close()
        if gone.is_set():  # a cancellation may be on its way yet: to no other request's statement
            connection.close()


def _watch(client: int, end: socket.socket, session: Any, gone: threading.Event) -> None:
    """Wait for the client to close its connection, then cancel until the block has ended."""
    waits = select.poll()
    waits.register(client, _CLOSED)
    waits.register(end, select.POLLIN)
    milliseconds = None
    while end.fileno() not in (closed := dict(waits.poll(milliseconds))):
        if client in closed:
            gone.set()
            waits.unregister(client)
            milliseconds = AGAIN_MILLISECONDS
        with suppress(psycopg.Error):  # it has ended by itself
            session.cancel_safe(timeout=1)
