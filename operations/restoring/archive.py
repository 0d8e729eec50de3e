"""The log archive: which requests were executed first, by the log lines of all web servers.

The line of a first execution names its record (a digest of scope and key), its subject and the
status of the stored response: enough to find that the record is gone, and nothing to send again.
"""

import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import UUID

from idempotency.migrating import IDENTITY_BYTES
from operations.records import order_named

MARK = "stored_status"
CLOCKS_APART = timedelta(minutes=10)  # the web servers' from the database's, at most


class ArchiveUnreadable(Exception):
    """A file of the archive can't be read."""


class Execution(NamedTuple):
    """A first execution that was logged, and so acknowledged or about to be."""

    record: bytes
    order_id: UUID | None
    status: int
    at: datetime
    user: Any
    path: str


@dataclass
class Archive:
    """The first executions since a time, and how many lines about one were damaged."""

    executions: list[Execution] = field(default_factory=list)
    damaged: int = 0

    def acknowledged(self) -> dict[UUID, Execution]:
        """Return each order's execution that promised most: paid or failed, paying, placed."""
        promised: dict[UUID, Execution] = {}
        for execution in self.executions:
            order_id = execution.order_id
            if order_id and _rank(execution) >= _rank(promised.get(order_id)):
                promised[order_id] = execution
        return promised


def read_archive(names: Iterable[str], *, since: datetime) -> Archive:
    """Read log files, `.gz` too, and `-` for stdin; reads only, a repeated call reads anew.

    :raises ArchiveUnreadable: a file is missing or broken
    """
    archive = Archive()
    for name in names:
        try:
            with _opened(name) as lines:
                for document in _documents(lines, archive):
                    _add(document, archive, since - CLOCKS_APART)
        except (OSError, EOFError, zlib.error) as error:
            raise ArchiveUnreadable(f"Can't read the log {name}: {error}") from error
    return archive


def _rank(execution: Execution | None) -> int:
    return -1 if execution is None else {202: 1, 200: 2, 402: 2}.get(execution.status, 0)


def _opened(name: str) -> Any:
    if name == "-":
        return nullcontext(sys.stdin)
    if name.endswith(".gz"):
        return gzip.open(name, "rt", encoding="utf-8", errors="replace")
    return Path(name).open(encoding="utf-8", errors="replace")


def _documents(lines: IO[str], archive: Archive) -> Iterator[dict[str, Any]]:
    """Yield what was logged about first executions, also where a collector wrapped the line."""
    for line in lines:
        if MARK not in line:
            continue
        try:
            document = json.loads(line[line.find("{") :])
            if MARK not in document:
                wrapped = [text for text in document.values() if _is_wrapped(text)]
                document = json.loads(wrapped[0]) if wrapped else {}
        except (ValueError, TypeError, AttributeError):
            archive.damaged += 1
        else:
            if MARK in document:
                yield document


def _is_wrapped(text: object) -> bool:
    return isinstance(text, str) and text.startswith("{") and MARK in text


def _add(document: dict[str, Any], archive: Archive, since: datetime) -> None:
    try:
        execution = _parsed(document)
        if execution.at >= since:
            archive.executions.append(execution)
    except (ValueError, KeyError, TypeError, AttributeError):
        archive.damaged += 1


def _parsed(document: dict[str, Any]) -> Execution:
    record = bytes.fromhex(document["record"])
    if len(record) != IDENTITY_BYTES:
        raise ValueError("no digest")
    return Execution(
        record=record,
        order_id=order_named(document["subject"]),
        status=int(document[MARK]),
        at=datetime.fromisoformat(document["timestamp"]),
        user=document.get("user"),
        path=str(document.get("path", "")),
    )
