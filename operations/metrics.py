"""What a monitor reads: answers counted as they are given, and the backlog as it stands.

Every worker counts into files of its own in a folder that the server makes (config/gunicorn.py);
whichever worker is asked adds up all of them, those of killed workers too. Without that folder, as
in a test, the process counts for itself. The gauges are read from the database when asked for, so
every host of one database shows the same: take their maximum, not their sum.
"""

import os
import time
from collections.abc import Iterable, Iterator

import structlog
from django.apps import apps
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from operations import hourly
from operations.health import Outbox, one_row
from web.middleware import QUIET, GetResponse

log = structlog.get_logger("metrics")

# A client may invent methods; a label may not grow with them.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CONFLICTS = frozenset({"idempotency-key-in-use", "idempotency-key-reused"})
PAY_VIEWS = frozenset({"pay-order", "shop:pay"})
# Up to the longest `Prefer: wait`.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

disable_created_metrics()
COUNTED = CollectorRegistry()

REQUESTS = Histogram(
    "charge_once_request_duration_seconds",
    "Time to answer a request, by the URL's pattern; probes and static files are left out.",
    ("method", "route", "status"),
    buckets=BUCKETS,
    registry=COUNTED,
)
IN_FLIGHT = Gauge(
    "charge_once_requests_in_flight",
    "Requests that are being answered.",
    multiprocess_mode="livesum",
    registry=COUNTED,
)
PAYS = Counter(
    "charge_once_pays_total",
    "Answers to requests to pay an order, replays included.",
    ("status",),
    registry=COUNTED,
)
DECLINES = Counter(
    "charge_once_declines_total",
    "Orders whose customer was told, first of all, that the payment was declined.",
    registry=COUNTED,
)
PAYMENTS = Counter(
    "charge_once_payments_total",
    "Payments made or declined through the payment system's own interface; repeats don't count.",
    ("outcome",),
    registry=COUNTED,
)
REPLAYS = Counter(
    "charge_once_replays_total",
    "First answers that were sent again, with Idempotent-Replayed.",
    ("route",),
    registry=COUNTED,
)
KEY_CONFLICTS = Counter(
    "charge_once_key_conflicts_total",
    "Requests refused because their key was in use, or named another request.",
    ("problem",),
    registry=COUNTED,
)
RATE_LIMITED = Counter(
    "charge_once_rate_limited_total",
    "Requests refused because there were too many.",
    ("route",),
    registry=COUNTED,
)

# Shown as 0 from the start: a rate can't see the step from nothing to 1.
for shown in ("200", "202", "402", "409"):
    PAYS.labels(shown)
for shown in ("succeeded", "declined"):
    PAYMENTS.labels(shown)
for shown in CONFLICTS:
    KEY_CONFLICTS.labels(shown)


def measured(get_response: GetResponse) -> GetResponse:
    """Count and time every request but probes and static files: a middleware."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(QUIET):
            return get_response(request)
        started = time.perf_counter()
        with IN_FLIGHT.track_inprogress():
            response = get_response(request)
        count(request, response, seconds=time.perf_counter() - started)
        return response

    return middleware


def count(request: HttpRequest, response: HttpResponseBase, *, seconds: float) -> None:
    """Count an answer; it is not sent yet, so what a client has heard is counted.

    A page of the shop shows the API's answer to what was asked: that is its `final_response`.
    """
    match = request.resolver_match
    route = f"/{match.route}" if match else "unmatched"
    method = request.method if request.method in METHODS else "other"
    decision: HttpResponseBase = getattr(response, "final_response", response)
    REQUESTS.labels(method, route, response.status_code).observe(seconds)
    if replayed := response.get("Idempotent-Replayed") == "true":
        REPLAYS.labels(route).inc()
        hourly.TALLY.add(hourly.Kind.REPLAY)
    if response.status_code == 429:
        RATE_LIMITED.labels(route).inc()
    if (problem := _said(decision, "type").removeprefix("/problems/")) in CONFLICTS:
        KEY_CONFLICTS.labels(problem).inc()
        hourly.TALLY.add(hourly.Kind.CONFLICT)
    if match and method == "POST":
        _count_money(match.view_name, decision, replayed=replayed)


def _count_money(view: str, decision: HttpResponseBase, *, replayed: bool) -> None:
    if view in PAY_VIEWS:
        PAYS.labels(decision.status_code).inc()
        if decision.status_code == 402 and not replayed:
            DECLINES.inc()
    if view == "pay" and decision.status_code == 201:
        PAYMENTS.labels(_said(decision, "outcome")).inc()


def _said(response: HttpResponseBase, member: str) -> str:
    """Return a member of an answer that a view has just made; a replay has bytes only."""
    data = getattr(response, "data", None)
    return str(data.get(member, "")) if isinstance(data, dict) else ""


@require_safe
def scrape(request: HttpRequest) -> HttpResponse:
    """Answer a monitor in Prometheus' text format.

    It asks for no credentials and shows numbers only, none of a single customer; still it is for
    the inside: have the proxy in front refuse this path. A database that is down is no error here:
    its gauges are missing then, and `charge_once_database_up` is 0.
    """
    return HttpResponse(generate_latest(_Everything()), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Everything:
    def collect(self) -> Iterator[Metric]:
        yield from _counted()
        yield from _measured()


def _counted() -> Iterable[Metric]:
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        everybodys: Iterable[Metric] = MultiProcessCollector(None).collect()
        return everybodys
    return COUNTED.collect()


def _measured() -> Iterator[Metric]:
    try:
        backlog = list(_backlog())
        up = True
    except Error as error:
        log.warning("not measured", error=str(error).strip() or type(error).__name__)
        backlog, up = [], False
    yield _gauge("database_up", "Whether the database answered what was asked just now.", up)
    yield from backlog


# Few among all that were ever written: what was asked for again, and what is set aside.
RETRIED_OR_DEAD_LETTERED = """
SELECT coalesce(sum(attempts - 1) FILTER (WHERE attempts > 1), 0),
       count(*) FILTER (WHERE dead_lettered AND settled_at IS NULL)
  FROM orders_paymentrequest WHERE attempts > 1 OR dead_lettered
"""
PAYING = """
SELECT count(*), coalesce(extract(epoch FROM now() - min(updated_at)), 0)
  FROM orders_order WHERE status = 1
"""


def _backlog() -> Iterator[Metric]:
    """Ask what waits, in this process's part of the database."""
    if not apps.is_installed("orders"):
        one_row("SELECT 1")
        return
    yield from _outbox()
    retries, dead_lettered = one_row(RETRIED_OR_DEAD_LETTERED)
    help_text = "Times that a payment was asked for again, ever."
    yield CounterMetricFamily("charge_once_outbox_retries", help_text, value=float(retries))
    yield _gauge(
        "outbox_dead_lettered", "Payments that were refused and wait for somebody.", dead_lettered
    )
    paying, oldest = one_row(PAYING)
    yield _gauge("orders_paying", "Orders that are being paid (status 1).", paying)
    yield _gauge("orders_paying_oldest_seconds", "For how long the oldest of them is.", oldest)


def _outbox() -> Iterator[Metric]:
    now = Outbox.look()
    yield _gauge("outbox_open", "Payments to ask for, or whose answer is not known.", now.open)
    yield _gauge("outbox_oldest_seconds", "Age of the oldest of them.", now.oldest_seconds)
    yield _gauge("outbox_stuck", "Whether that is above OUTBOX_STUCK_SECONDS.", now.is_stuck)
    yield _gauge("outbox_unknown", "Those asked for in vain: an unknown outcome.", now.unknown)
    yield _gauge("outbox_open_retries", "Times that they were asked for again.", now.retries)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"charge_once_{name}", help_text, value=float(value))
