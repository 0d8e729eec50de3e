"""The proxy between the demo's two services (`simulator.chaos`), by its control address."""

import json
import urllib.request
from http.client import HTTPException

LOST_SHARE = 0.6  # of the responses, while the faults are on
LOST = f"{LOST_SHARE * 100:.0f} %"
TIMEOUT_SECONDS = 0.5  # it is on this machine, and a page waits for it
UNREADABLE = (OSError, HTTPException, ValueError)


def faults_are_on(url: str) -> bool:
    """Return True if the proxy breaks requests.

    :raises UNREADABLE: it does not respond, or nothing that a proxy would
    """
    return _ask(url, "GET")


def turn_faults(url: str, *, on: bool, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Have the proxy break requests, or none, from the next one on; a duplicate changes nothing.

    :raises UNREADABLE: as above; it may have been turned all the same
    """
    _ask(url, "PUT", json.dumps({"faults": on}).encode(), timeout_seconds=timeout_seconds)


def _ask(
    url: str,
    method: str,
    body: bytes | None = None,
    *,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> bool:
    request = urllib.request.Request(f"{url}/chaos", body, method=method)  # noqa: S310 - our own
    with urllib.request.urlopen(request, timeout=timeout_seconds) as response:  # noqa: S310
        match json.load(response):
            case {"faults": bool(faults)}:
                return faults
    raise ValueError("this is no response of the proxy's")
