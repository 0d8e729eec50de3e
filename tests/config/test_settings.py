"""A wrong environment is refused in one line; and what is for development is off elsewhere."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured

from config.environment import whole

ROOT = Path(__file__).resolve().parents[2]
MANAGE = ["manage.py", "check"]
GUNICORN = ["-m", "gunicorn", "--config", "config/gunicorn.py"]
PRODUCTION = {"DEBUG": "false", "SECRET_KEY": "x" * 50}


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def refusal(command: list[str], **environment: str) -> str:
    """Run a command that must not start, and return the one line that it prints."""
    ran = run(command, **environment)
    assert ran.returncode == 1, ran.stderr
    assert ran.stdout == ""
    (line,) = ran.stderr.splitlines()
    return line


@pytest.mark.parametrize("command", [MANAGE, GUNICORN])
def test_production_without_a_secret_key_does_not_start(command: list[str]) -> None:
    line = refusal(command, DEBUG="false", DATABASE_URL="postgres://nobody@127.0.0.1:1/none")
    assert line.startswith("SECRET_KEY is not set.")


@pytest.mark.parametrize("command", [MANAGE, GUNICORN, ["manage.py", "audit"]], ids=" ".join)
@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///shop.db",
        "nonsense",
        "mysql://user@host/shop",
        "postgres://shop:s3c/ret@127.0.0.1/shop",
        "postgres://shop:123/s3c@127.0.0.1/shop",
        "postgres://shop:s3c@127.0.0.1:port/shop",
        "postgres://shop:s3c@[::1/shop",
        "postrges://shop:s3c@127.0.0.1/shop",
    ],
)
def test_a_database_that_is_no_postgresql_is_refused(url: str, command: list[str]) -> None:
    line = refusal(command, DEBUG="true", DATABASE_URL=url)
    assert line.startswith("DATABASE_URL must name a PostgreSQL")
    assert "s3c" not in line


@pytest.mark.parametrize("command", [MANAGE, GUNICORN], ids=" ".join)
@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"ROLE": "neither"}, "ROLE is orders, payments or both, not 'neither'."),
        ({"ROLE": "orders"}, "ROLE=orders needs PAYMENTS_URL"),
        ({"PAYMENTS_URL": "http://payments.example"}, "PAYMENTS_URL needs PAYMENTS_TOKEN"),
    ],
    ids=["ROLE", "PAYMENTS_URL", "PAYMENTS_TOKEN"],
)
def test_a_wrong_role_is_refused(
    environment: dict[str, str], reason: str, command: list[str]
) -> None:
    assert refusal(command, DEBUG="true", **environment).startswith(reason)


# Every number of the settings, with the least that it may be.
NUMBERS = {
    "WEB_WORKERS": 1,
    "WEB_THREADS": 1,
    "IDEMPOTENCY_WAITERS": 0,
    "IDEMPOTENCY_RETENTION_DAYS": 1,
    "IDEMPOTENCY_TOKEN_LIFETIME_MINUTES": 1,
    "TOKENS_PER_MINUTE": 1,
    "WRITES_PER_MINUTE": 1,
    "CHARGES_PER_MINUTE": 1,
    "SIGN_INS_PER_MINUTE": 1,
    "API_TOKEN_LIFETIME_DAYS": 1,
    "WEB_CONNECTIONS": 10,
    "WEB_CLIENT_SECONDS": 1,
    "OUTBOX_STUCK_SECONDS": 1,
    "DATABASE_IDLE_SECONDS": 0,
    "DATABASE_RESPONSE_SECONDS": 0,
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_below_its_limit_is_refused(name: str) -> None:
    line = refusal(MANAGE, DEBUG="true", **{name: str(NUMBERS[name] - 1)})
    assert line.startswith(f"{name} is a whole number from {NUMBERS[name]} to ")
    assert line.endswith(f", not '{NUMBERS[name] - 1}'.")


@pytest.mark.parametrize("value", ["0", "-30", "3651", "many", "1e3", "9" * 5_000])
def test_the_web_server_does_not_start_with_an_absurd_retention(value: str) -> None:
    line = refusal(GUNICORN, DEBUG="true", IDEMPOTENCY_RETENTION_DAYS=value)
    assert line.startswith("IDEMPOTENCY_RETENTION_DAYS is a whole number from 1 to 3,650, not '")
    assert len(line) < 120


@pytest.mark.parametrize(
    "value", ["", " ", "1.5", "-1", "+1", "0x10", "١", "101", "nan", "0" * 19 + "1500"]
)
def test_what_is_no_whole_number_within_its_limits_is_refused(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_NUMBER", value)
    with pytest.raises(ImproperlyConfigured, match=r"^SOME_NUMBER is a whole number from 1 to 100"):
        whole("SOME_NUMBER", default=7, most=100)


def test_a_number_within_its_limits_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    assert whole("SOME_NUMBER", default=7, most=100) == 7
    for value in ("1", "100", " 42 "):
        monkeypatch.setenv("SOME_NUMBER", value)
        assert whole("SOME_NUMBER", default=7, most=100) == int(value)


@pytest.mark.parametrize(("threads", "waiters"), [("1", 0), ("2", 1), ("16", 8)])
def test_at_least_one_thread_never_waits(threads: str, waiters: int) -> None:
    name = "s.IDEMPOTENCY['WAITING_THREADS_MAX']"
    assert read(name, DEBUG="true", WEB_THREADS=threads) == [waiters]
    assert read(name, DEBUG="true", WEB_THREADS=threads, IDEMPOTENCY_WAITERS="900") == [
        int(threads) - 1
    ]


def test_one_caller_writes_less_in_production_than_in_the_demo() -> None:
    assert read("s.WRITE_RATE", **PRODUCTION) == [[300, 60]]
    assert read("s.WRITE_RATE", DEBUG="true") == [[100_000, 60]]


@pytest.mark.parametrize("command", [MANAGE, GUNICORN], ids=" ".join)
@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"TRUSTED_PROXIES": "10.0.0.1,proxy.example"}, "TRUSTED_PROXIES: 'proxy.example' does"),
        ({"TRUSTED_PROXIES": "0.0.0.0/0"}, "TRUSTED_PROXIES: 0.0.0.0/0 trusts every client"),
    ],
    ids=["nonsense", "everybody"],
)
def test_a_wrong_list_of_trusted_proxies_is_refused(
    environment: dict[str, str], reason: str, command: list[str]
) -> None:
    assert refusal(command, DEBUG="true", **environment).startswith(reason)


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"DEBUG": "false"}, "SECRET_KEY is not set"),
        ({"ROLE": "neither"}, "ROLE is orders, payments or both"),
        ({"ROLE": "orders"}, "ROLE=orders needs PAYMENTS_URL"),
        ({"PAYMENTS_URL": "http://127.0.0.1:1"}, "PAYMENTS_URL needs PAYMENTS_TOKEN"),
        ({"DATABASE_URL": "sqlite:///shop.db"}, "DATABASE_URL must name a PostgreSQL database"),
        ({"DATABASE_URL": "postgres://a:b@c@d/e@f"}, "DATABASE_URL must name a PostgreSQL"),
    ],
)
def test_the_settings_raise_what_django_expects_of_wrong_settings(
    environment: dict[str, str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environ.Env, "read_env", lambda *_: None)  # a developer's own .env
    for name in ("SECRET_KEY", "ROLE", "PAYMENTS_URL", "PAYMENTS_TOKEN", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"DEBUG": "true"} | environment).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ImproperlyConfigured, match=f"^{reason}"):
        runpy.run_path(str(ROOT / "config" / "settings.py"))


def read(*names: str, **environment: str) -> Any:
    """Return what some settings are in an environment."""
    asks = f"import json; from config import settings as s; print(json.dumps([{', '.join(names)}]))"
    return json.loads(run(["-c", asks], **environment).stdout)


@pytest.mark.parametrize("password", ["", "only-for-the-demo"])
def test_what_is_for_the_demo_is_off_in_production(password: str) -> None:
    names = (
        "s.DEMO_SIGN_IN",
        "s.IDEMPOTENCY['JOURNAL_EXECUTED']",
        "s.LAB_ENABLED",
        "s.DEMO_PASSWORD",
    )

    assert read(*names, **PRODUCTION, DEMO_PASSWORD=password) == [False, False, False, password]


def test_no_password_is_public_in_production() -> None:
    assert read("s.DEMO_PASSWORD", **PRODUCTION) == [""]


@pytest.mark.parametrize(("password", "one_click"), [("only-for-the-demo", True), ("own", False)])
def test_one_click_signs_in_where_the_password_is_the_public_one(
    password: str, one_click: bool
) -> None:
    assert read("s.DEMO_SIGN_IN", DEBUG="true", DEMO_PASSWORD=password) == [one_click]


def test_cookies_go_over_https_only_in_production() -> None:
    names = ("s.SECURE_SSL_REDIRECT", "s.SESSION_COOKIE_SECURE", "s.CSRF_COOKIE_SECURE")

    assert read(*names, **PRODUCTION) == [True, True, True]


NO_DEMO = (
    {**PRODUCTION, "DEMO_PASSWORD": "only-for-the-demo"},
    {"DEBUG": "true", "DEMO_PASSWORD": "own"},
    {"DEBUG": "true", "ROLE": "payments"},
)


@pytest.mark.parametrize("environment", NO_DEMO, ids=["production", "own password", "payments"])
def test_nothing_breaks_a_visitors_network_where_it_is_no_demo_with_a_shop(
    environment: dict[str, str],
) -> None:
    ask = "[each for each in s.MIDDLEWARE if 'demo' in each]"

    assert read(ask, **environment) == [[]]
    assert read(ask, **environment, DEMO_NETWORK_URL="http://127.0.0.1:1") == [[]]
    assert read(ask, DEBUG="true") == [["demo.network.VisitorsNetwork"]]


def test_the_demo_of_two_services_turns_the_network_between_them_and_no_visitors() -> None:
    ask = "[each for each in s.MIDDLEWARE if 'demo' in each]"
    middleware = read(ask, DEBUG="true", DEMO_NETWORK_URL="http://127.0.0.1:1")

    assert middleware == [["demo.between.services_network"]]
