"""The API against its own OpenAPI schema: more than 1,000 requests of random good and bad input.

`make fuzz` sends many times as many, with other seeds: FUZZ_SEEDS="1 2 3", FUZZ_EXAMPLES=120.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from operations.audit import check_invariants as audit
from orders.models import Order, Product
from payments.models import Account
from tests.support.api_tokens import api_token_of
from tests.support.live import LiveServer
from web import api_tokens

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SEEDS = os.environ.get("FUZZ_SEEDS", "1").split()
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "40")  # for each operation and kind of input


@pytest.fixture
def caller(alice: User) -> str:
    """Return the token of a caller for whom every operation may work."""
    alice.user_permissions.add(Permission.objects.get(codename="charge"))
    return api_token_of(alice)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", SEEDS)
def test_random_input_gets_documented_responses_and_no_5xx(
    seed: str,
    server: LiveServer,
    caller: str,
    alice_account: Account,
    product: Product,
    tmp_path: Path,
) -> None:
    command: list[str | Path] = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml"),
        *("run", f"{server.url}/api/schema/", "--checks", "all", "--max-examples", EXAMPLES),
        *("--header", f"Authorization: Token {caller}", "--seed", seed),
        *("--continue-on-failure", "--no-color"),
    ]
    # Apart, and last: it finds the token in use among the caller's, and then gets nothing but 401.
    revocation = ("operation-id", "revoke_api_token")
    known = {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_ACCOUNT": str(alice_account.pk)}

    output = run([*command, f"--exclude-{revocation[0]}", revocation[1]], tmp_path, known)
    print(f"\nseed {seed}: {cases(output)} cases")  # noqa: T201 - for `make fuzz`
    assert cases(output) >= 1000
    assert "Stateful" in output
    paid = Order.objects.filter(status=Order.Status.PAID).count()
    assert paid, "it got as far as to pay"
    assert api_tokens.authenticate(caller)
    alone = (f"--include-{revocation[0]}", revocation[1], "--phases", "coverage,fuzzing")
    assert cases(run([*command, *alone], tmp_path, known)) > 0  # it has no links to follow
    assert not [found for found in audit() if found.breaches]


def run(command: list[str | Path], folder: Path, known: dict[str, str]) -> str:
    """Run a command that must succeed, and return what it printed."""
    environment = os.environ | known
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=environment
    )
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    return ran.stdout


def cases(output: str) -> int:
    """Return how many requests were made up."""
    generated = re.search(r"(\d+) generated", output)
    assert generated is not None
    return int(generated[1])


def test_the_schema_documents_every_response_with_an_example() -> None:
    schema = APIClient().get("/api/schema/", headers={"Accept": "application/json"}).json()
    pay = schema["paths"]["/api/v1/orders/{order_id}/pay/"]["post"]["responses"]
    place = schema["paths"]["/api/v1/orders/"]["post"]["responses"]
    for responses, status in [(place, "201"), *((pay, s) for s in WITH_EXAMPLES)]:
        (media,) = responses[status]["content"].values()
        assert media["examples"], status


WITH_EXAMPLES = ("200", "202", "402", "409", "410", "422")
