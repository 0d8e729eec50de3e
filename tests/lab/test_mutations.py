"""Delete a mechanism's guard and the lab reports it: each guard has a reason that shows."""

import json
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from lab.mechanisms import NAMES, NEED_SECOND_DATABASE
from tests.lab.conftest import REDIS, Manage, need_redis, need_second_database
from tests.support.live import ROOT

MECHANISMS = Path("lab") / "mechanisms"


class Guard(NamedTuple):
    """A clause of a mechanism, its replacement, and the scenario that then fails."""

    mechanism: str
    scenario: str
    clause: str
    instead: str = ""


GUARDS = [
    Guard("look_then_act", "back_and_resubmit", "if paid:", "if False:"),
    Guard("token_select_then_delete", "back_and_resubmit", "DELETE", "SELECT"),
    Guard("natural", "double_click", "= %(balance_after)s", "= balance - %(amount)s"),
    Guard("order_id", "double_click", " PRIMARY KEY"),
    Guard("unique_constraint", "double_click", ", CONSTRAINT one_payment UNIQUE (order_id)"),
    Guard("dedup_table", "double_click", " PRIMARY KEY"),
    Guard("request_id", "double_click", " PRIMARY KEY"),
    Guard("request_id_cache", "double_click", "nx=True, "),
    Guard("interceptor", "double_click", "    @idempotent()\n"),
    Guard("state_machine", "double_click", " AND status = 0"),
    Guard("state_machine", "two_orders_one_balance", " AND balance >= %(amount)s"),
    Guard(
        "state_machine", "two_tabs", "status == 2 and request_id == click.request_id", "response"
    ),
    Guard("conditional_balance", "double_click", " AND paystatus = 'unpay'"),
    Guard("optimistic_lock", "double_click", " AND version = %(seen)s"),
    Guard("optimistic_lock", "slow_owner", ", version = version + 1"),
    Guard("optimistic_lock", "back_and_resubmit", "first is not None", "False"),
    Guard("pessimistic_lock", "double_click", " FOR UPDATE"),
    Guard("pessimistic_lock", "slow_owner", " FOR UPDATE"),
    Guard("pessimistic_lock", "two_orders_one_balance", "account[0] < click.amount", "False"),
    Guard("advisory_lock", "double_click", "        row(LOCK, click)\n"),
    Guard("advisory_lock", "slow_owner", "_xact_lock", "_xact_lock_shared"),
    Guard("distributed_lock", "double_click", "'NX', "),
    Guard("distributed_lock", "slow_owner", " AND fence = %(fence)s"),
    Guard("distributed_lock", "two_orders_one_balance", " AND balance >= %(amount)s"),
    Guard(
        "distributed_transaction",
        "crash_before_commit",
        """            execute(f"PREPARE TRANSACTION '{gid}_charge'", click)\n""",
    ),
    Guard("token_local", "double_click", "_tokens.pop(", "_tokens.get("),
    Guard("token_database", "double_click", "DELETE", "SELECT"),
    Guard("token_redis", "double_click", "getdel(", "get("),
]

Differing = Callable[[str, int], set[str]]


def wave(scenario: str, number: int) -> list[Guard]:
    """Return guards of one scenario, no two of one mechanism: they can be deleted together."""
    guards = [guard for guard in GUARDS if guard.scenario == scenario]
    nth = {
        guard: [g.mechanism for g in guards[:i]].count(guard.mechanism)
        for i, guard in enumerate(guards)
    }
    return [guard for guard in guards if nth[guard] == number]


@pytest.fixture(scope="module")
def differing(manage: Manage, tmp_path_factory: pytest.TempPathFactory) -> Differing:
    """Run a scenario in a copy of the project without some guards; return who differs."""
    root = tmp_path_factory.mktemp("mutated") / "project"
    for part in (
        "config",
        "demo",
        "embedded_postgres",
        "idempotency",
        "lab",
        "operations",
        "orders",
        "payments",
        "shop",
        "simulator",
        "web",
    ):
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "manage.py", root)

    @cache
    def differing(scenario: str, number: int) -> set[str]:
        shutil.copytree(ROOT / MECHANISMS, root / MECHANISMS, dirs_exist_ok=True)
        for guard in wave(scenario, number):
            delete(guard, root)
        file = root / f"{scenario}.json"
        options = ("--mechanism", "all", "--clicks", "4", "--json", str(file))
        ran = manage("simulate", scenario, *options, root=root)
        assert ran.returncode in {0, 1}, ran.stderr
        rows = json.loads(file.read_text())["mechanisms"]
        return {
            row["mechanism"]
            for row in rows
            if not all(each["as_expected"] for each in row["scenarios"])
        }

    return differing


def delete(guard: Guard, root: Path) -> None:
    """Take a clause out of a mechanism's code; its docstring stays."""
    file = root / MECHANISMS / f"{guard.mechanism}.py"
    quotes, docstring, code = file.read_text().split('"""', 2)
    assert code.count(guard.clause) == 1, guard
    file.write_text('"""'.join([quotes, docstring, code.replace(guard.clause, guard.instead)]))


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: f"{guard.mechanism}: {guard.clause}")
def test_without_its_guard_a_mechanism_goes_wrong(guard: Guard, differing: Differing) -> None:
    if guard.mechanism in REDIS:
        need_redis()
    if guard.mechanism in NEED_SECOND_DATABASE:
        need_second_database()
    (number,) = (n for n in range(len(GUARDS)) if guard in wave(guard.scenario, n))
    assert guard.mechanism in differing(guard.scenario, number)


def test_with_their_guards_all_do_what_is_expected_in_the_same_copy(differing: Differing) -> None:
    assert differing("double_click", len(GUARDS)) == set()


def test_every_mechanism_but_the_naive_one_has_a_guard_that_is_deleted_here() -> None:
    assert {guard.mechanism for guard in GUARDS} == set(NAMES) - {"naive"}
