"""The comparison with other packages: its verdicts, and that its README shows what it measures."""

import re
from pathlib import Path

import pytest

from benchmarks.packages import checks, report, verdicts
from benchmarks.packages.catalogue import CHECKS, CONTENDERS, OURS
from benchmarks.packages.verdicts import Charge, Reply

ROOT = Path(__file__).resolve().parents[2] / "benchmarks" / "packages"
README = (ROOT / "README.md").read_text()

FIRST, SECOND, OF_BOB = Charge(1, 7, 100), Charge(2, 7, 900), Charge(2, 8, 100)


def reply(charge: Charge, status: int = 201) -> Reply:
    body = f'{{"charge": {charge.charge}, "account": {charge.account}, "amount": {charge.amount}}}'
    return Reply(status, body.encode())


@pytest.mark.parametrize(
    ("charges", "last", "verdict"),
    [
        ([FIRST], reply(FIRST), "1 charge"),
        ([FIRST], reply(FIRST, 409), "1 charge, its response as 409"),
        ([FIRST], Reply(409), "1 charge, then 409"),
        ([FIRST], Reply(0), "1 charge, then no response"),
        ([FIRST], reply(SECOND), "1 charge, then 201"),
        ([FIRST, SECOND], reply(FIRST), "2 charges"),
        ([FIRST, SECOND, OF_BOB], reply(FIRST), "many charges"),
        ([], Reply(500), "no charge"),
    ],
)
def test_a_retry_is_right_only_with_one_charge_and_its_response(
    charges: list[Charge], last: Reply, verdict: str
) -> None:
    assert verdicts.of_retry(charges, last) == verdict
    assert verdicts.is_passed(verdict) == (verdict == "1 charge")


@pytest.mark.parametrize(
    ("charges", "second", "verdict", "passed"),
    [
        ([FIRST], Reply(422), "refused 422", True),
        ([FIRST], Reply(500), "refused 500", False),
        ([FIRST], reply(FIRST), "the first response", False),
        ([FIRST, SECOND], reply(SECOND), "charged anew", False),
        ([FIRST, SECOND], reply(FIRST), "charged, the first response", False),
    ],
)
def test_another_body_under_the_same_key_has_to_be_refused(
    charges: list[Charge], second: Reply, verdict: str, passed: bool
) -> None:
    assert verdicts.of_other_body(charges, reply(FIRST), second) == verdict
    assert verdicts.is_passed(verdict) == passed


@pytest.mark.parametrize(
    ("charges", "second", "verdict", "passed"),
    [
        ([FIRST, OF_BOB], reply(OF_BOB), "own charge", True),
        ([FIRST], reply(FIRST), "the first user's response", False),
        ([FIRST, OF_BOB], reply(FIRST), "the first user's response", False),
        ([FIRST], Reply(409), "no charge, 409", False),
    ],
)
def test_another_users_key_is_another_key(
    charges: list[Charge], second: Reply, verdict: str, passed: bool
) -> None:
    assert verdicts.of_other_user(charges, reply(FIRST), second) == verdict
    assert verdicts.is_passed(verdict) == passed


def test_of_two_schedules_the_one_that_went_wrong_counts() -> None:
    assert verdicts.worst(["1 charge", "2 charges"]) == "2 charges"
    assert verdicts.worst(["1 charge", "1 charge"]) == "1 charge"


def test_every_check_is_run_and_every_contender_has_its_file_and_its_pins() -> None:
    assert list(checks.BY_NAME) == list(CHECKS)
    files = {file.stem for file in (ROOT / "contenders").glob("*.py")} - {"__init__"}
    assert files == {contender.module for contender in CONTENDERS}
    assert all("==" in pin for contender in CONTENDERS for pin in contender.requirements)


def test_the_readme_shows_every_configuration_under_every_check() -> None:
    results = shown()
    assert report.markdown(results, day=report.day_of(README)) in README
    assert all(contender.promises in README for contender in CONTENDERS)


def test_the_readme_shows_ours_keeping_what_it_promises() -> None:
    assert not report.broken_promises(OURS, shown())


def test_a_promise_that_ours_breaks_is_named_and_what_is_not_promised_is_not() -> None:
    results = shown()
    results["ours", "README"] |= {"slow": "2 charges", "lost": "2 charges"}
    assert report.broken_promises(OURS, results) == ["handler slower than the lease: 2 charges"]


def shown() -> report.Results:
    """Read the verdicts back out of the README's table."""
    lines = re.findall(r"^\| (.+) \|$", README, re.MULTILINE)
    cells = {line.split(" | ")[0]: line.split(" | ")[1:] for line in lines}
    return {
        (contender.module, configuration.name): {
            check: cell[2:]
            for check, cell in zip(
                CHECKS, cells[report.title(contender, configuration)], strict=True
            )
        }
        for contender in CONTENDERS
        for configuration in contender.configurations
    }
