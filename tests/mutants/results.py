"""What became of each mutant: written down as it is known, so that a run can be continued."""

import json
import threading
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

KILLED, SURVIVED, ERROR = "killed", "survived", "error"


@dataclass(frozen=True)
class Result:
    """What became of a mutant in one state of the project.

    :param by: the test that failed, or why it is an error
    """

    mutant: str
    state: str
    outcome: str
    by: str = ""
    seconds: float = 0.0


class Results:
    """The file of results."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        lines = file.read_text().splitlines() if file.exists() else []
        self._all = [Result(**json.loads(line)) for line in lines]

    def add(self, result: Result) -> None:
        """Write a result down."""
        with self._lock, self._file.open("a") as file:
            file.write(json.dumps(asdict(result)) + "\n")
            self._all.append(result)

    def of(self, state: str) -> dict[str, Result]:
        """Return the results of a state by mutant; an error is not one."""
        return {
            each.mutant: each
            for each in self._all
            if each.state == state and each.outcome != ERROR
        }

    def latest(self, state: str, mutants: Iterable[str]) -> list[Result]:
        """Return the last result of each of these mutants in a state, errors too."""
        found = {each.mutant: each for each in self._all if each.state == state}
        return [found[mutant] for mutant in mutants if mutant in found]

    def killers(self) -> dict[str, str]:
        """Return the test that noticed each mutant the last time, in whatever state."""
        return {each.mutant: each.by for each in self._all if each.outcome == KILLED}


def reasons(file: Path) -> dict[str, str]:
    """Return why each known survivor may survive.

    :raises ValueError: one has no reason, or two
    """
    entries = tomllib.loads(file.read_text()).get("survivor", []) if file.exists() else []
    found: dict[str, str] = {}
    for entry in entries:
        if entry["mutant"] in found or not entry["reason"].strip():
            raise ValueError(f"one reason for each survivor: {entry['mutant']}")
        found[entry["mutant"]] = entry["reason"]
    return found


def unexplained(results: Iterable[Result], reasons: Collection[str]) -> list[str]:
    """Return the survivors without a reason."""
    return [each.mutant for each in results if each.outcome == SURVIVED and each.mutant not in reasons]


def stale(results: Iterable[Result], reasons: Iterable[str], names: Collection[str]) -> list[str]:
    """Return the reasons whose mutant was killed, or is none of any more."""
    killed = {each.mutant for each in results if each.outcome == KILLED}
    return [name for name in reasons if name in killed or name not in names]
