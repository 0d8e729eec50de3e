"""The relay: takes what is due from the outbox, asks the payment system, settles the order.

Any number of relays, on any number of hosts; one that is killed is taken over from at once. What
it asks for is safe to ask again, and what it settles is settled once.
"""

import random
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from queue import SimpleQueue
from threading import BoundedSemaphore, Thread
from typing import Any

import structlog
from django.db import Error, connection, transaction
from django.urls import reverse

from idempotency import faults, records
from idempotency.boundary import rendered
from orders import outbox, services
from orders.outbox import Taken
from orders.views import pay_answer
from payments import remote
from payments.client import Payment

log = structlog.get_logger("relay")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0  # seconds, between attempts at one request
IDLE_SECONDS = 0.05  # between looks at an empty outbox
GATHER_SECONDS = 0.02  # between looks at a full one: several slots are filled by one statement
SETTLERS = 4  # threads, with a database connection each; the askers have none


Asked = tuple[Taken, int, "Future[remote.Outcome]"]


class Relay:
    """Works on up to so many requests at once until it is told to stop."""

    def __init__(self, *, concurrency: int) -> None:
        self.concurrency = concurrency
        self._askers = ThreadPoolExecutor(concurrency, thread_name_prefix="ask")
        self._asked: SimpleQueue[Asked | None] = SimpleQueue()
        self._settlers = [Thread(target=self._settle_all, name="settle") for _ in range(SETTLERS)]
        self._free = BoundedSemaphore(concurrency)
        self._stopping = False

    def stop(self) -> None:
        """Have `run` take nothing more, end what is under way, and return.

        For signal handlers: it takes no lock, which the interrupted thread might hold just then.
        """
        self._stopping = True

    def run(self) -> None:
        """Work until stopped, once; a database that is away is waited for."""
        for settler in self._settlers:
            settler.start()
        while not self._stopping:
            try:
                self._work(outbox.enter())
            except Error as error:
                log.warning("the database is away", error=str(error).strip())
                connection.close()
                time.sleep(1)
        self._askers.shutdown()
        for _ in self._settlers:
            self._asked.put(None)
        for settler in self._settlers:
            settler.join()
        connection.close()  # and with it, the relay's hold on what it took

    def _work(self, relay: int) -> None:
        """Take and ask, under one number, for as long as the session that holds it lives."""
        log.info("relay at work", relay=relay)
        while not self._stopping:
            taken = self._take(relay)
            for request in taken:
                faults.point("request-taken")
                asking = self._askers.submit(_ask, request)
                asking.add_done_callback(partial(self._hand_over, request, relay))
            time.sleep(GATHER_SECONDS if taken else IDLE_SECONDS)

    def _take(self, relay: int) -> list[Taken]:
        """Take as much as there are free slots for; what is not used of them stays free."""
        slots, taken = self._free_slots(), []
        try:
            taken = outbox.take(relay=relay, limit=slots)
        finally:
            for _ in range(slots - len(taken)):
                self._free.release()
        return taken

    def _free_slots(self) -> int:
        """Wait for a slot; take it, and all others that are free."""
        self._free.acquire()
        slots = 1
        while slots < self.concurrency and self._free.acquire(blocking=False):
            slots += 1
        return slots

    def _hand_over(self, taken: Taken, relay: int, asking: "Future[remote.Outcome]") -> None:
        self._asked.put((taken, relay, asking))

    def _settle_all(self) -> None:
        while asked := self._asked.get():
            self._finish(*asked)
        connection.close()

    def _finish(self, taken: Taken, relay: int, asking: "Future[remote.Outcome]") -> None:
        try:
            _conclude(taken, relay, asking.result())
        except Exception:
            log.exception("not concluded", order_id=str(taken.order_id))
            self._put_back_surely(taken, relay)
        finally:
            self._free.release()

    def _put_back_surely(self, taken: Taken, relay: int) -> None:
        """Put a request back, or nobody would work on it for as long as this relay lives."""
        while not self._stopping:
            connection.close()
            try:
                _put_back(taken, relay, "a bug, or the database; see the relay's log")
            except Error:
                time.sleep(1)
            else:
                return


def _ask(taken: Taken) -> remote.Outcome:
    """Ask for a payment; after an unknown outcome look first whether it was made."""
    faults.point("before-asking")
    with _named(taken):
        if taken.attempts > 1:
            found = remote.inquire(taken.body, request_id=taken.request_id)
            if found is not None:
                return found
        outcome = remote.ask(taken.body, request_id=taken.request_id)
    faults.point("answer-heard")
    return outcome


def _named(taken: Taken) -> AbstractContextManager[Any]:
    """Have every line that is logged meanwhile carry the names of the customer's request."""
    return structlog.contextvars.bound_contextvars(
        request_id=taken.request_id,
        key_digest=taken.key_digest,
        order_id=str(taken.order_id),
        attempt=taken.attempts,
    )


def _conclude(taken: Taken, relay: int, outcome: remote.Outcome) -> None:
    with _named(taken):
        match outcome:
            case remote.Decided(payment=payment):
                settled = settle(taken, payment)
                log.info("settled" if settled else "was settled before", payment=str(payment.id))
            case remote.Refused(trouble=trouble):
                outbox.park(taken, relay=relay, trouble=trouble)
                log.error("refused and parked", trouble=trouble)
            case remote.Unknown(trouble=trouble):
                _put_back(taken, relay, trouble)
                log.warning("unknown outcome", trouble=trouble)


def _put_back(taken: Taken, relay: int, trouble: str) -> None:
    longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(taken.attempts - 1, 16))
    pause = random.uniform(longest / 2, longest)  # noqa: S311 - jitter, no secret
    outbox.try_later(taken, relay=relay, trouble=trouble, seconds=pause)


@transaction.atomic(durable=True)
def settle(taken: Taken, payment: Payment) -> bool:
    """Settle the order, keep the answer, and finish every "accepted" that was given: one commit.

    A repeated call changes nothing and returns False.
    """
    order = services.settle_order(order_id=taken.order_id, payment=payment)
    if order is None:
        return False
    final = pay_answer(services.Attempt(order, first=True), payment)
    records.settle(reverse("pay-order", args=[order.pk]), rendered(final))
    faults.point("answers-replaced")
    return True
