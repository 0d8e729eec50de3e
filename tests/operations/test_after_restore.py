"""What a restored backup has forgotten: by the log, by the payments; refused, and reported."""

import gzip
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from rest_framework.test import APIClient

from idempotency.models import Record
from operations.restoring.archive import Archive, Execution, read_archive
from operations.restoring.comparison import Finding, Kind, OrderRow, PaymentRow, kind_of
from operations.restoring.repair import hand_to_relay
from orders import outbox
from orders.models import Order, PaymentRequest
from orders.services import pay_order
from payments.models import Account, Payment
from tests.support.live import ROOT, database_url

T0 = datetime(2026, 1, 31, 12, tzinfo=UTC)
SINCE = T0.isoformat()
RECORD = "ab" * 32
ORDER = uuid4()
LINE = {
    "record": RECORD,
    "subject": f"order:{ORDER}",
    "stored_status": 201,
    "timestamp": "2026-01-31T12:00:01.5Z",
    "user": 7,
    "path": "/api/v1/orders/",
}


def line(**changed: Any) -> str:
    return json.dumps({"event": "responded", "logger": "request"} | LINE | changed)


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Archive]:
    """Read an archive of lines."""

    def archive(*lines: str) -> Archive:
        file = tmp_path / "log"
        file.write_text("\n".join(lines))
        return read_archive([str(file)], since=T0)

    return archive


# --- The log line of a first execution


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The text that the log's handler writes."""
    (handler,) = [h for h in logging.getLogger().handlers if h.get_name() == "stderr"]
    assert isinstance(handler, logging.StreamHandler)
    written = io.StringIO()
    earlier = handler.setStream(written)
    yield written
    handler.setStream(earlier)


def test_the_line_of_a_first_execution_names_its_record_and_nothing_that_could_be_sent(
    as_alice: APIClient, order: Order, alice_account: Account, logged: io.StringIO
) -> None:
    token = as_alice.post("/api/v1/tokens/").json()["token"]
    for key in ("a-secret-key", token, token):  # the last one is a replay
        body = {"account": alice_account.pk}
        path = f"/api/v1/orders/{order.pk}/pay/"
        as_alice.post(path, body, headers={"Idempotency-Key": key})

    lines = [each for each in logged.getvalue().splitlines() if "stored_status" in each]
    records = [bytes(record.identity).hex() for record in Record.objects.order_by("id")]
    assert len(lines) == len(records) == 2
    for each, record in zip(lines, records, strict=True):
        assert record in each
        assert f"order:{order.pk}" in each
    assert "a-secret-key" not in logged.getvalue()
    assert token not in logged.getvalue()
    as_alice.post(path, body, headers={"Idempotency-Key": records[0]})  # a key like any other
    assert Record.objects.count() == 3
    assert Payment.objects.count() == 1


# --- The archive


def test_an_execution_is_read_from_its_line(archive: Callable[..., Archive]) -> None:
    at = T0 + timedelta(seconds=1.5)
    expected = Execution(bytes.fromhex(RECORD), ORDER, 201, at, 7, "/api/v1/orders/")
    others = ('{"event": "responded", "path": "/stored_status"}', "plain text", "", "[1]")

    assert archive(*others, line(), *others) == Archive([expected])


@pytest.mark.parametrize(
    "wrapped",
    [
        "Jan 31 12:00:01 host gunicorn[1]: " + line(),
        json.dumps({"log": line() + "\n", "stream": "stderr"}),
        json.dumps({"MESSAGE": line(), "_PID": "1"}),
    ],
    ids=["syslog", "docker", "journal"],
)
def test_a_line_that_a_collector_wrapped_is_read(
    wrapped: str, archive: Callable[..., Archive]
) -> None:
    assert [each.order_id for each in archive(wrapped).executions] == [ORDER]


@pytest.mark.parametrize(
    "damaged",
    [
        line()[:-5],
        line(record="ab"),
        line(record="no hex"),
        line(record=None),
        line(subject="order:none"),
        line(timestamp="yesterday"),
        line(timestamp="2026-01-31T12:00:01"),
        line(stored_status=None),
    ],
)
def test_a_damaged_line_about_an_execution_is_counted_and_not_skipped(
    damaged: str, archive: Callable[..., Archive]
) -> None:
    found = archive(line(), damaged)

    assert (len(found.executions), found.damaged) == (1, 1)


def test_lines_from_well_before_the_backup_are_left_out(archive: Callable[..., Archive]) -> None:
    minutes = (11, 9, -1)
    times = [(T0 - timedelta(minutes=each)).isoformat() for each in minutes]

    found = archive(*(line(timestamp=time) for time in times))

    assert [each.at for each in found.executions] == [*map(datetime.fromisoformat, times[1:])]


def test_compressed_files_and_stdin_are_read_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gzip.open(tmp_path / "log.gz", "wt") as file:
        file.write(line(path="/compressed"))
    monkeypatch.setattr("sys.stdin", io.StringIO(line(path="/stdin")))

    found = read_archive([str(tmp_path / "log.gz"), "-"], since=T0)

    assert [each.path for each in found.executions] == ["/compressed", "/stdin"]


def test_of_an_orders_responses_the_one_that_promised_most_counts(
    archive: Callable[..., Archive],
) -> None:
    found = archive(*(line(stored_status=status) for status in (201, 202, 200, 409, 202)))

    assert found.acknowledged()[ORDER].status == 200


# --- What is wrong with an order id

SUBMITTED, PAYING, PAID, FAILED = range(4)
EXECUTION = Execution(b"", ORDER, 201, T0, 7, "/")


def order_row(status: int, **changed: Any) -> OrderRow:
    account = None if status == SUBMITTED else 3
    return OrderRow(ORDER, status, 500, "EUR", account, "alice")._replace(**changed)


def payment_row(outcome: str | None = "succeeded", **changed: Any) -> PaymentRow:
    return PaymentRow(ORDER, outcome, 500, "EUR", 3, T0, "alice")._replace(**changed)


CHARGED, DECLINED = payment_row(), payment_row("declined")
GIVEN_UP = payment_row("declined", account_id=None, customer=None)
FINDINGS: list[tuple[OrderRow | None, PaymentRow | None, int | None, Kind | None]] = [
    (None, None, 201, Kind.GONE),
    (None, CHARGED, None, Kind.GONE),
    (None, CHARGED, 200, Kind.GONE),
    (None, DECLINED, 402, Kind.GONE),
    (None, DECLINED, None, None),  # another system's, and nothing moved
    (order_row(SUBMITTED), None, None, None),
    (order_row(SUBMITTED), None, 201, None),
    (order_row(SUBMITTED), None, 409, None),
    (order_row(SUBMITTED), None, 202, Kind.REVERTED),
    (order_row(SUBMITTED), None, 200, Kind.REVERTED),
    (order_row(SUBMITTED), None, 402, Kind.REVERTED),
    (order_row(SUBMITTED), CHARGED, None, Kind.BEHIND),
    (order_row(SUBMITTED), CHARGED, 200, Kind.BEHIND),
    (order_row(SUBMITTED), DECLINED, 402, Kind.BEHIND),
    (order_row(PAYING), CHARGED, 202, Kind.BEHIND),
    (order_row(PAYING), DECLINED, None, Kind.BEHIND),
    (order_row(PAYING), None, 200, Kind.WAITING),
    (order_row(PAYING), None, None, Kind.WAITING),
    (order_row(PAID), CHARGED, 200, None),
    (order_row(PAID), None, 200, Kind.UNPAID),
    (order_row(PAID), DECLINED, 200, Kind.CONTRADICTORY),
    (order_row(FAILED), DECLINED, 402, None),
    (order_row(FAILED), None, 402, None),
    (order_row(FAILED), CHARGED, None, Kind.CONTRADICTORY),
    (order_row(SUBMITTED), payment_row(amount=501), None, Kind.CONTRADICTORY),
    (order_row(SUBMITTED), payment_row(currency="USD"), None, Kind.CONTRADICTORY),
    (order_row(SUBMITTED), payment_row(customer="bob"), None, Kind.CONTRADICTORY),
    (order_row(SUBMITTED), payment_row(customer=None), None, Kind.CONTRADICTORY),
    (order_row(SUBMITTED), GIVEN_UP, 402, Kind.REVERTED),
    (order_row(PAYING), GIVEN_UP, 402, Kind.BEHIND),
    (order_row(FAILED), GIVEN_UP, 402, None),
    (order_row(FAILED), GIVEN_UP._replace(amount=501), 402, Kind.CONTRADICTORY),
    (order_row(PAYING), payment_row(account_id=4), None, Kind.CONTRADICTORY),
    (order_row(PAID), payment_row(account_id=4), 200, Kind.CONTRADICTORY),
]


@pytest.mark.parametrize(("order", "payment", "status", "kind"), FINDINGS)
def test_what_is_wrong_with_an_order_follows_from_both_sides_and_the_response(
    order: OrderRow | None, payment: PaymentRow | None, status: int | None, kind: Kind | None
) -> None:
    execution = status and EXECUTION._replace(status=status)

    assert kind_of(Finding(ORDER, order, payment, execution or None)) is kind


# --- The command

RESTORED = pytest.mark.django_db(transaction=True)


@pytest.fixture
def run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Run the command with lines of a log; return its exit code and what it prints."""
    monkeypatch.setattr("operations.restoring.report.COLUMNS", 300)

    def run(*lines: str, options: Sequence[str] = ()) -> tuple[int, str]:
        (tmp_path / "log").write_text("\n".join(lines))
        code = 0
        try:
            call_command(
                "after_restore", "--since", SINCE, "--log", str(tmp_path / "log"), *options
            )
        except SystemExit as ended:
            code = int(str(ended.code))
        return code, capsys.readouterr().out

    return run


Run = Callable[..., tuple[int, str]]


@RESTORED
def test_forgotten_keys_are_refused_once_and_records_stay_as_they_are(
    run: Run, as_alice: APIClient, order: Order, alice_account: Account
) -> None:
    path, body = f"/api/v1/orders/{order.pk}/pay/", {"account": alice_account.pk}
    as_alice.post(path, body, headers={"Idempotency-Key": "here"})
    there = bytes(Record.objects.get().identity).hex()
    stays = line(record=there, subject=f"order:{order.pk}", stored_status=200)
    lost = [line(record=f"{n:064x}", subject="") for n in range(3)]

    assert run(*lost, stays)[0] == 1
    code, printed = run(*lost, stays, options=["--apply"])

    assert "3 forgotten keys refused from now on" in printed
    assert (code, Record.objects.filter(status=None).count()) == (0, 3)
    code, printed = run(*lost, stays, options=["--apply"])
    assert "0 forgotten keys refused from now on" in printed
    assert (code, Record.objects.filter(status=None).count()) == (0, 3)
    replayed = as_alice.post(path, body, headers={"Idempotency-Key": "here"})
    assert replayed["Idempotent-Replayed"] == "true"


@RESTORED
def test_without_apply_nothing_is_changed_and_the_exit_code_is_1(run: Run) -> None:
    for _ in range(2):
        code, printed = run(line())
        assert code == 1
        assert str(ORDER) in printed
    assert not Record.objects.exists()


@RESTORED
def test_an_order_that_a_person_has_dealt_with_is_left_out(run: Run, tmp_path: Path) -> None:
    run(line(), options=["--apply"])
    file = tmp_path / "dealt-with"
    file.write_text(f"{ORDER}\n")

    assert run(line())[0] == 1
    code, printed = run(line(), options=["--dealt-with", str(file)])

    assert code == 0
    assert "dealt with: 1; left to do: 0." in printed


@RESTORED
def test_a_damaged_line_needs_a_person(run: Run) -> None:
    code, printed = run(line()[:-5])

    assert code == 1
    assert "left to do: 1." in printed


@RESTORED
def test_without_a_log_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("after_restore", "--since", SINCE, "--without-log")

    assert "No log was read" in capsys.readouterr().out


@RESTORED
@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["--log", "/no/such/file"], 2, "Can't read the log /no/such/file"),
        (["--log", __file__ + "c.gz"], 2, "Can't read the log"),
        (["--without-log", "--payments", "postgres://u:s3cret@127.0.0.1:1/none"], 2, "payments"),
        ([], 1, "required"),
        (["--without-log", "--since", "yesterday"], 1, "is not a time"),
        (["--without-log", "--since", "2026-01-31T12:00:00"], 1, "is not a time"),
        (["--without-log", "--dealt-with", __file__], 1, "is no file of order ids"),
    ],
)
def test_what_cant_be_read_is_reported_in_a_line(
    arguments: list[str], code: int, reason: str
) -> None:
    with pytest.raises(CommandError, match=reason) as error:
        call_command("after_restore", "--since", SINCE, *arguments)

    assert error.value.returncode == code
    assert "s3cret" not in str(error.value)
    assert "\n" not in str(error.value)


@RESTORED
def test_a_truncated_archive_is_no_archive(tmp_path: Path) -> None:
    whole = gzip.compress(line().encode() * 100)
    (tmp_path / "log.gz").write_bytes(whole[:-20])

    with pytest.raises(CommandError, match="Can't read the log"):
        call_command("after_restore", "--since", SINCE, "--log", str(tmp_path / "log.gz"))


@RESTORED
@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"DATABASE_URL": "postgres://u:s3cret@127.0.0.1:1/none"}, "Can't read the orders: "),
        ({"ROLE": "payments"}, "Run it where the order system runs."),
    ],
    ids=["down", "the payment system"],
)
def test_where_there_are_no_orders_to_read_the_exit_code_is_2(
    environment: dict[str, str], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "log").write_text(line())
    here = {"DATABASE_URL": database_url(connection.get_connection_params()), "DEBUG": "true"}
    ran = subprocess.run(
        [
            *(sys.executable, "manage.py", "after_restore", "--apply"),
            *("--since", SINCE, "--log", str(tmp_path / "log")),
        ],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]} | here | environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith(f"CommandError: {reason}")
    assert "s3cret" not in ran.stderr


# --- The repair


@pytest.fixture
def remote(settings: Any) -> None:
    settings.PAYMENTS_URL = "http://127.0.0.1:1"


def behind(order: Order, account: Account, status: int) -> Finding:
    placed = order_row(status, id=order.pk, customer="alice")
    paid = payment_row(order_id=order.pk, account_id=account.pk)
    return Finding(order.pk, placed, paid, None)


@RESTORED
def test_a_submitted_order_with_a_payment_is_handed_to_the_relay_once(
    order: Order, alice_account: Account, remote: None
) -> None:
    finding = behind(order, alice_account, SUBMITTED)

    assert [hand_to_relay([finding]) for _ in range(2)] == [1, 0]

    request = PaymentRequest.objects.get()
    assert json.loads(bytes(request.body))["account_id"] == alice_account.pk
    assert Order.objects.get().status == Order.Status.PAYING


@RESTORED
def test_a_dead_lettered_request_with_a_payment_is_requeued(
    order: Order, alice: User, alice_account: Account, remote: None
) -> None:
    pay_order(customer=alice, order_id=order.pk, account_id=alice_account.pk)
    PaymentRequest.objects.update(dead_lettered=True)
    finding = behind(order, alice_account, PAYING)

    assert [hand_to_relay([finding]) for _ in range(2)] == [1, 0]

    assert [claimed.order_id for claimed in outbox.claim(relay=1, limit=5)] == [order.pk]


@RESTORED
def test_where_payments_are_made_in_this_process_nothing_is_handed_over(
    order: Order, alice_account: Account
) -> None:
    assert hand_to_relay([behind(order, alice_account, SUBMITTED)]) == 0

    assert not Payment.objects.exists()
    assert Order.objects.get().status == Order.Status.SUBMITTED


def test_it_runs_where_the_order_system_runs(monkeypatch: pytest.MonkeyPatch, db: None) -> None:
    monkeypatch.setattr(
        "operations.management.commands.after_restore.apps.is_installed", lambda _: False
    )
    with pytest.raises(CommandError, match="Run it where the order system runs") as refused:
        call_command("after_restore", since="2026-01-31T12:00:00Z", without_log=True)
    assert refused.value.returncode == 2
