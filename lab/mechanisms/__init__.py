"""The articles' mechanisms, one a file, in the order in which they are best read.

A mechanism is a module: `pay(click)` returns the receipt or raises `ClickRefused`. Where needed it
also has SCHEMA, its own tables; ORDER, the statement that places an order; and `issue(click)`,
which returns the page's token.
"""

from importlib import import_module
from typing import Any

NAMES = (
    *("naive", "look_then_act", "token_select_then_delete"),
    *("natural", "order_id", "unique_constraint", "dedup_table", "request_id"),
    *("request_id_cache", "interceptor"),
    *("state_machine", "conditional_balance"),
    *("optimistic_lock", "pessimistic_lock", "advisory_lock", "distributed_lock"),
    *("token_local", "token_database", "token_redis"),
)
NEED_REDIS = frozenset({"distributed_lock", "request_id_cache", "token_redis"})


def load(name: str) -> Any:
    """Return a mechanism's module by its name."""
    return import_module(f"{__name__}.{name}")
