"""The API against its own OpenAPI schema: more than 1,000 requests of random good and bad input."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from operations.audit import check_invariants as audit
from orders.models import Product
from payments.models import Account
from tests.support.api_tokens import api_token_of
from tests.support.live import LiveServer
from web import api_tokens

HERE = Path(__file__).parent


@pytest.mark.django_db(transaction=True)
def test_random_input_gets_documented_responses_and_no_5xx(
    server: LiveServer, alice: User, alice_account: Account, product: Product, tmp_path: Path
) -> None:
    alice.user_permissions.add(Permission.objects.get(codename="charge"))
    token = api_token_of(alice)
    command: list[str | Path] = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml"),
        *("run", f"{server.url}/api/schema/", "--checks", "all", "--max-examples", "60"),
        *("--header", f"Authorization: Token {token}", "--generation-deterministic"),
        *("--continue-on-failure", "--no-color"),
    ]
    # Apart, and last: it finds the token in use among the caller's, and then gets nothing but 401.
    revocation = ("operation-id", "revoke_api_token")

    assert cases([*command, f"--exclude-{revocation[0]}", revocation[1]], tmp_path) >= 1000
    assert api_tokens.authenticate(token)
    assert cases([*command, f"--include-{revocation[0]}", revocation[1]], tmp_path) > 0
    assert not [found for found in audit() if found.breaches]


def cases(command: list[str | Path], folder: Path) -> int:
    """Run a command that must succeed, and return how many requests it made up."""
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert ran.returncode == 0, ran.stdout[-8000:] + ran.stderr[-2000:]
    generated = re.search(r"(\d+) generated", ran.stdout)
    assert generated is not None
    return int(generated[1])


def test_the_schema_documents_every_response_with_an_example() -> None:
    schema = APIClient().get("/api/schema/", headers={"Accept": "application/json"}).json()
    pay = schema["paths"]["/api/v1/orders/{order_id}/pay/"]["post"]["responses"]
    place = schema["paths"]["/api/v1/orders/"]["post"]["responses"]
    for responses, status in [(place, "201"), *((pay, s) for s in EXAMPLES)]:
        (media,) = responses[status]["content"].values()
        assert media["examples"], status


EXAMPLES = ("200", "202", "402", "409", "410", "422")
