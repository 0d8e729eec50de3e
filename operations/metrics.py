"""The counters of /metrics: every response is counted once, by whichever worker sends it.

Refused keys and duplicates come from the signals of `idempotency` and its journal.

Every worker counts into files of its own in a folder that the server makes (config/gunicorn.py);
the worker that is scraped adds up all of them, those of killed workers too. Without that folder, as
in a test, the process counts for itself.
"""

import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

from django.dispatch import receiver
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
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector

from idempotency import signals
from idempotency.journal.models import Outcome
from idempotency.journal.receivers import journaled
from operations import gauges
from web.middleware import QUIET, GetResponse

# A client may invent methods, and each value of a label is a series for ever.
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CONFLICTS = frozenset({"idempotency-key-in-use", "idempotency-key-reused"})
PAY_VIEWS = frozenset({"pay-order", "shop:pay"})
# Up to the longest `Prefer: wait`.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

disable_created_metrics()
COUNTED = CollectorRegistry()

REQUESTS = Histogram(
    "charge_once_request_duration_seconds",
    "Time to respond to a request, by the URL's pattern; without probes and static files.",
    ("method", "route", "status"),
    buckets=BUCKETS,
    registry=COUNTED,
)
IN_FLIGHT = Gauge(
    "charge_once_requests_in_flight",
    "Requests without a response yet.",
    multiprocess_mode="livesum",
    registry=COUNTED,
)
PAYS = Counter(
    "charge_once_pays_total",
    "Responses to requests to pay an order, replays included.",
    ("status",),
    registry=COUNTED,
)
DECLINES = Counter(
    "charge_once_declines_total",
    "First responses to customers that the payment was declined.",
    registry=COUNTED,
)
PAYMENTS = Counter(
    "charge_once_payments_total",
    "Payments made or declined through the payment system's own interface; without duplicates.",
    ("outcome",),
    registry=COUNTED,
)
REPLAYS = Counter(
    "charge_once_replays_total",
    "Stored responses that were sent again, with Idempotent-Replayed.",
    ("route",),
    registry=COUNTED,
)
KEY_CONFLICTS = Counter(
    "charge_once_key_conflicts_total",
    "Requests refused because their key was in use, or belonged to another request.",
    ("problem",),
    registry=COUNTED,
)
DUPLICATES = Counter(
    "charge_once_duplicates_total",
    "Requests that were no first execution, by their outcome.",
    ("outcome",),
    registry=COUNTED,
)
DROPPED = Counter(
    "charge_once_journal_dropped_total",
    "Duplicates that the journal leaves out, because too many waited to be written.",
    registry=COUNTED,
)
RATE_LIMITED = Counter(
    "charge_once_rate_limited_total",
    "Requests refused because there were too many.",
    ("route",),
    registry=COUNTED,
)

# Shown as 0 from the start: a rate does not notice a step from nothing to 1.
for label in ("200", "202", "402", "409"):
    PAYS.labels(label)
for label in ("succeeded", "declined"):
    PAYMENTS.labels(label)
for label in sorted(set(Outcome.values) - {Outcome.EXECUTED}):
    DUPLICATES.labels(label)
for label in CONFLICTS:
    KEY_CONFLICTS.labels(label)


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
    """Count a response before it is sent, so that none which a client got is missing.

    A page of the shop carries the final response of the API that it shows, as its
    `final_response`.
    """
    match = request.resolver_match
    route = f"/{match.route}" if match else "unmatched"
    method = request.method if request.method in METHODS else "other"
    final_response: HttpResponseBase = getattr(response, "final_response", response)
    REQUESTS.labels(method, route, response.status_code).observe(seconds)
    if replayed := response.get("Idempotent-Replayed") == "true":
        REPLAYS.labels(route).inc()
    if response.status_code == 429:
        RATE_LIMITED.labels(route).inc()
    if match and method == "POST":
        _count_money(match.view_name, final_response, replayed=replayed)


@receiver(journaled)
def count_duplicate(outcome: str, dropped: bool, **_: Any) -> None:
    """Count a duplicate as the journal does, and one that it drops."""
    DUPLICATES.labels(outcome).inc()
    if dropped:
        DROPPED.inc()


@receiver(signals.refused)
def count_refusal(slug: str, **_: Any) -> None:
    """Count a request whose key was in use, or belonged to another request."""
    if slug in CONFLICTS:
        KEY_CONFLICTS.labels(slug).inc()


def _count_money(view: str, response: HttpResponseBase, *, replayed: bool) -> None:
    if view in PAY_VIEWS:
        PAYS.labels(response.status_code).inc()
        if response.status_code == 402 and not replayed:
            DECLINES.inc()
    if view == "pay" and response.status_code == 201:
        PAYMENTS.labels(response.data["outcome"]).inc()  # type: ignore[attr-defined]


@require_safe
def scrape(request: HttpRequest) -> HttpResponse:
    """Respond to a monitor in Prometheus' text format.

    The page needs no credentials and shows numbers only, none of a single customer. Still it is not
    public: have the proxy in front refuse this path. A database that is down is no error here: its
    gauges are missing then, and `charge_once_database_up` is 0.
    """
    return HttpResponse(generate_latest(_AllMetrics()), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class _AllMetrics:
    def collect(self) -> Iterator[Metric]:
        yield from _counted()
        yield from gauges.measure()


def _counted() -> Iterable[Metric]:
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        of_all_workers: Iterable[Metric] = MultiProcessCollector(None).collect()
        return of_all_workers
    return COUNTED.collect()
