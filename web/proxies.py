"""Which address a client has: that of the connection, or what a trusted proxy says it is."""

import functools
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.http.response import HttpResponseBase

Address = IPv4Address | IPv6Address
Peer = IPv4Network | IPv6Network | str

UNIX = "unix"  # a peer on a Unix socket, which has no address
FORWARDED, FORWARDED_FOR = "HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR"


def trusted_proxies(entries: Sequence[str]) -> tuple[Peer, ...]:
    """Return the setting TRUSTED_PROXIES from its texts.

    :raises ImproperlyConfigured: an entry is neither an address, nor a network, nor `unix`
    """
    return tuple(UNIX if entry.strip() == UNIX else _network(entry.strip()) for entry in entries)


def forwarded_by_trusted_proxies(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Make REMOTE_ADDR the client's address; remove what an untrusted peer says of itself."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        headers = request.META
        given = headers.get("REMOTE_ADDR", "")
        peer = _address(given) or given
        if _is_trusted(peer):
            headers["REMOTE_ADDR"] = _client(peer, headers.get(FORWARDED_FOR, ""))
            removed = [FORWARDED_FOR, FORWARDED]  # the left end is whatever the client sent
        else:
            headers["REMOTE_ADDR"] = str(peer)
            readable = _readable_of_anybody()
            removed = [name for name in headers if _is_forwarded(name) and name not in readable]
        for name in removed:
            headers.pop(name, None)
        return get_response(request)

    return middleware


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(text)
    except ValueError as error:
        raise ImproperlyConfigured(
            f"TRUSTED_PROXIES: {error}. List addresses, networks such as 10.0.0.0/8, or unix."
        ) from None
    if network.prefixlen == 0:
        raise ImproperlyConfigured(
            f"TRUSTED_PROXIES: {text} trusts every client to say what its address is."
        )
    return network


def _client(peer: Address | str, forwarded_for: str) -> str:
    """Return the rightmost address that is no trusted proxy's; at a malformed one, the last good.

    Each proxy appends its peer's address: only what trusted ones appended is true.
    """
    client = str(peer)
    for entry in reversed(forwarded_for.split(",")):
        address = _address(entry)
        if address is None:
            break
        client = str(address)
        if not _is_trusted(address):
            break
    return client


def _is_trusted(peer: Address | str) -> bool:
    if isinstance(peer, str):
        return peer == "" and UNIX in settings.TRUSTED_PROXIES
    return any(peer in network for network in settings.TRUSTED_PROXIES if network != UNIX)


@functools.lru_cache(maxsize=256)
def _address(text: str) -> Address | None:
    """Return an address, without the port that some proxies append; None if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_forwarded(name: str) -> bool:
    return name.startswith("HTTP_X_FORWARDED_") or name == FORWARDED


def _readable_of_anybody() -> set[str]:
    """Return the header that BEHIND_TLS_PROXY alone trusts; with TRUSTED_PROXIES, none."""
    header = getattr(settings, "SECURE_PROXY_SSL_HEADER", None)
    return {header[0]} if header and not settings.TRUSTED_PROXIES else set()
