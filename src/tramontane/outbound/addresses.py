"""Which addresses may be called. A name is looked up once: the address that was checked is the one that is called."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Literal

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from tramontane.outbound.errors import RefusedAddressError

Reach = Literal["anywhere", "private", "public"]
"""Where a call may lead. `private`: this machine and its networks; `public`: what is neither."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where machines in clouds find their own credentials, beside the link-local address that most use.
_METADATA = frozenset(map(ipaddress.ip_address, ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_ASSIGNED = ipaddress.ip_network("2000::/3")  # all that the Internet routes; what lies beside may lead into a network


def check_address(host: str, address: str, reach: Reach) -> None:
    """Raises RefusedAddressError for an address that a call of this reach must not be made to."""
    found = _inner(ipaddress.ip_address(address.partition("%")[0]))
    if found.is_link_local or found.is_multicast or found.is_unspecified or found in _METADATA:
        raise RefusedAddressError(f"{host} is at {found}, which is never called: networks keep secrets there.")
    if reach == "public" and not _is_public(found):  # without the address: who asks may be a customer
        raise RefusedAddressError(f"{host} is in a private network: name a server that all can reach.")
    if reach == "private" and found.is_global:
        raise RefusedAddressError(f"{host} is at {found}, outside the private networks: call it by https.")


def _is_public(address: Address) -> bool:
    return address.is_global and (isinstance(address, ipaddress.IPv4Address) or address in _ASSIGNED)


def _inner(address: Address) -> Address:
    """The IPv4 address that some IPv6 addresses lead to."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class CheckedResolver(AbstractResolver):
    """Gives only addresses that were checked. One bad address among several is reason enough to refuse them all."""

    def __init__(self, reach: Reach, resolver: Callable[[], AbstractResolver] = ThreadedResolver) -> None:
        self._reach: Reach = reach
        self._resolver = resolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name."""
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            check_address(host, one["host"], self._reach)
        return found

    async def close(self) -> None:
        """Nothing is open."""
        await self._resolver.close()
