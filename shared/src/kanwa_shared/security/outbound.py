"""Requests to addresses that somebody else chose: only to where this server may be made to send.

A name is resolved for each connection, every address it has is checked, and the connection goes to one of the checked
addresses: a name that answers otherwise a moment later leads nowhere else. Certificates are verified for the name.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

_NAT64: Final = ip_network("64:ff9b::/96")
#: Of IPv6, only here are there public hosts; the registry of special addresses that `is_global` reads leaves some of
#: the rest out: site-local, translated by the network's own NAT64, segment routing, IPv4-compatible.
_PUBLIC_IPV6: Final = ip_network("2000::/3")


class TargetRefused(Exception):
    """The URL leads to where this server does not send; the message names no address that the caller did not give."""


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """Where to: public addresses by https, and `networks`, which the operator opened, by http as well."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, text: str) -> "TargetPolicy":
        """From space-separated networks. Raises ValueError."""
        return cls(tuple(ip_network(network) for network in text.split()))

    def allows(self, address: Address, scheme: str) -> bool:
        """Whether a connection may go there."""
        plain = _unwrapped(address)
        if any(plain in network for network in self.networks):
            return True
        if plain.version == 6 and plain not in _PUBLIC_IPV6:
            return False
        return scheme == "https" and plain.is_global and not plain.is_multicast


def check_url(url: str, policy: TargetPolicy) -> None:
    """Raise TargetRefused for what can be refused without asking for the name's addresses."""
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or (parts.scheme == "http" and not policy.networks):
        raise TargetRefused("the address must begin with https://")
    try:
        address = ip_address(parts.hostname or "")
    except ValueError:
        return
    if not policy.allows(address, parts.scheme):
        raise TargetRefused(
            f"{address} is not public; the operator of this server may open its network to {parts.scheme}"
        )


async def resolve(host: str, port: int) -> Sequence[Address]:
    """Every address of a host. Raises OSError if there is none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # A scoped address (fe80::1%eth0) is link-local, and refused without its scope as well.
    return [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def verifying_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """TLS that verifies certificates against the system's authorities, and those of `ca_file` beside them."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file is not None:
        context.load_verify_locations(ca_file)
    return context


class CheckedTransport(httpx.AsyncBaseTransport):
    """Connects to allowed addresses only; no proxy, no redirect.

    For one host alone: connections are kept by address, and two names may have the same one.
    """

    def __init__(self, policy: TargetPolicy, context: ssl.SSLContext, resolver: Resolve = resolve):
        self._policy = policy
        self._resolve = resolver
        self._host: str | None = None
        self._transport = httpx.AsyncHTTPTransport(verify=context, trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send. Raises TargetRefused, httpx.HTTPError; ValueError for another host than that of the request before."""
        host, scheme = request.url.host, request.url.scheme
        if self._host not in {None, host}:
            raise ValueError(
                "a connection whose certificate is another host's must not be used: make a transport for each"
            )
        self._host = host
        try:
            addresses = await self._resolve(host, request.url.port or (443 if scheme == "https" else 80))
        except OSError as error:
            raise httpx.ConnectError(f"the name {host} has no address", request=request) from error
        # One that is refused spoils the answer: who may choose the addresses chose that one too.
        if not addresses or not all(self._policy.allows(address, scheme) for address in addresses):
            raise TargetRefused(f"{host} leads to an address that this server does not send to by {scheme}")
        request.extensions = {**request.extensions, "sni_hostname": host}
        request.url = request.url.copy_with(host=str(addresses[0]))
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._transport.aclose()


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 address that only carries one."""
    if isinstance(address, IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address in _NAT64:
        inner = IPv4Address(int(address) & 0xFFFF_FFFF)
    return inner or address
