"""The faults of the proxy: what each does to a request and to its response.

To add a fault that loses something, add it to `Fault` and to LOSSES; where it changes how often the
server gets the request, or how much of the response the client gets, to the tables below as well.
"""

from typing import Literal

Fault = Literal["drop-request", "cut-response", "cut-halfway", "hang", "duplicate", "delay"]
# Where several come up for one request, the first of these happens. Each is a phrase of --help.
LOSSES: dict[Fault, str] = {
    "drop-request": "the server never gets the request; the client's connection is reset",
    "cut-response": "the server has responded; the client gets a reset and no byte",
    "cut-halfway": "the server has responded; the client gets half of the bytes and a reset",
    "hang": "the server has responded; the client gets nothing until it gives up",
    "duplicate": "the server gets the request twice at once; the client gets the first response",
}
LOST_RESPONSES: tuple[Fault, ...] = ("cut-response", "cut-halfway", "hang")
TIMES_SENT: dict[Fault | None, int] = {"drop-request": 0, "duplicate": 2}  # else once
SHARE_RETURNED: dict[Fault | None, float] = {  # else all of it
    "drop-request": 0,
    "cut-response": 0,
    "cut-halfway": 0.5,
}
