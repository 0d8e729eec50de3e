"""What can be repaired without a person: forgotten keys are refused, payments are looked up."""

from collections.abc import Iterable
from uuid import UUID

from idempotency import migrating
from operations.reconciliation.rows import SUBMITTED
from operations.restoring.archive import Execution
from operations.restoring.comparison import Finding
from orders import outbox
from orders.models import Order
from orders.services import pay_order
from payments import client


def refuse_lost_keys(lost: Iterable[Execution]) -> int:
    """Make tombstones of forgotten keys: a retry gets 410; a repeated call makes none."""
    return migrating.import_identities(execution.record for execution in lost)


def hand_to_relay(behind: Iterable[Finding]) -> int:
    """Have the relay look up payments that were made; a repeated call changes nothing.

    The payment system returns the payment that it has: nothing is charged.
    """
    if not client.is_remote():  # here it would be the payment itself
        return 0
    handed = 0
    for finding in behind:
        account_id = finding.payment and finding.payment.account_id
        if finding.order and finding.order.status == SUBMITTED and account_id:
            handed += _paying_again(finding.order_id, account_id)
        else:
            handed += outbox.requeue([finding.order_id])
    return handed


def _paying_again(order_id: UUID, account_id: int) -> bool:
    """Take 0→1 again and put the request into the outbox, as the forgotten pay request did."""
    order = Order.objects.select_related("customer").get(pk=order_id)
    attempt = pay_order(
        customer=order.customer,
        order_id=order_id,
        account_id=account_id,
        request_id="after_restore",
    )
    return attempt.first
