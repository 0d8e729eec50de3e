"""What takes long says on a terminal what it does, and nothing where nobody looks."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command

from simulator.management.commands import simulate

COMMANDS = "operations.management.commands"
LONG = [
    (lambda: call_command("audit"), f"{COMMANDS}.audit.check_invariants", "Checking every"),
    (lambda: call_command("reconcile"), f"{COMMANDS}.reconcile._reconcile", "Comparing orders"),
    (simulate._audit, "operations.audit.check_invariants", "Checking every"),
]
each = pytest.mark.parametrize(
    ("command", "long", "message"), LONG, ids=["audit", "reconcile", "simulate"]
)


def interrupt(*_: Any) -> None:
    """Stand for what takes long, and is given up."""
    raise KeyboardInterrupt


def progress_of(
    command: Callable[[], Any], long: str, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> str:
    """Return what a command has printed about itself by the time that it is given up."""
    monkeypatch.setattr(long, interrupt)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        command()
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err


@each
def test_on_a_terminal_a_long_command_says_what_it_does(
    command: Callable[[], Any],
    long: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")

    assert message in progress_of(command, long, monkeypatch, capsys)


@each
def test_elsewhere_it_prints_its_result_only(
    command: Callable[[], Any],
    long: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "0")

    assert progress_of(command, long, monkeypatch, capsys) == ""
