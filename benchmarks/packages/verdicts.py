"""From what became of the charges to a verdict in words: pure functions, one a kind of check."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple


class Charge(NamedTuple):
    """A row of the table that the view inserts into."""

    charge: int
    account: int
    amount: int


@dataclass(frozen=True)
class Reply:
    """What a client received; status 0: the connection broke first."""

    status: int
    body: bytes = b""

    @property
    def charge(self) -> Charge | None:
        """The charge that the response is about, whatever its status; None: it is about none."""
        try:
            content: Any = json.loads(self.body)
            return Charge(content["charge"], content["account"], content["amount"])
        except (ValueError, TypeError, KeyError):
            return None

    @property
    def is_busy(self) -> bool:
        """True where the same request may well get another response a moment later."""
        asks_to_wait = self.status in {0, 409, 423} or self.status >= 500
        return asks_to_wait and self.charge is None


ONE_CHARGE = "1 charge"
OWN_CHARGE = "own charge"


def of_retry(charges: list[Charge], last: Reply) -> str:
    """Judge a request and its retries: "1 charge" where the last one got the first response."""
    if len(charges) != 1:
        return {0: "no charge", 2: "2 charges"}.get(len(charges), "many charges")
    if last.charge == charges[0]:
        return ONE_CHARGE if last.status == 201 else f"1 charge, its response as {last.status}"
    return f"1 charge, then {_named(last)}"


def of_other_body(charges: list[Charge], first: Reply, second: Reply) -> str:
    """Judge the same key with another amount: "refused …" is what the draft asks for."""
    if len(charges) == 1:
        is_first = second.charge == first.charge
        return "the first response" if is_first else f"refused {_named(second)}"
    return "charged anew" if second.charge in charges[1:] else "charged, the first response"


def of_other_user(charges: list[Charge], first: Reply, second: Reply) -> str:
    """Judge the same key of another user: "own charge" where neither notices the other."""
    if second.charge is not None and second.charge == first.charge:
        return "the first user's response"
    if len(charges) == 2 and second.status == 201 and second.charge == charges[1]:
        return OWN_CHARGE
    return f"no charge, {_named(second)}"


def is_passed(verdict: str) -> bool:
    """Return True for the verdicts that a caller would want."""
    refused = verdict.removeprefix("refused ")
    return verdict in {ONE_CHARGE, OWN_CHARGE} or refused in {"400", "409", "422"}


def worst(verdicts: list[str]) -> str:
    """Return the first verdict that no caller would want, if there is one."""
    return next((each for each in verdicts if not is_passed(each)), verdicts[0])


def mark(verdict: str, *, promised: bool) -> str:
    """Return the cell: ✓ as wanted, ✗ promised and not kept, – not kept and not promised."""
    sign = "✓" if is_passed(verdict) else "✗" if promised else "–"
    return f"{sign} {verdict}"


def _named(reply: Reply) -> str:
    return str(reply.status) if reply.status else "no response"
