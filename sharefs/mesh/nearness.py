"""How near is a device, as far as its addresses tell?

A first guess, until the round trip is measured: two networks may use the same private addresses.
"""

import ipaddress
from collections.abc import Iterable
from enum import Enum

import ifaddr


class Nearness(Enum):
    """How far messages have to go."""

    MACHINE = "this machine"
    NETWORK = "this network"
    ELSEWHERE = "elsewhere"


def nearness(hosts: Iterable[str]) -> Nearness:
    """Of a device that is said to be found at these hosts; a name of one tells nothing."""
    own = [interface for interface in map(_interface, _own()) if interface is not None]
    known = [address for address in map(_address, hosts) if address is not None]
    if any(address.is_loopback or address in (each.ip for each in own) for address in known):
        return Nearness.MACHINE
    if any(address in each.network for address in known for each in own):
        return Nearness.NETWORK
    return Nearness.ELSEWHERE


def _own() -> list[str]:
    adapters = ifaddr.get_adapters()
    # Of IPv6, ifaddr gives (address, flow, scope).
    return [
        f"{ip.ip if isinstance(ip.ip, str) else ip.ip[0]}/{ip.network_prefix}"
        for adapter in adapters
        for ip in adapter.ips
    ]


def _interface(text: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
    try:
        return ipaddress.ip_interface(text)
    except ValueError:
        return None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
