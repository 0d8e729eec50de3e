"""A run of the lab: every mechanism in every scenario, what came of it, and what it costs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from lab.expected import ERROR, EXPECTED, FIRST, LOST, NEW, REFUSED, Cell
from lab.harness.bank import receipt
from lab.harness.cluster import Stage
from lab.harness.recorder import Unrecorded
from lab.harness.scenarios import PLENTY, SCENARIOS, Answer, Scene
from lab.harness.scheduler import Director, LabBroken
from lab.harness.shutdown import may_end
from lab.mechanisms import NEED_REDIS

NOTHING, BROKEN = "nothing", "server error"
ROUNDS = 40  # of the cost's measurement; in each every mechanism pays once, one after another


@dataclass(frozen=True)
class Outcome:
    """What a scenario really came to with a mechanism."""

    scenario: str
    charges: int | str
    told: str
    expected: Cell
    answers: tuple[dict[str, Any], ...]

    @property
    def as_expected(self) -> bool:
        return (self.charges, self.told) == (self.expected.charges, self.expected.told)


@dataclass(frozen=True)
class Cost:
    """A first payment's statements (Redis' commands too, BEGIN and COMMIT not) and median time."""

    statements: int
    milliseconds: float
    against_naive: float


@dataclass
class Line:
    """A mechanism's row of the matrix; no outcomes where it needs the Redis that isn't there."""

    mechanism: str
    outcomes: list[Outcome] = field(default_factory=list)
    cost: Cost | None = None


@dataclass(frozen=True)
class Program:
    """What to play: these scenarios with these mechanisms, as far as Redis is there."""

    mechanisms: Sequence[str]
    scenarios: Sequence[str]
    clicks: int
    costs: bool = False  # measure them as well
    redis_url: str | None = None
    record: Unrecorded = field(default_factory=Unrecorded)

    @property
    def playable(self) -> list[str]:
        return [name for name in self.mechanisms if self.redis_url or name not in NEED_REDIS]


def run(program: Program, *, advance: Callable[[str, str], object]) -> list[Line]:
    """Play all scenarios with all mechanisms that can be; return a line for each mechanism."""
    playable = program.playable
    measured = list(dict.fromkeys(["naive", *playable])) if program.costs else []
    lines = {name: Line(name) for name in program.mechanisms}
    with Stage({*playable, *measured}, program.redis_url, clicks=program.clicks) as stage:
        for name in playable:
            for scenario in program.scenarios:
                outcome = _play(stage, name, scenario, program)
                lines[name].outcomes.append(outcome)
                advance(name, scenario)
        for name, cost in _costs(stage, measured):
            if name in lines:
                lines[name].cost = cost
    return list(lines.values())


def _play(stage: Stage, mechanism: str, scenario: str, program: Program) -> Outcome:
    chosen, record = SCENARIOS[scenario], program.record
    with Director(record.note) as director:
        scene = Scene(stage, mechanism, director, clicks=program.clicks, opening=chosen.opening)
        account = f"{stage.run.schema(mechanism)}.account", scene.account
        with record.scene(mechanism, scenario, account=account, sessions=stage.run.prefix):
            chosen.play(scene)
            answers = scene.answers()
    outcome = _outcome(scene, scenario, answers)
    record.note("outcome", **asdict(outcome))
    return outcome


def _outcome(scene: Scene, scenario: str, answers: Sequence[Answer]) -> Outcome:
    expected = EXPECTED[scene.mechanism].cell(scenario, clicks=scene.clicks)
    told = [_told(answer, scene.opening) for answer in answers]
    charges = _shown(scene.charges(), answers)
    return Outcome(scenario, charges, _repeats(told), expected, tuple(_timeline(answers, told)))


def _told(answer: Answer, opening: int) -> str:
    """Say what an answer is: the result of a first charge, of a further one, or none."""
    return meaning(answer.status, answer.text, amount=answer.page.amount, opening=opening)


def meaning(status: int | None, text: str, *, amount: int, opening: int) -> str:
    """Say what a status and a text are: a first charge's result, a further one's, or none."""
    if status == 200:
        return FIRST if text == receipt(amount, opening - amount) else NEW
    return {409: ERROR, None: NOTHING}.get(status, BROKEN)


def _repeats(told: Sequence[str]) -> str:
    """Return what the repeats were told: everybody but the one who was first."""
    repeats = list(told)
    if len(repeats) > 1:
        # Where a process was killed the first click has no answer; else one has the first result.
        repeats.remove(NOTHING if told[0] == NOTHING else FIRST if FIRST in told else told[0])
    return " / ".join(sorted(set(repeats)))


def _shown(charges: float, answers: Sequence[Answer]) -> int | str:
    """Return the charges; or a word: an order that was told it is paid and isn't; or nobody was."""
    if charges % 1:
        raise LabBroken(f"{charges} charges: some were of another amount")
    paid = {answer.page.order for answer in answers if answer.status == 200}
    if charges < len(paid):
        return LOST
    return int(charges) or REFUSED


def _timeline(answers: Sequence[Answer], told: Sequence[str]) -> Iterator[dict[str, Any]]:
    start = min(answer.sent for answer in answers)
    for answer, word in zip(answers, told, strict=True):
        yield {
            "shop": answer.shop,
            "told": word,
            "text": answer.text,
            "sent_ms": round(1000 * (answer.sent - start), 2),
            "answered_ms": round(1000 * (answer.received - start), 2),
        }


def _costs(stage: Stage, mechanisms: Sequence[str]) -> Iterator[tuple[str, Cost]]:
    """Measure a payment with each, in turns, so that what disturbs one disturbs all."""
    taken: dict[str, list[Answer]] = {name: [] for name in mechanisms}
    with Director() as director:
        for _ in range(ROUNDS):
            for name, answers in taken.items():
                may_end()
                scene = Scene(stage, name, director, clicks=1, opening=PLENTY)
                answers.append(scene.undisturbed())
    times = {name: median(a.seconds for a in answers) for name, answers in taken.items()}
    for name, answers in taken.items():
        (statements,) = {answer.statements for answer in answers}
        ratio = round(times[name] / times["naive"], 2)
        yield name, Cost(statements, round(1000 * times[name], 3), ratio)


def as_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return the lines with everything that is known of them."""
    return [
        {
            "mechanism": line.mechanism,
            "cost": asdict(line.cost) if line.cost else None,
            "scenarios": [
                asdict(outcome) | {"as_expected": outcome.as_expected} for outcome in line.outcomes
            ],
        }
        for line in lines
    ]
