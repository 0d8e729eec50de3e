"""The expected result of every mechanism in every scenario, with a reason where it isn't 1.

A row has the result that the duplicates get unless a cell says otherwise; a scenario without a cell
charges once. `simulate --mechanism` and `lab` compare each run with this and fail where it differs.
"""

from dataclasses import dataclass, field

FIRST, NEW, ERROR = "first result", "new result", "error"
NO_RESPONSE, SERVER_ERROR = "no response", "server error"  # never expected
N = -1  # as many charges as clicks
REFUSED, LOST = "refused", "lost"


@dataclass(frozen=True)
class ExpectedCell:
    """A scenario's charges (or a word where none), the result that the duplicates get, and why."""

    charges: int | str
    duplicate_result: str
    reason: str = ""


@dataclass(frozen=True)
class ExpectedRow:
    """A mechanism's cells: one charge and this result for the duplicates, but for those named."""

    duplicate_result: str
    cells: dict[str, ExpectedCell] = field(default_factory=dict)

    def cell(self, scenario: str, *, clicks: int) -> ExpectedCell:
        cell = self.cells.get(scenario, ExpectedCell(1, self.duplicate_result))
        if cell.charges != N:
            return cell
        return ExpectedCell(clicks, cell.duplicate_result, cell.reason)


TWO_ORDERS = ExpectedCell(
    2, NEW, "two orders are no duplicates, and nothing here checks the balance"
)
SECOND_DECLINED = ExpectedCell(1, ERROR, "the second order finds too little money")
TABS_HAVE_KEYS = ExpectedCell(
    N, NEW, "every tab has a key of its own: to the key each is a first request"
)
TABS_HAVE_TOKENS = ExpectedCell(
    N, NEW, "every tab was issued a token of its own, and may use it once"
)
ROLLED_BACK = ExpectedCell(1, FIRST, "the crash took the claim back with the charge")
ALL_CHECKED = ExpectedCell(N, NEW, "every click checked before any of them had charged")
BOTH_CHECKED = ExpectedCell(
    2, NEW, "the duplicate checked while the first click stood still before its charge"
)
TOKEN_IS_GONE = ExpectedCell(
    REFUSED, ERROR, "the token was consumed outside of the transaction that the crash undid"
)
ID_IS_THERE = ExpectedCell(
    REFUSED, ERROR, "the id was in the cache before the charge that the crash undid"
)
BOTH_COMMIT = ExpectedCell(
    N, NEW, "both sides commit whatever comes: a duplicate is a transaction like any other"
)

EXPECTED = {
    "naive": ExpectedRow(
        NEW,
        {
            "double_click": ExpectedCell(N, NEW, "nothing recognises a duplicate"),
            "back_and_resubmit": ExpectedCell(N, NEW, "nothing recognises a duplicate"),
            "two_tabs": ExpectedCell(N, NEW, "nothing recognises a duplicate"),
            "rpc_retry": ExpectedCell(
                N, NEW, "every retry of the client library is another charge"
            ),
            "crash_before_commit": ExpectedCell(1, FIRST, "nothing had been committed"),
            "crash_after_commit": ExpectedCell(
                2, NEW, "the customer can't know that the first went through"
            ),
            "slow_owner": ExpectedCell(2, NEW, "nothing recognises a duplicate"),
            "two_orders_one_balance": TWO_ORDERS,
            "increment": ExpectedCell(N, NEW, "nothing recognises a duplicate"),
        },
    ),
    "look_then_act": ExpectedRow(
        FIRST,
        {
            "double_click": ALL_CHECKED,
            "two_tabs": ALL_CHECKED,
            "slow_owner": BOTH_CHECKED,
            "two_orders_one_balance": TWO_ORDERS,
            "increment": ALL_CHECKED,
        },
    ),
    "token_select_then_delete": ExpectedRow(
        ERROR,
        {
            "double_click": ALL_CHECKED,
            "two_tabs": TABS_HAVE_TOKENS,
            "crash_before_commit": ROLLED_BACK,
            "slow_owner": BOTH_CHECKED,
            "two_orders_one_balance": TWO_ORDERS,
            "increment": ALL_CHECKED,
        },
    ),
    "natural": ExpectedRow(
        FIRST,
        {
            "two_orders_one_balance": ExpectedCell(
                LOST, FIRST, "both pages computed from the same balance: one overwrote the other"
            ),
            "increment": ExpectedCell(N, NEW, "SET col = col + 1 is a change, not a value"),
        },
    ),
    "order_id": ExpectedRow(FIRST, {"two_orders_one_balance": TWO_ORDERS}),
    "unique_constraint": ExpectedRow(
        ERROR, {"crash_before_commit": ROLLED_BACK, "two_orders_one_balance": TWO_ORDERS}
    ),
    "dedup_table": ExpectedRow(
        ERROR,
        {
            "two_tabs": TABS_HAVE_KEYS,
            "crash_before_commit": ROLLED_BACK,
            "two_orders_one_balance": TWO_ORDERS,
        },
    ),
    "request_id": ExpectedRow(
        FIRST, {"two_tabs": TABS_HAVE_KEYS, "two_orders_one_balance": TWO_ORDERS}
    ),
    "request_id_cache": ExpectedRow(
        ERROR,
        {
            "two_tabs": TABS_HAVE_KEYS,
            "crash_before_commit": ID_IS_THERE,
            "two_orders_one_balance": TWO_ORDERS,
        },
    ),
    "interceptor": ExpectedRow(
        FIRST, {"two_tabs": TABS_HAVE_KEYS, "two_orders_one_balance": TWO_ORDERS}
    ),
    "state_machine": ExpectedRow(
        FIRST,
        {
            "two_tabs": ExpectedCell(1, ERROR, "another request id, and the order is settled"),
            "two_orders_one_balance": SECOND_DECLINED,
        },
    ),
    "conditional_balance": ExpectedRow(
        ERROR,
        {
            "crash_before_commit": ROLLED_BACK,
            "two_orders_one_balance": ExpectedCell(
                1, ERROR, "the row has room for one open order; the balance isn't checked"
            ),
        },
    ),
    "optimistic_lock": ExpectedRow(
        FIRST,
        {
            "double_click": ExpectedCell(1, ERROR, "the losers get a conflict"),
            "two_tabs": ExpectedCell(1, ERROR, "the losers get a conflict"),
            "slow_owner": ExpectedCell(1, ERROR, "the second to write has read an old version"),
            "two_orders_one_balance": ExpectedCell(
                1, ERROR, "both wanted to write the same version"
            ),
            "increment": ExpectedCell(1, ERROR, "the losers get a conflict"),
        },
    ),
    "pessimistic_lock": ExpectedRow(FIRST, {"two_orders_one_balance": SECOND_DECLINED}),
    "advisory_lock": ExpectedRow(FIRST, {"two_orders_one_balance": TWO_ORDERS}),
    "distributed_lock": ExpectedRow(
        FIRST,
        {
            "slow_owner": ExpectedCell(
                1, ERROR, "the owner comes back with an old fence and is refused"
            ),
            "two_orders_one_balance": SECOND_DECLINED,
        },
    ),
    "distributed_transaction": ExpectedRow(
        NEW,
        {
            "double_click": BOTH_COMMIT,
            "back_and_resubmit": BOTH_COMMIT,
            "two_tabs": BOTH_COMMIT,
            "rpc_retry": BOTH_COMMIT,
            "crash_before_commit": ExpectedCell(
                REFUSED,
                ERROR,
                "killed between the phases: what was prepared locks the account until somebody"
                " resolves it",
            ),
            "crash_after_commit": ExpectedCell(
                2, NEW, "the customer can't know that the first went through"
            ),
            "slow_owner": ExpectedCell(2, NEW, BOTH_COMMIT.reason),
            "two_orders_one_balance": TWO_ORDERS,
            "increment": BOTH_COMMIT,
        },
    ),
    "token_local": ExpectedRow(
        ERROR,
        {
            "two_tabs": TABS_HAVE_TOKENS,
            "crash_before_commit": ExpectedCell(
                REFUSED, ERROR, "the token died with its process, and no other ever knew it"
            ),
            "crash_after_commit": ExpectedCell(1, ERROR, "the other process never knew the token"),
            "slow_owner": ExpectedCell(1, ERROR, "the other process never knew the token"),
            "two_orders_one_balance": TWO_ORDERS,
        },
    ),
    "token_database": ExpectedRow(
        ERROR,
        {
            "two_tabs": TABS_HAVE_TOKENS,
            "crash_before_commit": ROLLED_BACK,
            "two_orders_one_balance": TWO_ORDERS,
        },
    ),
    "token_redis": ExpectedRow(
        ERROR,
        {
            "two_tabs": TABS_HAVE_TOKENS,
            "crash_before_commit": TOKEN_IS_GONE,
            "two_orders_one_balance": TWO_ORDERS,
        },
    ),
}
