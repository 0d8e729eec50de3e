"""The lab's page over HTTP: real runs in processes of their own, and what it shows of them."""

import fcntl
import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from gettext import GNUTranslations
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.utils.translation import override

from lab.expected import ERROR, EXPECTED, FIRST, REFUSED
from lab.harness import command, second_database, statements
from lab.harness.scenarios import SCENARIOS
from lab.harness.scheduler import LabError
from lab.harness.shutdown import die_with_parent
from lab.mechanisms import NAMES, NEED_SECOND_DATABASE
from lab.page import forms, pictures, recording, runs, wording
from lab.page.attempt import CHARGED, AttemptKind, Part
from lab.page.drawing import TimeScale
from lab.page.forms import MECHANISMS_DEFAULT
from lab.page.parts import parts_of
from lab.page.pictures import PICTURES
from lab.page.timeline import ScenarioTimeline
from tests.lab.conftest import REDIS, Manage, need_redis
from tests.lab.test_command import SCHEMAS, SESSIONS, count
from tests.support.live import ROOT, database_url, descendants, ended, is_running, until
from tests.support.tiers import starts_processes
from tests.support.together import together

HERE = tuple(name for name in NAMES if name not in {*REDIS, *NEED_SECOND_DATABASE})
PAGE_BYTES_MAX = 60_000


@pytest.fixture(scope="module", autouse=True)
def folder(
    tmp_path_factory: pytest.TempPathFactory, django_db_setup: None, django_db_blocker: Any
) -> Iterator[Path]:
    """Keep the runs of these tests apart from a developer's, and on the test database."""
    place = tmp_path_factory.mktemp("runs")
    with django_db_blocker.unblock():
        url = database_url(connection.get_connection_params())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "FOLDER", place)
        patch.setenv("DATABASE_URL", url)
        patch.setenv("DEBUG", "true")
        yield place


@pytest.fixture(autouse=True)
def _quiet(folder: Path) -> Iterator[None]:
    """Leave no process to the next test."""
    yield
    until(lambda: not processes(), what="all runs are over")


@pytest.fixture
def held(folder: Path) -> Iterator[str]:
    """Return a run that is under way for the time of the test."""
    run = chosen()["run"]
    file = folder / f"{run}.jsonl"
    choice = {"scenario": "double_click", "mechanisms": list(MECHANISMS_DEFAULT), "clicks": 10}
    file.write_text(f"{json.dumps(choice)}\n")
    with file.open() as recorded:
        fcntl.flock(recorded, fcntl.LOCK_EX)
        yield run
    file.unlink()


@pytest.fixture(scope="module")
def finished(folder: Path, django_db_blocker: Any) -> str:
    """Return the address of a finished run of what the page proposes."""
    with django_db_blocker.unblock():
        return run_to_end(Client(), mechanism=list(MECHANISMS_DEFAULT))


@pytest.fixture(scope="module")
def everything(folder: Path, django_db_blocker: Any) -> str:
    """Return the address of a finished run of all there is to choose here."""
    with django_db_blocker.unblock():
        here = [name for name in forms.runnable() if name not in REDIS]
        return run_to_end(Client(), mechanism=here, clicks="25")


def chosen(**other: Any) -> dict[str, Any]:
    """Return a form's fields."""
    fields = {"run": str(uuid4()), "scenario": "double_click", "mechanism": ["naive"]}
    return fields | {"clicks": "10"} | other


@starts_processes
def run_to_end(client: Client, **fields: Any) -> str:
    """Start a run as the page does, and return its address when it is over."""
    response = client.post("/lab/runs/", chosen(**fields))
    assert response.status_code == 303, response.content.decode()
    address = str(response["Location"])
    until(lambda: "data-over" in read(client, address), seconds=90, what="the run is over")
    return address


def read(client: Client, address: str, **options: Any) -> str:
    return client.get(address, **options).content.decode()


def part(page: str, name: str) -> str:
    """Return a mechanism's part of a page."""
    section = re.search(rf'<section id="{name}".*?</section>', page, re.DOTALL)
    assert section, page
    return section[0]


def processes() -> set[int]:
    """Return the processes of the runs of these tests that live.

    (Each leads its group: what it forks has its name, too, until that executes another command.)
    """
    return {
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if f"--watch={runs.FOLDER}/" in command_line(process)
        and is_running(int(process.name))
        and leads_its_group(int(process.name))
    }


def leads_its_group(pid: int) -> bool:
    try:
        return os.getpgid(pid) == pid
    except ProcessLookupError:  # it has just ended
        return False


def most_at_once(address: str) -> int:
    """Return how many processes there were at most, until a run is over.

    (Not how many there are now: a process that is just executing another command has no name.)
    """
    seen: list[int] = []

    def is_over() -> bool:
        seen.append(len(processes()))
        return "data-over" in read(Client(), address)

    until(is_over, seconds=90, what="the run is over")
    return max(seen)


def command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:  # it has just ended
        return ""


class Reader(HTMLParser):
    """Collects a page's texts outside of code, and the labels in its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._within: list[str] = []
        self.feed(
            re.sub(r"<header.*?</header>|<a class=\"skip\".*?</a>", "", page, flags=re.DOTALL)
        )

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts += [value for name, value in attrs if name == "aria-label" and value]
        if tag in {"code", "pre"}:
            self._within.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in {"code", "pre"}:
            self._within.remove(tag)

    def handle_data(self, data: str) -> None:
        if not self._within:
            self.texts.append(data.strip())


def untranslated(page: str) -> list[str]:
    """Return the texts with Latin words and no Chinese."""
    return [
        text
        for text in Reader(page).texts
        if re.search(r"[A-Za-z]{2,}", text) and not re.search(r"[\u4e00-\u9fff]", text)
    ]


def test_the_form_proposes_the_naive_mechanism_beside_others(client: Client) -> None:
    page = read(client, "/lab/")
    ticked = re.findall(r'name="mechanism" value="(\w+)"[^>]* checked', page)
    offered = re.findall(r'name="mechanism" value="(\w+)"', page)
    assert ticked == list(MECHANISMS_DEFAULT)
    assert offered == list(NAMES)
    assert re.findall(r'<option value="(\w+)"', page) == list(SCENARIOS)
    assert set(re.findall(r'<label for="([\w-]+)"', page)) >= set(
        re.findall(r' id="(m-\w+)"', page)
    )


def test_every_page_of_the_form_has_a_run_of_its_own(client: Client) -> None:
    first, second = (re.findall(r'name="run" value="(.+?)"', read(client, "/lab/")) for _ in "12")
    assert first != second


def test_a_finished_runs_choice_can_be_changed_and_run(client: Client, finished: str) -> None:
    (link,) = re.findall(r'id="change" href="(.+?)"', read(client, finished))
    page = read(client, link.replace("&amp;", "&"))
    assert re.findall(r'value="(\w+)"[^>]* checked', page) == list(MECHANISMS_DEFAULT)
    assert 'value="double_click" selected' in page


def test_a_run_shows_that_naive_charged_ten_times_and_a_request_id_once(
    client: Client, finished: str
) -> None:
    page = read(client, finished)
    naive, once = part(page, "naive"), part(page, "request_id")
    assert "Every mechanism did what was expected" in page
    assert "Charged 10 times" in naive
    assert "900 cents too much" in naive
    assert "nothing recognises a duplicate" in naive
    assert naive.count(f'<svg class="{AttemptKind.DUPLICATE_CHARGE}" ') == 9
    assert "Charged once" in once
    assert "10 × first result" in once
    assert once.count('<svg class="executed" ') == 1
    assert once.count('<svg class="replayed" ') == 9
    assert 'href="/lab/source/request_id/"' in once


def test_a_click_that_waits_for_a_lock_is_shown_as_waiting_in_drawing_and_table(
    client: Client, finished: str
) -> None:
    once = part(read(client, finished), "request_id")
    waited = [float(cell) for cell in re.findall(r'<td class="number">([\d.]+)</td><td>repl', once)]
    assert len(waited) == 9
    assert any(waited)
    assert 'fill="url(#stripes)"' in once


def bar_parts(page: str) -> dict[str, str]:
    """Return the statements of each part in a list of parts, by the part's name and its clicks."""
    (parts,) = re.findall(r'<ol class="bar-parts">.*?</ol>', page, re.DOTALL)
    items = re.findall(r"<li[^>]*><strong>(.*?)</strong>.*?</span>(.*?)</li>", parts)
    assert len(items) == len(dict(items)), "each part is listed once"
    return dict(items)


def test_the_parts_of_a_bar_are_named_with_the_statements_that_ran_in_them(
    client: Client, finished: str
) -> None:
    page = read(client, finished)
    naive, once = bar_parts(part(page, "naive")), bar_parts(part(page, "request_id"))

    assert set(once) >= {"check", "charge", "commit", "respond", "no charge"}
    assert "INSERT INTO request" in once["check"]
    assert "UPDATE account SET balance = balance - " in once["charge"]
    assert "UPDATE account" not in once["no charge"]
    assert once["commit"] == "<code>COMMIT</code>"
    assert "check" not in naive, "it checks nothing"
    lane = re.findall(r'data-spans="([\d. -]+)"', part(page, "lanes"))
    assert "<title>charge</title>" in part(page, "lanes"), "and on the bar itself"
    assert lane
    assert all(0 <= float(each) <= 1 for spans in lane for each in re.split("[ -]", spans))


def test_a_part_ends_with_its_event_and_a_wait_is_that_of_the_statement_that_waits() -> None:
    timeline = ScenarioTimeline("request_id", 1000, 100)
    events: list[dict[str, Any]] = [
        {"event": "sent", "click": 0, "order": "o"},
        {"event": "arrived", "action": "hold"},
        {"event": "resumed"},
        {"event": "checked", "sql": ["INSERT INTO request"]},
        {"event": "blocked", "sql": ["UPDATE account"]},
        {"event": "unblocked"},
        {"event": "before-commit", "sql": ["UPDATE account", "UPDATE request"]},
        {"event": "after-commit", "sql": []},
        {"event": "responded", "status": 200, "text": "100 paid, 900 left", "sql": []},
    ]
    for ms, event in enumerate(events):
        timeline.apply({"click": 0, "ms": ms} | event)
    timeline.classify()

    parts = parts_of(timeline, TimeScale(0, 10))

    charge = ("UPDATE account", "UPDATE request")
    assert [(each.name, each.statements, each.spans) for each in parts] == [
        (Part.CHECK, ("INSERT INTO request",), "0.200-0.300"),
        (Part.WAIT, ("UPDATE account",), "0.400-0.500"),
        (Part.CHARGE, charge, "0.300-0.400 0.500-0.600"),
        (Part.COMMIT, ("COMMIT",), "0.600-0.700"),
        (Part.RESPOND, (), "0.700-0.800"),
    ]
    assert timeline.attempts[0].waited_ms(10) == 1


def test_a_value_of_a_click_alone_is_not_shown_in_its_statements() -> None:
    sent = {
        "SET lab:request:8f6cb42b-9b39-434f-97b6-d4f814c9bbae 1 NX EX 86400": (
            "SET lab:request:… 1 NX EX 86400"
        ),
        f"GETDEL lab:token:289448091:{'cZ-_' * 11}": "GETDEL lab:token:…:…",
        "COMMIT PREPARED 'lab_fa50837d_d98cb08b-2ebf-40e6-a613-0de9e0fac6da_2077b5fe_order'": (
            "COMMIT PREPARED 'lab_…_…_…_order'"
        ),
        "\n  UPDATE account\n   SET balance = 0": "UPDATE account SET balance = 0",
    }
    statements.begin()
    for statement in sent:
        statements.add(statement)
    assert statements.read_new() == list(sent.values())
    assert statements.read_new() == []
    assert statements.count() == len(sent)


def test_the_balance_is_what_the_database_had(client: Client, finished: str, folder: Path) -> None:
    run = recording.read(folder / f"{finished.split('/')[-2]}.jsonl")
    balances = {name: timeline.balances for name, timeline in run.timelines.items()}
    assert balances["naive"][0][1] == 100_000
    assert balances["naive"][-1][1] == 99_000
    assert [balance for _, balance in balances["request_id"]] == [100_000, 99_900]


@pytest.mark.parametrize("scenario", ["two_tabs", "rpc_retry", "crash_after_commit"])
def test_as_many_attempts_are_shown_as_charged_as_the_account_was_charged(
    scenario: str, manage: Manage, tmp_path: Path
) -> None:
    file = tmp_path / "run.jsonl"
    choice = {"scenario": scenario, "mechanisms": list(NAMES), "clicks": 3}
    file.write_text(f"{json.dumps(choice)}\n")
    ran = manage("lab", "--scenario", scenario, "--clicks", "3", "--watch", str(file))
    assert ran.returncode == 0, ran.stderr
    run = recording.read(file)
    assert run.error == ""
    assert set(run.timelines) >= set(HERE)
    for timeline in run.timelines.values():
        shown = sum(each.kind in CHARGED for each in timeline.attempts)
        assert timeline.result is not None
        assert shown == timeline.charges == timeline.result["charges"], timeline


@pytest.mark.parametrize(
    ("scenario", "mechanism", "tone", "loss"),
    [
        ("two_orders_one_balance", "naive", "bad", "overdrawn by 100 cents"),
        ("two_orders_one_balance", "natural", "bad", "100 cents were never taken"),
        ("increment", "natural", "bad", "counted up 2 times too often"),
        ("crash_before_commit", "token_local", "busy", "can&#x27;t pay any more"),
    ],
)
def test_a_loss_is_shown(
    scenario: str, mechanism: str, tone: str, loss: str, client: Client
) -> None:
    address = run_to_end(client, scenario=scenario, mechanism=[mechanism], clicks="3")
    panel = part(read(client, address), mechanism)
    assert loss in panel
    assert f'class="verdict {tone}"' in panel


@starts_processes
def test_a_form_sent_twice_starts_one_run(client: Client, folder: Path) -> None:
    fields, before = chosen(clicks="2"), len(list(folder.glob("*.jsonl")))
    first = client.post("/lab/runs/", fields)
    second = client.post("/lab/runs/", fields)
    assert (first.status_code, second.status_code) == (303, 303)
    assert first["Location"] == second["Location"]
    assert most_at_once(first["Location"]) == 1
    assert len(list(folder.glob("*.jsonl"))) == before + 1


def test_a_form_sent_after_its_run_leads_to_it_and_starts_nothing(client: Client) -> None:
    fields = chosen(clicks="2")
    address = run_to_end(client, **fields)
    until(lambda: not processes(), what="the run's process has ended")
    before = read(client, address)
    duplicate = client.post("/lab/runs/", fields | {"mechanism": ["natural"]})
    assert duplicate["Location"] == address
    assert not processes()
    assert part(read(client, address), "naive") == part(before, "naive")


@starts_processes
def test_two_at_the_same_instant_start_one_run(folder: Path) -> None:
    fields, before = chosen(clicks="2"), len(list(folder.glob("*.jsonl")))
    responses = together(8, lambda _: Client().post("/lab/runs/", fields))
    assert [response.status_code for response in responses] == [303] * 8
    assert len({response["Location"] for response in responses}) == 1
    assert most_at_once(responses[0]["Location"]) == 1
    assert len(list(folder.glob("*.jsonl"))) == before + 1


@starts_processes
def test_of_four_runs_at_the_same_instant_one_starts_and_the_others_get_a_409() -> None:
    forms = [chosen(clicks="2") for _ in range(4)]
    responses = together(4, lambda number: Client().post("/lab/runs/", forms[number]))
    assert sorted(response.status_code for response in responses) == [303, 409, 409, 409]
    (started,) = (each["Location"] for each in responses if each.status_code == 303)
    assert most_at_once(started) == 1


def test_while_a_run_is_under_way_another_one_is_led_to_it(client: Client, held: str) -> None:
    fields = chosen(mechanism=["naive", "natural"], clicks="3")
    refused = client.post("/lab/runs/", fields)
    page = refused.content.decode()
    assert refused.status_code == 409
    assert f'href="/lab/runs/{held}/"' in page
    assert not processes()
    # The choice is kept, and the run is still the page's.
    assert f'value="{fields["run"]}"' in page
    assert re.findall(r'value="(\w+)"[^>]* checked', page) == ["naive", "natural"]


def test_a_run_whose_process_has_gone_is_shown_as_ended_and_blocks_no_other(
    client: Client, folder: Path
) -> None:
    gone = uuid4()
    choice = {"scenario": "double_click", "mechanisms": ["naive"], "clicks": 2}
    runs.recording_of(gone).write_text(f"{json.dumps(choice)}\n")
    page = read(client, f"/lab/runs/{gone}/")
    assert "ended early" in page
    assert "lab.js" not in page
    assert run_to_end(client, clicks="2")


PARENT = """
import signal, sys
from pathlib import Path
from uuid import UUID
import django
django.setup()
from lab.page import runs
runs.FOLDER = Path(sys.argv[1])
runs.start(UUID(sys.argv[2]), runs.RunChoice("double_click", sys.argv[3:], 25))
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_ends_with_the_server_that_started_it_and_leaves_no_tables(
    number: signal.Signals, transactional_db: None, tmp_path: Path
) -> None:
    if not die_with_parent("TERM"):
        pytest.skip("there is no setpriv")
    run = uuid4()
    server = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), str(run), *HERE],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings"},
    )
    with ended(server):
        until(lambda: count(SESSIONS) >= 3, what="the run and both servers are in the database")
        family = descendants(server.pid)
        assert any("--watch=" in line for line in family.values())

        server.send_signal(number)
        server.wait(60)

    until(lambda: not any(map(is_running, family)), what="its processes are gone")
    assert count(SCHEMAS) == 0
    assert not runs.has_process(tmp_path / f"{run}.jsonl")
    assert recording.read(tmp_path / f"{run}.jsonl").error == "it was interrupted"


def test_a_run_is_over_at_the_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(command, "RUN_SECONDS_MAX", 0.05)
    endless = threading.Event()
    with pytest.raises(LabError), command.record_to(tmp_path / "run.jsonl"):
        endless.wait(30)
    assert "interrupted" in (tmp_path / "run.jsonl").read_text()


def test_the_oldest_recordings_are_deleted(
    client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(runs, "FOLDER", tmp_path)
    for age in range(30):
        old = runs.recording_of(uuid4())
        old.write_text("{}\n")
        os.utime(old, (1000 + age, 1000 + age))
    run_to_end(client, clicks="2")
    left = sorted(file.stat().st_mtime for file in tmp_path.glob("*.jsonl"))
    assert len(left) == runs.RECORDINGS_MAX
    assert left[0] == 1000 + 30 - (runs.RECORDINGS_MAX - 1)


@pytest.mark.parametrize(
    "address",
    [
        "/lab/source/hope/",
        "/lab/source/__init__/",
        "/lab/source/..%2Fbank/",
        f"/lab/runs/{UUID(int=7)}/",
        f"/lab/runs/{UUID(int=7)}/now/",
        "/lab/runs/no-uuid/",
    ],
)
def test_an_unknown_address_is_a_404(address: str, client: Client) -> None:
    assert client.get(address).status_code == 404


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scenario": "hope"}, "Choose one of the scenarios"),
        ({"mechanism": []}, "Choose at least one"),
        ({"mechanism": ["hope"]}, "Choose at least one"),
        ({"clicks": "1"}, "2 to 25"),
        ({"clicks": "26"}, "2 to 25"),
        ({"clicks": "9" * 5000}, "2 to 25"),
        ({"clicks": "many"}, "2 to 25"),
        ({"run": "x"}, "no run of its own"),
    ],
)
def test_a_choice_that_cannot_run_gets_a_message_above_the_form(
    wrong: dict[str, Any], message: str, client: Client, folder: Path
) -> None:
    before = set(folder.iterdir())
    response = client.post("/lab/runs/", chosen(**wrong))
    assert response.status_code == 400
    assert message in response.content.decode()
    assert '<form method="post" action="/lab/runs/"' in response.content.decode()
    assert set(folder.iterdir()) == before


def test_a_run_is_started_by_post_alone(client: Client) -> None:
    assert client.get("/lab/runs/").headers["Location"] == "/lab/"


def test_without_a_redis_its_mechanisms_cannot_be_chosen_and_the_page_shows_why(
    client: Client, monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    settings.REDIS_URL = ""
    page = read(client, "/lab/")
    disabled = re.findall(r'value="(\w+)" aria-describedby="[\w-]+"[^>]* disabled', page)
    assert [name for name in disabled if name not in NEED_SECOND_DATABASE] == list(REDIS)
    assert page.count("Needs Redis") == len(REDIS)
    response = client.post("/lab/runs/", chosen(mechanism=["token_redis"]))
    assert response.status_code == 400


def test_without_a_second_database_its_mechanism_cannot_be_chosen_and_the_page_shows_why(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_database, "PREPARED_MIN", 10_000)
    page = read(client, "/lab/")
    disabled = re.findall(r'value="(\w+)" aria-describedby="[\w-]+"[^>]* disabled', page)
    assert set(disabled) >= NEED_SECOND_DATABASE
    assert page.count("Needs a second database") == len(NEED_SECOND_DATABASE)
    response = client.post("/lab/runs/", chosen(mechanism=["distributed_transaction"]))
    assert response.status_code == 400


def test_with_a_redis_its_mechanisms_are_run(client: Client) -> None:
    need_redis()
    address = run_to_end(client, mechanism=["distributed_lock"], clicks="3")
    assert "Charged once" in part(read(client, address), "distributed_lock")


@pytest.mark.parametrize("mechanism", NAMES)
def test_a_mechanisms_source_is_shown_with_its_docstring(mechanism: str, client: Client) -> None:
    page = read(client, f"/lab/source/{mechanism}/")
    assert "def pay(click: PayClick) -&gt; str:" in page
    assert str(wording.explain(mechanism).does_not_stop) in page


def test_the_lab_has_no_address_where_it_is_not_enabled() -> None:
    code = "import django; django.setup(); from django.urls import resolve; resolve('/lab/')"
    production = {"DEBUG": "false", "SECRET_KEY": "x" * 50, "HTTPS": "false"}
    environment = {"DJANGO_SETTINGS_MODULE": "config.settings"} | production
    for pooler, debug in (("false", "false"), ("true", "true")):
        ran = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | environment | {"DEBUG": debug, "DATABASE_POOLER": pooler},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Resolver404" in ran.stderr


def test_a_page_that_has_not_changed_is_a_304(client: Client, held: str, folder: Path) -> None:
    first = client.get(f"/lab/runs/{held}/now/")
    known = {"If-None-Match": first["ETag"]}
    unchanged = client.get(f"/lab/runs/{held}/now/", headers=known)
    assert (first.status_code, unchanged.status_code) == (200, 304)
    with (folder / f"{held}.jsonl").open("a") as recorded:
        recorded.write(
            '{"event": "scenario-started", "ms": 0, "mechanism": "naive",'
            ' "scenario": "double_click"}\n'
        )
    changed = client.get(f"/lab/runs/{held}/now/", headers=known)
    assert changed.status_code == 200
    assert "Running naive, 1 of 4" in changed.content.decode()


def test_a_recording_that_is_being_written_is_read_up_to_its_last_whole_line(
    client: Client, held: str, folder: Path, finished: str
) -> None:
    whole = (folder / f"{finished.split('/')[-2]}.jsonl").read_text()
    file = folder / f"{held}.jsonl"
    for end in range(len(whole.partition("\n")[0]) + 1, len(whole) // 3, 97):
        file.write_text(whole[:end])
        assert client.get(f"/lab/runs/{held}/now/").status_code == 200


def addresses(finished: str, held: str) -> list[str]:
    sources = [f"/lab/source/{name}/" for name in NAMES]
    return ["/lab/", finished, f"{finished}now/", f"/lab/runs/{held}/", *sources]


def test_every_page_is_in_chinese_too(finished: str, everything: str, held: str) -> None:
    client = Client(headers={"Accept-Language": "zh-CN"})
    pages = [read(client, address) for address in [*addresses(finished, held), everything]]
    pages += [
        client.post("/lab/runs/", chosen(clicks="1", run="x", mechanism=[])).content.decode(),
        client.post("/lab/runs/", chosen()).content.decode(),
    ]
    assert 'lang="zh-hans"' in pages[0]
    assert {text for page in pages for text in untranslated(page)} == set()


def test_every_reason_scenario_and_word_is_translated() -> None:
    reasons = {cell.reason for row in EXPECTED.values() for cell in row.cells.values()} - {""}
    with override("zh-hans"):
        texts = [str(wording.translate(text)) for text in reasons]
        texts += [str(wording.translate(each.description)) for each in SCENARIOS.values()]
        texts += [wording.title(name) for name in (*SCENARIOS, *NAMES)]
        texts += [str(word) for word in wording.KIND_LABELS.values()]
    assert [text for text in texts if not re.search(r"[\u4e00-\u9fff]", text)] == []


def test_the_compiled_translation_is_that_of_the_texts() -> None:
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po

    folder, fresh = ROOT / "lab" / "locale" / "zh_Hans" / "LC_MESSAGES", io.BytesIO()
    with (folder / "django.po").open("rb") as po:
        write_mo(fresh, read_po(po))
    fresh.seek(0)
    with (folder / "django.mo").open("rb") as mo:
        compiled, written = GNUTranslations(mo), GNUTranslations(fresh)
    texts = [vars(each)["_catalog"] | {"": ""} for each in (compiled, written)]  # "": its header
    assert texts[0] == texts[1]


def test_pages_have_no_inline_script_or_style_and_load_nothing_from_elsewhere(
    client: Client, finished: str, held: str
) -> None:
    for address in addresses(finished, held):
        page = re.sub(r"<pre.*?</pre>", "", read(client, address), flags=re.DOTALL)
        assert not re.findall(r"\bstyle=|<style|<script(?! src=)|\bon\w+=|javascript:", page)
        assert not re.findall(r"(?:src|href|action)=\"(?![/#])[^\"]*", page)


def test_drawings_have_a_name_a_description_and_a_table(client: Client, finished: str) -> None:
    page = read(client, finished)
    for name in MECHANISMS_DEFAULT:
        panel = part(page, name)
        assert f'role="img" aria-labelledby="{name}-t {name}-d"' in panel
        assert f'<title id="{name}-t">' in panel
        assert f'<desc id="{name}-d">' in panel
        assert panel.count("<tr>") >= 10


def test_identifiers_on_a_page_are_unique(client: Client, everything: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', read(client, everything))
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("address", ["form", "finished", "everything"])
@starts_processes
def test_a_page_with_its_style_and_script_is_small(
    address: str, client: Client, request: pytest.FixtureRequest
) -> None:
    own = "/lab/" if address == "form" else request.getfixturevalue(address)
    response = client.get(own, headers={"Accept-Encoding": "gzip"})
    assert response["Content-Encoding"] == "gzip"
    files = [
        finders.find(name) for name in ("page.css", "lab/lab.css", "lab/lab.js", "lab/player.js")
    ]
    sent = len(response.content) + sum(Path(str(file)).stat().st_size for file in files)
    assert gzip.decompress(response.content)
    assert sent < PAGE_BYTES_MAX, sent


def test_a_run_under_way_is_polled_by_script_and_can_be_reloaded_without(
    client: Client, held: str, finished: str
) -> None:
    live, over = read(client, f"/lab/runs/{held}/"), read(client, finished)
    assert "lab/lab.js" in live
    assert f'data-progress="/lab/runs/{held}/now/"' in live
    assert re.search(rf'<noscript>.*href="/lab/runs/{held}/".*</noscript>', live, re.DOTALL)
    assert 'role="status"' in live
    assert "lab/lab.js" not in over, "nothing is polled"


def test_the_matrix_of_the_start_page_is_that_of_expected_and_each_cell_is_a_run(
    client: Client,
) -> None:
    page = read(client, "/lab/")
    cells = re.findall(
        r'<button name="cell" value="(\w+) (\w+)" class="(\w+)"[^>]*>(\d+)(!?)<', page
    )

    assert {(mechanism, scenario) for mechanism, scenario, *_ in cells} == {
        (mechanism, scenario) for mechanism in EXPECTED for scenario in SCENARIOS
    }
    for mechanism, scenario, tone, charges, error in cells:
        cell = EXPECTED[mechanism].cell(scenario, clicks=10)
        assert charges == ("0" if isinstance(cell.charges, str) else str(cell.charges))
        assert (error == "!") == (cell.duplicate_result == ERROR)
        is_once = cell.charges == 1
        assert (tone == "bad") == (not is_once and cell.charges != REFUSED)
        assert (tone == "good") == (is_once and cell.duplicate_result == FIRST)


def test_each_scenario_is_a_card_with_its_sentence_and_a_drawing_of_its_own(client: Client) -> None:
    page = read(client, "/lab/")
    drawings = []
    for name, scenario in SCENARIOS.items():
        (card,) = re.findall(rf'<li id="s-{name}">.*?</li>', page, re.DOTALL)
        (drawing,) = re.findall(r'<svg class="picture" aria-hidden="true".*</svg>', card, re.DOTALL)
        assert str(wording.translate(scenario.description)) in card
        drawings.append(drawing)
    assert len(set(drawings)) == len(SCENARIOS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenarios_drawing_shows_what_its_steps_do(name: str) -> None:
    rows = PICTURES[name].rows
    spans = [span for row in rows for span in (*row.bars, *([row.held] if row.held else []))]
    assert all(start > 0 and start + width <= pictures.WIDTH for start, width in spans)
    pages = {row.page for row in rows}
    assert (len(pages) > 1) == (name in {"two_tabs", "two_orders_one_balance"})
    assert any(row.lost for row in rows) == (name == "rpc_retry" or name.startswith("crash"))
    assert any(row.held for row in rows) == (name == "slow_owner")
    starts = [row.bars[0][0] for row in rows]
    is_together = name in {"double_click", "two_tabs", "two_orders_one_balance", "increment"}
    assert (len(set(starts)) == 1) == is_together


@starts_processes
def test_a_cell_plays_its_mechanism_beside_the_naive_one(client: Client) -> None:
    fields = {"run": str(uuid4()), "cell": "request_id double_click"}
    first = client.post("/lab/runs/", fields)
    other = client.post("/lab/runs/", fields | {"cell": "naive no_such"})
    second = client.post("/lab/runs/", fields)

    assert first["Location"] == second["Location"], "a click twice is one run"
    assert other.status_code == 400
    address = first["Location"]
    until(lambda: "data-over" in read(client, address), seconds=90, what="the run is over")
    page = read(client, address)
    lanes = part(page, "lanes")
    assert re.findall(r'data-lane="(\w+)"', lanes) == ["naive", "request_id"]
    ticks = [
        re.findall(r'class="grid" x1="([\d.]+%)"', lane) for lane in lanes.split("<figure")[1:]
    ]
    assert ticks[0] == ticks[1], "both have the same axis"
    panel = part(page, "request_id")
    assert "Charged by: " in panel
    assert "Got the first result: " in panel


def test_numbers_are_shown_in_ranges() -> None:
    assert wording.in_ranges([1, 3, 4, 5, 7, 8]) == "1, 3–5, 7–8"
    assert wording.in_ranges([]) == ""
