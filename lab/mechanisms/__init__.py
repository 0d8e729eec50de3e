"""The articles' mechanisms, one a file, in the order in which they are best read.

A mechanism is a module: `pay(click)` returns the receipt or raises `ClickRefused`. Where needed it
also has SCHEMA, its own tables; ORDERS_SCHEMA, those in the second database; ORDER, the statement
that places an order; and `issue(click)`, which returns the page's token.
"""

from collections.abc import Iterable
from importlib import import_module
from typing import Any

NAMES = (
    *("naive", "look_then_act", "token_select_then_delete"),
    *("natural", "order_id", "unique_constraint", "dedup_table", "request_id"),
    *("request_id_cache", "interceptor"),
    *("state_machine", "conditional_balance"),
    *("optimistic_lock", "pessimistic_lock", "advisory_lock", "distributed_lock"),
    "distributed_transaction",
    *("token_local", "token_database", "token_redis"),
)
NEED_REDIS = frozenset({"distributed_lock", "request_id_cache", "token_redis"})
NEED_SECOND_DATABASE = frozenset({"distributed_transaction"})


def runnable(names: Iterable[str], *, redis: bool, second_database: bool) -> list[str]:
    """Return those of some mechanisms that can run with what there is."""
    missing = frozenset() if redis else NEED_REDIS
    missing |= frozenset() if second_database else NEED_SECOND_DATABASE
    return [name for name in names if name not in missing]


def load(name: str) -> Any:
    """Return a mechanism's module by its name."""
    return import_module(f"{__name__}.{name}")
