"""The network switch of the two services: it turns the proxy between them, for everybody."""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from demo import proxy
from demo.network import Network

CALM = Network("calm", _("calm"), _("The network to the payment service loses nothing."))
LOSES = Network(
    "loses",
    _("loses responses"),
    format_lazy(
        _("The network to the payment service loses {share} of its responses."), share=proxy.LOST
    ),
)
UNKNOWN = Network("", "", _("The network to the payment service does not say what it loses."))


class ServicesSwitch:
    """What the pages show of the proxy; it is asked only by a page that shows it."""

    networks = (CALM, LOSES)
    is_shared = True

    @cached_property
    def chosen(self) -> Network:
        try:
            return LOSES if proxy.faults_are_on(settings.DEMO_NETWORK_URL) else CALM
        except proxy.UNREADABLE:
            return UNKNOWN

    def choose(self, network: Network, response: HttpResponse) -> None:
        """Turn the proxy, if it responds; the page that follows shows what it is like then."""
        with suppress(*proxy.UNREADABLE):
            proxy.turn_faults(settings.DEMO_NETWORK_URL, on=network is LOSES)


def services_network(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Give every page the switch; no request of a visitor's is touched."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        request.network = ServicesSwitch()  # type: ignore[attr-defined]
        return get_response(request)

    return middleware
