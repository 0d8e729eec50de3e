"""What became of each mutant: written down as it is known, so that a run can be continued."""

import json
import threading
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.mutants.trees import State

KILLED, SURVIVED, ERROR, UNDECIDED = "killed", "survived", "error", "undecided"


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

    def of(self, state: State) -> dict[str, Result]:
        """Return the last result of each mutant that still counts, errors too."""
        return {each.mutant: each for each in self._all if each.state == _state_of(each, state)}

    def killers(self) -> dict[str, str]:
        """Return the test that noticed each mutant the last time, in whatever state."""
        return {each.mutant: each.by for each in self._all if each.outcome == KILLED}


def result(mutant: str, state: State, outcome: str, by: str = "", seconds: float = 0.0) -> Result:
    """Return a result, with the state that it depends on."""
    made = Result(mutant, "", outcome, by, seconds)
    return replace(made, state=_state_of(made, state))


def _state_of(result: Result, state: State) -> str:
    """Return the state that a result depends on: only on its test, if one has failed."""
    return state.of(result.by if result.outcome == KILLED else "")


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
    survived = (each.mutant for each in results if each.outcome == SURVIVED)
    return [mutant for mutant in survived if mutant not in reasons]


def stale(results: Iterable[Result], reasons: Iterable[str], names: Collection[str]) -> list[str]:
    """Return the reasons whose mutant was killed, or is none of any more."""
    killed = {each.mutant for each in results if each.outcome == KILLED}
    return [name for name in reasons if name in killed or name not in names]
