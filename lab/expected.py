"""What every mechanism must do in every scenario: the one place, with a reason for what isn't 1.

A row says what the repeats are told unless a cell says otherwise; a scenario without a cell charges
once. `simulate --mechanism` and `lab` compare each run with this and fail where it differs.
"""

from dataclasses import dataclass, field

FIRST, NEW, ERROR = "first result", "new result", "error"
N = -1  # as many as there were clicks
REFUSED, LOST = "refused", "lost"


@dataclass(frozen=True)
class Cell:
    """What a scenario comes to: charges (or a word where none), what repeats are told, and why."""

    charges: int | str
    told: str
    reason: str = ""


@dataclass(frozen=True)
class Row:
    """A mechanism's cells: once and this answer, but for those named."""

    told: str
    cells: dict[str, Cell] = field(default_factory=dict)

    def cell(self, scenario: str, *, clicks: int) -> Cell:
        cell = self.cells.get(scenario, Cell(1, self.told))
        return Cell(clicks, cell.told, cell.reason) if cell.charges == N else cell


TWO_ORDERS = Cell(2, NEW, "two orders are no repeat, and nothing here looks at the balance")
SECOND_DECLINED = Cell(1, ERROR, "the second order finds too little money")
TABS_HAVE_KEYS = Cell(N, NEW, "every tab has a key of its own: to the key each is a first request")
TABS_HAVE_TOKENS = Cell(N, NEW, "every tab was issued a token of its own, and may use it once")
ROLLED_BACK = Cell(1, FIRST, "the crash took the claim back with the charge")
LOOKED_TOGETHER = Cell(N, NEW, "everybody looked before anybody had charged")
BOTH_LOOKED = Cell(2, NEW, "the repeat looked while the first stood still before its charge")
TOKEN_IS_GONE = Cell(
    REFUSED, ERROR, "the token was consumed outside of the transaction that the crash undid"
)

EXPECTED = {
    "naive": Row(
        NEW,
        {
            "double_click": Cell(N, NEW, "nothing recognises a repeat"),
            "back_and_resubmit": Cell(N, NEW, "nothing recognises a repeat"),
            "two_tabs": Cell(N, NEW, "nothing recognises a repeat"),
            "rpc_retry": Cell(N, NEW, "every retry of the client library is another charge"),
            "crash_before_commit": Cell(1, FIRST, "nothing had been committed"),
            "crash_after_commit": Cell(
                2, NEW, "the customer can't know that the first went through"
            ),
            "slow_owner": Cell(2, NEW, "nothing recognises a repeat"),
            "two_orders_one_balance": TWO_ORDERS,
            "increment": Cell(N, NEW, "nothing recognises a repeat"),
        },
    ),
    "look_then_act": Row(
        FIRST,
        {
            "double_click": LOOKED_TOGETHER,
            "two_tabs": LOOKED_TOGETHER,
            "slow_owner": BOTH_LOOKED,
            "two_orders_one_balance": TWO_ORDERS,
            "increment": LOOKED_TOGETHER,
        },
    ),
    "token_select_then_delete": Row(
        ERROR,
        {
            "double_click": LOOKED_TOGETHER,
            "two_tabs": TABS_HAVE_TOKENS,
            "crash_before_commit": ROLLED_BACK,
            "slow_owner": BOTH_LOOKED,
            "two_orders_one_balance": TWO_ORDERS,
            "increment": LOOKED_TOGETHER,
        },
    ),
    "natural": Row(
        FIRST,
        {
            "two_orders_one_balance": Cell(
                LOST, FIRST, "both pages computed from the same balance: one overwrote the other"
            ),
            "increment": Cell(N, NEW, "SET col = col + 1 is a change, not a value"),
        },
    ),
    "order_id": Row(FIRST, {"two_orders_one_balance": TWO_ORDERS}),
    "unique_constraint": Row(
        ERROR, {"crash_before_commit": ROLLED_BACK, "two_orders_one_balance": TWO_ORDERS}
    ),
    "dedup_table": Row(
        ERROR,
        {
            "two_tabs": TABS_HAVE_KEYS,
            "crash_before_commit": ROLLED_BACK,
            "two_orders_one_balance": TWO_ORDERS,
        },
    ),
    "request_id": Row(FIRST, {"two_tabs": TABS_HAVE_KEYS, "two_orders_one_balance": TWO_ORDERS}),
    "interceptor": Row(FIRST, {"two_tabs": TABS_HAVE_KEYS, "two_orders_one_balance": TWO_ORDERS}),
    "state_machine": Row(
        FIRST,
        {
            "two_tabs": Cell(1, ERROR, "another request id, and the order is settled"),
            "two_orders_one_balance": SECOND_DECLINED,
        },
    ),
    "conditional_balance": Row(
        ERROR,
        {
            "crash_before_commit": ROLLED_BACK,
            "two_orders_one_balance": Cell(
                1, ERROR, "the row has room for one open order; the balance isn't looked at"
            ),
        },
    ),
    "optimistic_lock": Row(
        FIRST,
        {
            "double_click": Cell(1, ERROR, "the losers are told of the conflict"),
            "two_tabs": Cell(1, ERROR, "the losers are told of the conflict"),
            "slow_owner": Cell(1, ERROR, "whoever writes second has seen an old version"),
            "two_orders_one_balance": Cell(1, ERROR, "both wanted to write the same version"),
            "increment": Cell(1, ERROR, "the losers are told of the conflict"),
        },
    ),
    "pessimistic_lock": Row(FIRST, {"two_orders_one_balance": SECOND_DECLINED}),
    "advisory_lock": Row(FIRST, {"two_orders_one_balance": TWO_ORDERS}),
    "distributed_lock": Row(
        FIRST,
        {
            "slow_owner": Cell(1, ERROR, "the owner comes back with an old fence and is refused"),
            "two_orders_one_balance": SECOND_DECLINED,
        },
    ),
    "token_local": Row(
        ERROR,
        {
            "two_tabs": TABS_HAVE_TOKENS,
            "crash_before_commit": Cell(
                REFUSED, ERROR, "the token died with its process, and no other ever knew it"
            ),
            "crash_after_commit": Cell(1, ERROR, "the other process never knew the token"),
            "slow_owner": Cell(1, ERROR, "the other process never knew the token"),
            "two_orders_one_balance": TWO_ORDERS,
        },
    ),
    "token_database": Row(
        ERROR,
        {
            "two_tabs": TABS_HAVE_TOKENS,
            "crash_before_commit": ROLLED_BACK,
            "two_orders_one_balance": TWO_ORDERS,
        },
    ),
    "token_redis": Row(
        ERROR,
        {
            "two_tabs": TABS_HAVE_TOKENS,
            "crash_before_commit": TOKEN_IS_GONE,
            "two_orders_one_balance": TWO_ORDERS,
        },
    ),
}
