"""The checks, one function each: make the fault happen, assert that it did, return the verdict.

A first request goes to one gunicorn and its retries go to the other, as behind a load balancer.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count
from uuid import uuid4

from benchmarks.packages import verdicts
from benchmarks.packages.catalogue import CHECKS, LEASE_SECONDS
from benchmarks.packages.deployment import BOB, Deployment
from benchmarks.packages.servers import is_running, until
from benchmarks.packages.verdicts import Reply

AT_ONCE = 20
PATIENCE_SECONDS = 2 * LEASE_SECONDS  # a client sends again so long after a response that says wait
_amounts = count(100)


def run(deployment: Deployment) -> dict[str, str]:
    """Return the verdict of every check, by its name."""
    first = deployment.send(*_new())
    if first.status != 201:
        return dict.fromkeys(CHECKS, f"{first.status} to the first request")
    found = {}
    for check in CHECKS:
        deployment.forget_charges()
        found[check] = BY_NAME[check](deployment)
    return found


def _retry(deployment: Deployment) -> str:
    key, amount = _new()
    _sent(deployment, key, amount)
    return _judged(deployment, _resent(deployment, key, amount))


def _kill(deployment: Deployment) -> str:
    """Kill the worker at the end of its handler, and again at the commit of the charge."""
    return verdicts.worst([_killed(deployment, point) for point in ("charged", "committed")])


def _killed(deployment: Deployment, point: str) -> str:
    deployment.forget_charges()
    key, amount = _new()
    deployment.arm(point, "kill")
    lost = deployment.send(key, amount)
    (pid,) = deployment.hits(point)
    assert lost.status == 0, f"the worker was killed, and yet came {lost}"
    until(lambda: not is_running(pid), "the worker is dead")
    assert point == "charged" or len(deployment.charges()) == 1, "the commit was before the kill"
    return _judged(deployment, _resent_for_hours(deployment, key, amount))


def _error(deployment: Deployment) -> str:
    """Raise at the end of the handler, and again in a hook after the charge's commit."""
    return verdicts.worst([_failed(deployment, point) for point in ("charged", "committed")])


def _failed(deployment: Deployment, point: str) -> str:
    deployment.forget_charges()
    key, amount = _new()
    deployment.arm(point, "error")
    failed = deployment.send(key, amount)
    assert len(deployment.hits(point)) == 1
    assert failed.status == 500, failed
    assert point == "charged" or len(deployment.charges()) == 1, "the commit was before the error"
    return _judged(deployment, _resent_for_hours(deployment, key, amount))


def _slow(deployment: Deployment) -> str:
    """Hold the handler beyond its lease, and until a retry has come through or only waits."""
    key, amount = _new()
    deployment.arm("charged", "hold")
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(deployment.send, key, amount)
        until(lambda: deployment.hits("charged"), "the handler is running")
        time.sleep(LEASE_SECONDS + 0.5)  # nothing tells that a lease has run out
        meanwhile = pool.submit(_resent, deployment, key, amount)
        wait([meanwhile], timeout=PATIENCE_SECONDS + 1)
        assert not first.done(), "the handler was to be running still"
        deployment.release("charged")
        first.result()
        last = meanwhile.result()
    return _judged(deployment, _resent(deployment, key, amount) if last.is_busy else last)


def _at_once(deployment: Deployment) -> str:
    """Hold every handler at its start until all that can come so far have come; then let them go.

    Whose response says wait sends again meanwhile, as in every check.
    """
    key, amount = _new()
    deployment.arm("entered", "hold", times=AT_ONCE)
    start = threading.Barrier(AT_ONCE)

    def send(number: int) -> Reply:
        start.wait()
        return _resent(deployment, key, amount, to=number % 2)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent = [pool.submit(send, number) for number in range(AT_ONCE)]
        until(lambda: deployment.hits("entered"), "the first handler is running")
        _until_nobody_moves(lambda: len(deployment.hits("entered")) + sum(s.done() for s in sent))
        deployment.release("entered")
        assert any(each.result().status == 201 for each in sent)
    return _judged(deployment, _resent(deployment, key, amount))


def _other_body(deployment: Deployment) -> str:
    key, amount = _new()
    first = _sent(deployment, key, amount)
    second = deployment.send(key, amount + 1_000_000, to=1)
    return verdicts.of_other_body(deployment.charges(), first, second)


def _other_user(deployment: Deployment) -> str:
    key, amount = _new()
    first = _sent(deployment, key, amount)
    second = deployment.send(key, amount, to=1, token=BOB)
    return verdicts.of_other_user(deployment.charges(), first, second)


def _quoted(deployment: Deployment) -> str:
    key, amount = _new()
    _sent(deployment, key, amount)
    return _judged(deployment, deployment.send(f'"{key}"', amount, to=1))


def _lost(deployment: Deployment) -> str:
    key, amount = _new()
    _sent(deployment, key, amount)
    deployment.lose_records()
    return _judged(deployment, _resent(deployment, key, amount))


def _sent(deployment: Deployment, key: str, amount: int) -> Reply:
    """Send a first request, which has to be executed."""
    reply = deployment.send(key, amount)
    assert reply.status == 201, f"{reply}\n{deployment.log()}"
    return reply


def _judged(deployment: Deployment, last: Reply) -> str:
    return verdicts.of_retry(deployment.charges(), last)


def _new() -> tuple[str, int]:
    return str(uuid4()), next(_amounts)


def _resent(deployment: Deployment, key: str, amount: int, *, to: int = 1) -> Reply:
    """Send a request, as a client does, until it gets more than "later" or has no patience."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        is_last = time.monotonic() > deadline
        reply = deployment.send(key, amount, to=to)
        if is_last or not reply.is_busy:
            return reply
        time.sleep(0.1)


def _resent_for_hours(deployment: Deployment, key: str, amount: int) -> Reply:
    """Send a request again, and once more when a lease that no setting shortens has run out."""
    reply = _resent(deployment, key, amount)
    if reply.is_busy and deployment.contender.hours_pass:
        deployment.database.execute(deployment.contender.hours_pass.encode())
        reply = _resent(deployment, key, amount)
    return reply


def _until_nobody_moves(progress: Callable[[], int], *, still_seconds: float = 1.0) -> None:
    """Return when all have got as far as they can: all of them, or none more for a second."""
    last, since = progress(), time.monotonic()
    while last < AT_ONCE and time.monotonic() - since < still_seconds:
        time.sleep(0.01)
        if (now := progress()) != last:
            last, since = now, time.monotonic()


BY_NAME: dict[str, Callable[[Deployment], str]] = {
    "retry": _retry,
    "kill": _kill,
    "error": _error,
    "slow": _slow,
    "at_once": _at_once,
    "other_body": _other_body,
    "other_user": _other_user,
    "quoted": _quoted,
    "lost": _lost,
}
