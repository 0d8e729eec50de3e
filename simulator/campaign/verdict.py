"""What a storm came to: what its customers were promised, beside what the database holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psycopg

from demo.cluster.cluster import DATABASE, Cluster
from simulator.campaign.storm import Storm

# Orders and payments that customers were promised, and that are not there.
LOST = """
SELECT (SELECT count(*) FROM unnest(%(orders)s::uuid[]) AS promised (id)
         WHERE NOT EXISTS (SELECT FROM orders_order own WHERE own.id = promised.id)),
       (SELECT count(*) FROM unnest(%(payments)s::uuid[]) AS promised (id)
         WHERE NOT EXISTS (SELECT FROM payments_payment own WHERE own.id = promised.id))
"""
CHARGED_TWICE = """
SELECT count(*) FROM (
    SELECT FROM payments_payment payment JOIN payments_entry entry ON entry.payment_id = payment.id
     WHERE entry.amount < 0 GROUP BY payment.order_id HAVING count(*) > 1) AS twice
"""
LEFT = "SELECT count(*) FROM orders_order WHERE status = 1"


@dataclass(frozen=True)
class Verdict:
    """A row of the table.

    :param silence_seconds: the longest time without a success after the fault
    :param lost: acknowledged orders and payments that are gone
    :param contradictions: keys with two different final responses
    """

    fault: str
    silence_seconds: float
    responses: int
    acknowledged: int
    lost: int
    charged_twice: int
    contradictions: int
    unfinished: int
    left_paying: int
    breaches: str

    @property
    def is_clean(self) -> bool:
        wrong = (self.lost, self.charged_twice, self.contradictions, self.left_paying)
        return not any(wrong) and not self.breaches and not self.unfinished


def verdict_on(storm: Storm, cluster: Cluster, *, fault: str, since: float) -> Verdict:
    """Compare a storm that is over with the database.

    :param since: when the fault hit
    """
    promised = storm.journal.successes()
    with cluster.connect(cluster.primary() or "", database=DATABASE) as session:
        lost, charged_twice, left = _counts(
            session,
            orders=sorted({line.order for line in promised}),
            payments=sorted({line.payment for line in promised if line.payment}),
        )
    audit = cluster.manage("audit")
    return Verdict(
        fault=fault,
        silence_seconds=round(storm.journal.silence_seconds(since), 1),
        responses=len(storm.journal.lines),
        acknowledged=len(promised),
        lost=lost,
        charged_twice=charged_twice,
        contradictions=storm.journal.contradictions(),
        unfinished=storm.unfinished,
        left_paying=left,
        breaches=audit.stdout if audit.returncode else "",
    )


def _counts(
    session: psycopg.Connection[Any], *, orders: Sequence[str], payments: Sequence[str]
) -> tuple[int, int, int]:
    """Return how much is lost, charged twice, and left in the middle."""
    promised = {"orders": list(orders), "payments": list(payments)}
    lost_orders, lost_payments = session.execute(LOST, promised).fetchone() or (0, 0)
    (twice,) = session.execute(CHARGED_TWICE).fetchone() or (0,)
    (left,) = session.execute(LEFT).fetchone() or (0,)
    return lost_orders + lost_payments, twice, left
