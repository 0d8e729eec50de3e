"""What a storm came to: what its customers were promised, beside what the database holds."""

from contextlib import suppress
from dataclasses import dataclass

from demo.cluster.servers import until
from demo.cluster.systems import Systems
from simulator.campaign.storm import Storm

SETTLED_SECONDS_MAX = 60

# Orders and payments that customers were promised, and that are not there.
LOST_ORDERS = """
SELECT count(*) FROM unnest(%(promised)s::uuid[]) AS promised (id)
 WHERE NOT EXISTS (SELECT FROM orders_order own WHERE own.id = promised.id)
"""
LOST_PAYMENTS = """
SELECT count(*) FROM unnest(%(promised)s::uuid[]) AS promised (id)
 WHERE NOT EXISTS (SELECT FROM payments_payment own WHERE own.id = promised.id)
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


def verdict_on(storm: Storm, systems: Systems, *, fault: str, since: float) -> Verdict:
    """Compare a storm that is over with the databases.

    :param since: when the fault hit
    """
    orders, payments = systems
    promised = storm.journal.successes()
    with suppress(TimeoutError):  # then the verdict shows it
        until(lambda: not orders.count(LEFT), seconds=SETTLED_SECONDS_MAX, what="all is settled")
    lost_orders = orders.count(LOST_ORDERS, promised=list({line.order for line in promised}))
    paid = list({line.payment for line in promised if line.payment})
    return Verdict(
        fault=fault,
        silence_seconds=round(storm.journal.silence_seconds(since), 1),
        responses=len(storm.journal.lines),
        acknowledged=len(promised),
        lost=lost_orders + payments.count(LOST_PAYMENTS, promised=paid),
        charged_twice=payments.count(CHARGED_TWICE),
        contradictions=storm.journal.contradictions(),
        unfinished=storm.unfinished,
        left_paying=orders.count(LEFT),
        breaches="".join(each.stdout + each.stderr for each in systems.checks() if each.returncode),
    )
