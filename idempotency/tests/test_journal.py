"""The journal: each duplicate is in it once, and a replay still writes nothing."""

import logging
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from django.db.backends.utils import CursorWrapper
from django.http import HttpResponse
from django.test import Client

from idempotency import Claim, errors, respond_once
from idempotency.fingerprint import Content
from idempotency.journal import recorder
from idempotency.journal.models import JournaledRequest, Outcome
from idempotency.journal.receivers import journaled
from idempotency.journal.recorder import Recorder, Row, Writer
from idempotency.keys import digest
from idempotency.purge import erase_scope
from idempotency.tests.conftest import charges
from idempotency.tests.processes import server, until
from idempotency.tests.support import age, read_only
from idempotency.tests.test_views import post

pytestmark = pytest.mark.django_db(transaction=True)


def outcomes() -> list[str]:
    recorder.flush()
    return list(JournaledRequest.objects.order_by("received_at").values_list("outcome", flat=True))


def row(**facts: Any) -> Row:
    defaults = {"scope": "user:1", "key_digest": "0" * 12, "subject": "thing:1", "request_id": "r"}
    return Row(Outcome.REPLAYED, **defaults | facts)


def test_a_first_execution_is_not_journaled_and_its_replays_are(client: Client) -> None:
    for _ in range(3):
        post(client, "/class/7/", key="secret-key")

    assert outcomes() == ["replayed", "replayed"]
    one = JournaledRequest.objects.first()
    assert one is not None
    assert (one.subject, one.key_digest) == ("thing:7", digest("secret-key"))
    assert one.scope.startswith("user:")
    assert (one.waited_milliseconds, one.steps) == (0, [])
    assert one.milliseconds > 0


def test_a_replay_writes_nothing_itself(client: Client, journal: Recorder) -> None:
    post(client, "/plain/")
    with read_only():
        assert post(client, "/plain/")["Idempotent-Replayed"] == "true"
    assert not JournaledRequest.objects.exists()
    assert outcomes() == ["replayed"]


def test_with_executions_each_has_its_steps(client: Client, settings: Any) -> None:
    settings.IDEMPOTENCY = {"JOURNAL_EXECUTED": True}
    for _ in range(2):
        post(client, "/plain/")

    assert outcomes() == ["executed", "replayed"]
    first, second = JournaledRequest.objects.order_by("received_at")
    assert [name for name, _rows, _ms in first.steps] == ["claimed", "response-stored"]
    assert [name for name, _rows, _ms in second.steps] == ["claimed"]


def test_a_duplicate_that_waits_is_journaled_as_one_that_waited(client: Client) -> None:
    def click() -> None:
        post(client, "/slow/")
        connection.close()

    first = threading.Thread(target=click)
    first.start()
    until(lambda: client.get("/api/keys/k/").json().get("state") == "in_flight")
    post(client, "/slow/")
    first.join()

    assert outcomes() == ["waited"]
    one = JournaledRequest.objects.get()
    assert 0 < one.waited_milliseconds <= one.milliseconds


def test_a_refused_duplicate_is_journaled_by_its_reason(client: Client, hold: Any) -> None:
    post(client, "/plain/", key="used")
    post(client, "/rest/", key="used")
    recorder.flush()
    scope = JournaledRequest.objects.get().scope
    with hold(scope, "held"):
        post(client, "/plain/", key="held", Prefer="wait=0")
    age(31)
    post(client, "/plain/", key="used")

    assert outcomes() == ["reused", "in-use", "expired"]


@pytest.mark.parametrize("subject", ["long" * 100, "nul\x00", "surrogate\ud800"])
def test_a_row_that_the_table_cannot_hold_keeps_no_other_waiting(
    subject: str, caplog: pytest.LogCaptureFixture
) -> None:
    writes = Recorder()
    for number in range(7):
        writes.add(row(subject=subject if number in (2, 3) else "thing:1", request_id=str(number)))
    writes.flush()

    written = JournaledRequest.objects.values_list("request_id", flat=True)
    assert sorted(written) == ["0", "1", "4", "5", "6"]
    assert not writes.flush()
    assert caplog.text.count("can't be journaled") == 2
    assert "long" + "long" not in caplog.text


def test_a_refusal_that_is_no_duplicate_is_not_journaled(client: Client) -> None:
    post(client, "/plain/", key="tok_" + "x" * 40)
    post(client, "/plain/", key=None)
    assert outcomes() == []


def test_a_response_that_says_so_is_a_duplicate_under_another_key(db: None) -> None:
    def superseded() -> HttpResponse:
        response = HttpResponse(status=409)
        response.idempotency_superseded = True  # type: ignore[attr-defined]
        return response

    respond_once(Claim("s", "one", subject="thing:1"), HttpResponse, wait_seconds=0)
    for _ in range(2):
        respond_once(Claim("s", "two", subject="thing:1"), superseded, wait_seconds=0)

    assert outcomes() == ["superseded", "replayed"]


def test_times_are_those_of_the_databases_clock(db: None, journal: Recorder) -> None:
    journal.add(row(ended=time.monotonic() - 20, seconds=40))
    with patch("time.time", return_value=0.0):
        recorder.flush()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM now() - received_at) "
            "FROM idempotency_journal_journaledrequest"
        )
        assert 60 <= float(cursor.fetchone()[0]) < 90


def test_rows_are_in_order_however_long_their_processes_take_to_write(
    db: None, journal: Recorder
) -> None:
    """The first to be received may be the last to be written, by a process that is held up."""
    first = row(request_id="1", seconds=0)
    second = row(request_id="2", seconds=0, ended=first.ended + 0.1)
    execute, held_up = CursorWrapper.execute, iter([0.3])

    def slow(self: Any, sql: str, params: Any = None) -> Any:
        if sql == recorder.INSERT:
            time.sleep(next(held_up, 0))
        return execute(self, sql, params)

    with patch.object(CursorWrapper, "execute", slow):
        for each in (first, second):
            journal.add(each)
            journal.flush()

    written = list(JournaledRequest.objects.order_by("received_at"))
    assert [each.request_id for each in written] == ["1", "2"]
    apart = (written[1].received_at - written[0].received_at).total_seconds()
    assert apart == pytest.approx(0.1, abs=0.09)  # by two readings of the database's clock


def test_a_batch_whose_commit_was_not_confirmed_is_added_once(db: None, journal: Recorder) -> None:
    for _ in range(3):
        journal.add(row())
    insert = recorder._insert

    def lost(rows: Any) -> None:
        insert(rows)
        raise OperationalError("the connection was lost")

    with patch.object(recorder, "_insert", lost), pytest.raises(OperationalError):
        journal.flush()
    assert JournaledRequest.objects.count() == 3
    journal.add(row())
    journal.flush()
    journal.flush()

    assert JournaledRequest.objects.count() == 4


def test_many_rows_are_written_in_batches_and_none_twice(db: None, journal: Recorder) -> None:
    for _ in range(recorder.BATCH + 5):
        journal.add(row())
    journal.flush()
    assert JournaledRequest.objects.count() == recorder.BATCH + 5


def test_a_writer_keeps_its_connection_while_there_are_rows(
    journal: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, insert, close = Writer(journal, seconds=0), Mock(), Mock()
    monkeypatch.setattr(recorder, "_insert", insert)
    monkeypatch.setattr(connections, "close_all", close)

    def closes(*, rows: int) -> bool:
        for _ in range(rows):
            journal.add(row())
        close.reset_mock()
        writer._write()
        return bool(close.called)

    assert [closes(rows=rows) for rows in (1, 2, 0, 1)] == [False, False, True, False]
    insert.side_effect = OperationalError("lost")
    assert closes(rows=1)
    insert.side_effect = None
    assert not closes(rows=1)
    last = Writer(journal, seconds=60)
    last.start()
    journal.add(row())
    last.stop()
    assert close.called  # at its end


def test_what_is_too_much_is_dropped_counted_and_logged(
    db: None, settings: Any, journal: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    settings.IDEMPOTENCY = {"JOURNAL_ROWS_MAX": 2}
    seen: list[bool] = []

    def receive(dropped: bool, **_: Any) -> None:
        seen.append(dropped)

    journaled.connect(receive)
    try:
        for number in range(3):
            with pytest.raises(errors.KeyReused):
                reuse(f"k{number}")
    finally:
        journaled.disconnect(receive)
    assert seen == [False, False, True]
    assert journal.dropped == 1
    with caplog.at_level(logging.WARNING, "idempotency"), patch.object(journal, "flush"):
        writer = Writer(journal, seconds=60)
        writer.start()
        writer.stop()
    assert "the journal dropped 1 rows" in caplog.text


def reuse(key: str) -> None:
    for path in ("/one/", "/two/"):
        claim = Claim("s", key, Content(method="POST", path=path))
        respond_once(claim, HttpResponse, wait_seconds=0)


def test_a_writer_goes_on_after_an_error(
    db: None, journal: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    journal.add(row())
    insert, failures = recorder._insert, iter([OperationalError("down")])

    def failing(rows: Any) -> None:
        if error := next(failures, None):
            raise error
        insert(rows)

    with patch.object(recorder, "_insert", failing), caplog.at_level(logging.WARNING):
        writer = Writer(journal, seconds=0.05)
        writer.start()
        until(lambda: JournaledRequest.objects.count() == 1)
        writer.stop()
        writer.stop()
    assert "the journal is not written yet: down" in caplog.text


def test_old_rows_are_purged_with_the_records_and_younger_ones_stay(
    db: None, settings: Any, journal: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.IDEMPOTENCY = {"JOURNAL_RETENTION": timedelta(hours=1)}
    for seconds in (3500, 3700, 3800):
        journal.add(row(ended=time.monotonic() - seconds))
    journal.flush()

    call_command("purge_idempotency_records", batch=1)

    assert "2 journaled requests deleted" in capsys.readouterr().out
    assert JournaledRequest.objects.count() == 1


def test_an_erased_scope_is_forgotten(db: None, journal: Recorder) -> None:
    journal.add(row(scope="user:1"))
    journal.add(row(scope="user:2"))
    journal.flush()

    erase_scope("user:1")

    assert [each.scope for each in JournaledRequest.objects.all()] == ["user:2"]


def test_a_server_writes_its_rows_while_it_runs_and_at_its_end(
    client: Client, tmp_path: Path
) -> None:
    with server(tmp_path) as live:
        live.post("/plain/", client)
        live.post("/plain/", client)
        until(lambda: JournaledRequest.objects.count() == 1)
        live.post("/plain/", client)
        live.process.send_signal(signal.SIGINT)
        live.process.wait(30)
    assert JournaledRequest.objects.count() == 2
    assert charges() == 1


def test_the_first_row_starts_the_writer_of_a_process_and_no_other(db: None) -> None:
    started: list[float] = []
    with patch.object(recorder, "_start", started.append):
        recorder.record(row())
        with patch.object(recorder, "_is_running", return_value=True):
            recorder.record(row())
    assert started == [1.0]


def test_without_an_interval_only_flush_writes(db: None, settings: Any) -> None:
    settings.IDEMPOTENCY = {"JOURNAL_SECONDS": None}
    started: list[float] = []
    with patch.object(recorder, "_start", started.append):
        recorder.record(row())
    assert not started
    assert outcomes() == ["replayed"]


def test_the_admin_shows_the_journal_and_changes_nothing(journal: Recorder, alice: Any) -> None:
    alice.is_staff = alice.is_superuser = True
    alice.save()
    client = Client()
    client.force_login(alice)
    journal.add(row(subject="thing:1"))
    journal.flush()
    one = JournaledRequest.objects.get()
    address = f"/admin/idempotency_journal/journaledrequest/{one.pk}/change/"

    assert "got the first response again" in client.get(address).text
    assert client.post(address, {"subject": "other"}).status_code == 403
    listed = client.get("/admin/idempotency_journal/journaledrequest/?q=thing:1")
    assert "1 journaled request" in listed.text
