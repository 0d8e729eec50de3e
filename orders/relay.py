"""The relay: claims what is due in the outbox, requests the payments, settles the orders.

Any number of relays, on any number of hosts; the rows of one that is killed are free at once. What
it requests is safe to retry, and what it settles is settled once.
"""

import random
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from queue import Empty, SimpleQueue
from select import select
from threading import BoundedSemaphore, Event, Thread
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from django.db import Error, connection

from idempotency.failpoints import failpoint
from orders import once, outbox
from orders.outbox import Call, ClaimedRequest, Result
from payments import remote
from payments.client import Payment

log = structlog.get_logger("relay")

PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.2, 5.0  # between attempts at one request
IDLE_SECONDS = 0.5  # between polls of an empty outbox, where no notification comes first
GATHER_SECONDS = 0.02  # between polls of a full one: one statement fills several slots
SETTLERS = 2  # threads, with a database connection each; the senders have none
BATCH_MAX = 50  # responses that one commit settles, as they have come meanwhile
NOT_CONCLUDED = Call("settle", "unknown", "a bug, or the database; see the relay's log")


Response = tuple[str, remote.Outcome]  # of which call


class Sent(NamedTuple):
    """A request that was sent, by which relay, and what it comes to."""

    request: ClaimedRequest
    relay: int
    sending: "Future[Response]"


class Relay:
    """Works on up to so many requests at once until it is stopped."""

    def __init__(self, *, concurrency: int) -> None:
        self.concurrency = concurrency
        self._senders = ThreadPoolExecutor(concurrency, thread_name_prefix="send")
        self._sent: SimpleQueue[Sent | None] = SimpleQueue()
        self._settlers = [Thread(target=self._settle_all, name="settle") for _ in range(SETTLERS)]
        self._free = BoundedSemaphore(concurrency)
        self._stopping = False

    def stop(self) -> None:
        """Have `run` claim nothing more, finish what is under way, and return.

        For signal handlers: it acquires no lock, which the interrupted thread might hold just then.
        """
        self._stopping = True

    def run(self) -> None:
        """Work until stopped, once; wait for a database that is away."""
        for settler in self._settlers:
            settler.start()
        while not self._stopping:
            try:
                self._work(outbox.register())
            except Error as error:
                log.warning("database unavailable", error=str(error).strip())
                connection.close()
                time.sleep(1)
        self._senders.shutdown()
        for _ in self._settlers:
            self._sent.put(None)
        for settler in self._settlers:
            settler.join()
        connection.close()  # and with it, the relay's hold on what it claimed

    def _work(self, relay: int) -> None:
        """Claim and send, under one number, for as long as the session that holds it lives."""
        log.info("relay at work", relay=relay)
        session, notified = connection.connection, Event()
        session.add_notify_handler(lambda _: notified.set())
        while not self._stopping:
            notified.clear()
            batch = self._claim(relay)
            for request in batch:
                failpoint("request-claimed")
                sending = self._senders.submit(_send, request)
                sending.add_done_callback(partial(self._hand_over, request, relay))
            if batch:
                time.sleep(GATHER_SECONDS)
            elif not notified.is_set():  # while the claim was under way
                select([session], [], [], IDLE_SECONDS)

    def _claim(self, relay: int) -> list[ClaimedRequest]:
        """Claim as much as there are free slots for; release the slots that are left over."""
        slots, batch = self._free_slots(), []
        try:
            batch = outbox.claim(relay=relay, limit=slots)
        finally:
            for _ in range(slots - len(batch)):
                self._free.release()
        return batch

    def _free_slots(self) -> int:
        """Wait for a slot; acquire it, and all others that are free."""
        self._free.acquire()
        slots = 1
        while slots < self.concurrency and self._free.acquire(blocking=False):
            slots += 1
        return slots

    def _hand_over(self, request: ClaimedRequest, relay: int, sending: "Future[Response]") -> None:
        self._sent.put(Sent(request, relay, sending))

    def _settle_all(self) -> None:
        while batch := self._next_batch():
            settled = _settle_together(batch) if len(batch) > 1 else set()
            for sent in batch:
                self._finish(sent, is_settled=sent.request.order_id in settled)
        connection.close()

    def _next_batch(self) -> list[Sent]:
        """Wait for a response, and return it with the others that are there; empty: it is over."""
        batch: list[Sent] = []
        while len(batch) < BATCH_MAX:
            try:
                sent = self._sent.get(block=not batch)
            except Empty:
                break
            if sent is None:
                if batch:
                    self._sent.put(None)  # for the next turn
                break
            batch.append(sent)
        return batch

    def _finish(self, sent: Sent, *, is_settled: bool) -> None:
        request, relay = sent.request, sent.relay
        try:
            if not is_settled:
                _conclude(request, relay, *sent.sending.result())
        except Exception:
            log.exception("not concluded", order_id=str(request.order_id))
            self._reschedule_surely(request, relay)
        finally:
            self._free.release()

    def _reschedule_surely(self, request: ClaimedRequest, relay: int) -> None:
        """Release a request, or nobody would work on it for as long as this relay lives."""
        while not self._stopping:
            connection.close()
            try:
                _reschedule(request, relay, NOT_CONCLUDED)
            except Error:
                time.sleep(1)
            else:
                return


def _send(request: ClaimedRequest) -> Response:
    """Request a payment; after an unknown outcome look up first whether it was made."""
    failpoint("before-sending")
    names = {"request_id": request.request_id, "key_digest": request.key_digest}
    with _logged_as(request):
        if request.is_given_up:
            response = "decline", remote.decline(request.body, **names)
        elif request.attempts > 1 and (found := remote.inquire(request.body, **names)):
            return "inquire", found
        else:
            response = "charge", remote.charge(request.body, **names)
    failpoint("response-received")
    return response


def _logged_as(request: ClaimedRequest) -> AbstractContextManager[Any]:
    """Have every line that is logged meanwhile name the customer's request."""
    return structlog.contextvars.bound_contextvars(
        request_id=request.request_id,
        key_digest=request.key_digest,
        order_id=str(request.order_id),
        attempt=request.attempts,
    )


def _settle_together(batch: Sequence[Sent]) -> set[UUID]:
    """Settle in one commit what has a result; return the orders. If it fails, nothing is settled.

    Whatever is not returned is concluded by itself, which tells why.
    """
    results = {
        each.request.order_id: _result(each.request, name, outcome.payment)
        for each in batch
        if each.sending.exception() is None
        for name, outcome in [each.sending.result()]
        if isinstance(outcome, remote.Decided)
    }
    try:
        settled = once.settle_once(results.values())
    except Exception as error:
        log.warning("not settled together", orders=len(results), error=str(error).strip())
        connection.close_if_unusable_or_obsolete()
        return set()
    for each in batch:
        if each.request.order_id in settled:
            with _logged_as(each.request):
                log.info("settled", payment=str(results[each.request.order_id].payment.id))
    return settled


def _result(request: ClaimedRequest, name: str, payment: Payment) -> Result:
    return Result(request.order_id, payment, Call(name, payment.outcome))


def _conclude(request: ClaimedRequest, relay: int, name: str, outcome: remote.Outcome) -> None:
    with _logged_as(request):
        match outcome:
            case remote.Decided(payment):
                settled = once.settle_once([_result(request, name, payment)])
                log.info("settled" if settled else "was settled before", payment=str(payment.id))
            case remote.Refused(error):
                outbox.dead_letter(request, Call(name, "refused", error), relay=relay)
                log.error("refused and dead-lettered", error=error)
            case remote.Unknown(error):
                _reschedule(request, relay, Call(name, "unknown", error))
                log.warning("unknown outcome", error=error)


def _reschedule(request: ClaimedRequest, relay: int, call: Call) -> None:
    """Have a request retried after a pause that doubles, with jitter, up to the longest."""
    longest = min(PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN * 2.0 ** min(request.attempts - 1, 16))
    pause = random.uniform(longest / 2, longest)  # noqa: S311 - jitter, no secret
    outbox.reschedule(request, call, relay=relay, seconds=pause)
