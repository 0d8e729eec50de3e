"""The two services' switch: their pages say what the network loses, and turn it for everybody."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from demo.between import CALM, LOSES, UNKNOWN, services_network
from demo.distributed import FAULTS
from demo.network import COOKIE
from orders.models import Order
from simulator.chaos import ChaosProxy
from tests.support.browserless import Form, Visitor, through
from tests.support.live import free_port
from tests.support.settings import MIDDLEWARE

pytestmark = pytest.mark.django_db

PAGES = ["/", "/basket/", "/orders/", "/orders/{id}/", "/orders/{id}/checkout/", "/nowhere/"]


@pytest.fixture
def proxy() -> Iterator[ChaosProxy]:
    """The network between the services; here nobody sends anything through it."""
    with ChaosProxy(("127.0.0.1", 1)) as proxy:
        yield proxy


@pytest.fixture
def visitor(settings: Any, alice: User, proxy: ChaosProxy) -> Visitor:
    """Alice, at the order service of the two."""
    settings.DEMO_NETWORK_URL = proxy.url
    name = f"{services_network.__module__}.{services_network.__name__}"
    settings.MIDDLEWARE = [name, *(each for each in MIDDLEWARE if "demo" not in each)]
    client = Client()
    client.force_login(alice)
    return through(client)


def choose(visitor: Visitor, name: str, page: str = "/") -> Any:
    return visitor.send(Form("/demo/network/", {"network": name, "next": page}))


@pytest.mark.parametrize("path", PAGES)
def test_every_page_says_that_the_network_loses_or_that_it_is_calm(
    path: str, visitor: Visitor, proxy: ChaosProxy, order: Order
) -> None:
    path = path.format(id=order.pk)

    lossy = visitor.open(path)
    proxy.calm()
    calm = visitor.open(path)

    assert lossy.says("The network to the payment service loses 60 % of its responses.")
    assert calm.says(str(CALM.effect))
    assert [page.text.count('action="/demo/network/"') for page in (lossy, calm)] == [1, 1]


def test_the_page_names_the_share_that_the_demos_proxy_loses() -> None:
    assert FAULTS[:2] == ("--cut-response", "0.6")


def test_a_choice_turns_the_network_for_everybody_and_a_duplicate_changes_nothing(
    visitor: Visitor, proxy: ChaosProxy, bob: User, order: Order
) -> None:
    other = Client()
    other.force_login(bob)

    for name, effect, is_calm in ((CALM, CALM, True), (LOSES, LOSES, False)):
        for _ in range(2):
            page = choose(visitor, name.name, f"/orders/{order.pk}/")
            assert (page.path, proxy.is_calm) == (f"/orders/{order.pk}/", is_calm)
            assert page.says(str(effect.effect))
        assert through(other).open("/").says(str(effect.effect))


@pytest.mark.parametrize("name", ["slow", "kills", "", "nonsense"])
@pytest.mark.parametrize("is_calm", [True, False])
def test_a_network_that_only_a_visitor_can_have_is_refused(
    name: str, is_calm: bool, visitor: Visitor, proxy: ChaosProxy
) -> None:
    proxy.is_calm = is_calm

    assert choose(visitor, name).status == 400
    assert proxy.is_calm is is_calm


def test_to_look_at_the_choice_turns_nothing(visitor: Visitor, proxy: ChaosProxy) -> None:
    visitor.open("/demo/network/?network=calm")

    assert not proxy.is_calm


def test_a_choice_sets_no_cookie(visitor: Visitor, alice: User) -> None:
    client = Client()
    response = client.post("/demo/network/", {"network": "calm"})

    assert (response.status_code, COOKIE in response.cookies) == (303, False)


def test_where_the_proxy_is_gone_the_pages_work_and_say_so(
    visitor: Visitor, settings: Any, order: Order
) -> None:
    settings.DEMO_NETWORK_URL = f"http://127.0.0.1:{free_port()}"

    for page in (visitor.open("/"), choose(visitor, "calm")):
        assert (page.status, page.path) == (200, "/")
        assert page.says(str(UNKNOWN.effect))


def respond(listener: socket.socket, response: bytes) -> None:
    end, _ = listener.accept()
    with end:
        end.recv(65536)
        end.sendall(response)


@pytest.mark.parametrize("response", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n[]"])
def test_where_something_else_responds_the_pages_work_and_say_so(
    response: bytes, visitor: Visitor, settings: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        settings.DEMO_NETWORK_URL = f"http://127.0.0.1:{listener.getsockname()[1]}"
        responded = pool.submit(respond, listener, response)
        page = visitor.open("/")
        responded.result(5)

    assert page.status == 200
    assert page.says(str(UNKNOWN.effect))


def test_where_the_proxy_hangs_the_pages_wait_for_a_moment_only(
    visitor: Visitor, settings: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.DEMO_NETWORK_URL = f"http://127.0.0.1:{silent.getsockname()[1]}"
        page = visitor.open("/")

    assert page.status == 200
    assert page.says(str(UNKNOWN.effect))
