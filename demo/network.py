"""The demo's network switch: a visitor has a response lost, and sees what becomes of it.

The choice is a cookie, so that it touches nobody else's requests. What a fault loses is committed
before; and as it meets no replay, the retry of a form arrives.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext_lazy as _

from idempotency.journal import recorder
from shop.pages import SeeOther, public_page
from web.pages import error_page

COOKIE = "demo_network"
SLOW_SECONDS = 1.5
PAY_OR_PLACE = frozenset({"shop:pay", "shop:place", "try-it"})
COMMITTED = frozenset({200, 201, 202, 402})  # final responses, which a retry gets as replays


class Network(NamedTuple):
    name: str
    label: Any
    effect: Any


CALM = Network("calm", _("calm"), _("Every response arrives."))
NETWORKS = (
    CALM,
    Network("slow", _("slow"), _("What pays or orders takes 1.5 s longer to reach the server.")),
    Network(
        "loses",
        _("loses responses"),
        _("The server pays or orders, and its response is lost. The retry gets that response."),
    ),
    Network(
        "kills",
        _("kills the server after the commit"),
        _("The server's process is killed once it has paid or ordered. Another gets the retry."),
    ),
)
BY_NAME = {each.name: each for each in NETWORKS}


class VisitorsSwitch:
    """What the pages show of a visitor's own network, which a cookie names."""

    networks = NETWORKS
    is_shared = False

    def __init__(self, request: HttpRequest) -> None:
        name = request.get_signed_cookie(COOKIE, default=None)
        self.chosen = BY_NAME.get(name or "", CALM)

    def choose(self, network: Network, response: HttpResponse) -> None:
        """Have the visitor's next requests meet a network."""
        response.set_signed_cookie(
            COOKIE, network.name, httponly=True, samesite="Lax", secure=settings.HTTPS
        )


class VisitorsNetwork:
    """Middleware that breaks the network of who chose so; the outermost: all else is done by then.

    A first response is lost if it is of a commit. A replay arrives, and so does a refusal.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        switch = VisitorsSwitch(request)
        request.network = switch  # type: ignore[attr-defined]
        response = self.get_response(request)
        chosen = switch.chosen.name
        if chosen in {"loses", "kills"} and _is_first_of_a_commit(response):
            _lose_response(request, kills=chosen == "kills")
        return response

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """Have a slow network's request wait before anything is done for it."""
        match = request.resolver_match
        pays_or_places = match is not None and match.view_name in PAY_OR_PLACE
        is_slow = request.network.chosen.name == "slow"  # type: ignore[attr-defined]
        if request.method == "POST" and pays_or_places and is_slow:
            time.sleep(SLOW_SECONDS)


@public_page
def choose(request: HttpRequest) -> HttpResponse:
    """Choose a network, and return to the form's page; a duplicate changes nothing.

    Only the demo has the middleware that gives a request its switch.
    """
    switch = getattr(request, "network", None)
    if switch is None:
        raise Http404
    if request.method != "POST":
        return redirect("shop:catalogue")
    name = request.POST.get("network", "")
    chosen = next((each for each in switch.networks if each.name == name), None)
    if chosen is None:
        return error_page(request, 400)
    response = SeeOther(_page_of(request))
    switch.choose(chosen, response)
    return response


def _page_of(request: HttpRequest) -> str:
    """Return the page that a form names, or the first page if it is none of this server's."""
    page = request.POST.get("next", "")
    hosts = {request.get_host()}
    is_ours = url_has_allowed_host_and_scheme(page, hosts, require_https=request.is_secure())
    return page if is_ours else "/"


def _is_first_of_a_commit(response: HttpResponseBase) -> bool:
    """Return True for the page that stands for a final response, unless it is a replay."""
    final = getattr(response, "final_response", None)
    is_committed = final is not None and final.status_code in COMMITTED
    return is_committed and "Idempotent-Replayed" not in response


def _lose_response(request: HttpRequest, *, kills: bool) -> None:
    """End the client's connection after the response's first byte; or the process with it.

    Without that byte a browser would send the form again by itself, unseen, if the connection had
    been in use before.
    """
    connection = request.META["gunicorn.socket"]
    connection.sendall(b"H")
    if kills:
        recorder.flush()  # the journal is a second behind, and the page counts this request
        os.kill(os.getpid(), signal.SIGKILL)
    connection.shutdown(socket.SHUT_RDWR)
