"""The gauges of /metrics: the backlog, measured in the database when a monitor scrapes it.

Every host of one database shows the same values: take their maximum, not their sum.
"""

from collections.abc import Iterator

import structlog
from django.apps import apps
from django.db import Error
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from operations.health import Outbox, one_row

log = structlog.get_logger("metrics")

# Few rows among all that were ever written: the retried ones, and the dead-lettered ones.
RETRIED_OR_DEAD_LETTERED = """
SELECT coalesce(sum(attempts - 1) FILTER (WHERE attempts > 1), 0),
       count(*) FILTER (WHERE dead_lettered AND settled_at IS NULL)
  FROM orders_paymentrequest WHERE attempts > 1 OR dead_lettered
"""
PENDING_ORDERS = """
SELECT count(*), coalesce(extract(epoch FROM now() - min(updated_at)), 0)
  FROM orders_order WHERE status = 1
"""


def measure() -> Iterator[Metric]:
    """Yield the gauges; `database_up` alone, at 0, where the database does not respond."""
    try:
        backlog = list(_backlog())
        up = True
    except Error as error:
        log.warning("not measured", error=str(error).strip() or type(error).__name__)
        backlog, up = [], False
    yield _gauge("database_up", "Whether the database responded to this scrape's queries.", up)
    yield from backlog


def _backlog() -> Iterator[Metric]:
    """Yield the backlog of this process's part of the database."""
    if not apps.is_installed("orders"):
        one_row("SELECT 1")
        return
    yield from _outbox()
    retries, dead_lettered = one_row(RETRIED_OR_DEAD_LETTERED)
    help_text = "Retries of payment requests, ever."
    yield CounterMetricFamily("charge_once_outbox_retries", help_text, value=float(retries))
    help_text = "Payment requests that were refused and wait for an operator."
    yield _gauge("outbox_dead_lettered", help_text, dead_lettered)
    pending, oldest = one_row(PENDING_ORDERS)
    yield _gauge("orders_paying", "Pending orders (status 1).", pending)
    yield _gauge("orders_paying_oldest_seconds", "Age of the oldest pending order.", oldest)


def _outbox() -> Iterator[Metric]:
    outbox = Outbox.measure()
    help_text = "Payment requests without a known outcome, sent or not."
    yield _gauge("outbox_open", help_text, outbox.open)
    yield _gauge("outbox_oldest_seconds", "Age of the oldest of them.", outbox.oldest_seconds)
    yield _gauge("outbox_stuck", "Whether that is above OUTBOX_STUCK_SECONDS.", outbox.is_stuck)
    yield _gauge("outbox_unknown", "Those sent with an unknown outcome.", outbox.unknown)
    yield _gauge("outbox_open_retries", "Retries of those that are open.", outbox.retries)


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"charge_once_{name}", help_text, value=float(value))
