"""Which devices on the local network run sharefs?

DNS service discovery by multicast (RFC 6763, 6762): `_sharefs._tcp.local.`, an instance for each
device, named by a hash of its curve key. The hash tells members which of their devices it is, and
nobody else anything, save that it is the same device as yesterday. What is found is a hint: the
handshake proves the key.
"""

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable

import ifaddr
from blake3 import blake3
from zeroconf import Error as ZeroconfError
from zeroconf import IPVersion, ServiceInfo, ServiceListener, Zeroconf

from sharefs.records.ids import PublicKey
from sharefs.spaces.ticket import Address

SERVICE = "_sharefs._tcp.local."
KEY_HASH_SIZE_BYTES = 16
RESOLVE_MS_MAX = 3_000
REACHABLE_ADDRESSES_MAX = 8
"""Of one device that are told to others, or believed of others."""
_CONTEXT = "sharefs 2026-11 discovery name of a curve key 1"
_BULK_PORT = "bulk"

Found = Callable[[bytes, Address], None]

_log = logging.getLogger(__name__)


def key_hash(key: PublicKey) -> bytes:
    """The name under which the device with that curve key announces itself."""
    return blake3(key, derive_key_context=_CONTEXT).digest(KEY_HASH_SIZE_BYTES)


def reachable_at(address: Address) -> tuple[Address, ...]:
    """The addresses to tell others when the mesh listens at `address`: for all interfaces, each of
    them. The loopback interface counts only where there is no other."""
    if not _listens_everywhere(address):
        return (address,)
    hosts = _own_addresses()
    outside = [host for host in hosts if not ipaddress.ip_address(host).is_loopback]
    return tuple(
        Address(host, address.port, address.bulk_port)
        for host in (outside or hosts)[:REACHABLE_ADDRESSES_MAX]
    )


def _own_addresses() -> list[str]:
    adapters = ifaddr.get_adapters()
    return sorted({str(ip.ip) for each in adapters for ip in each.ips if ip.is_IPv4})


class Discovery:
    """Announces this device and reports others, from a thread of its own.

    `found(key hash, address)` is called on that thread, more than once for a device, and for
    whatever claims to be one. Networks without multicast are quiet, not an error.
    """

    def __init__(self, key: PublicKey, found: Found) -> None:
        self._name = f"{key_hash(key).hex()}.{SERVICE}"
        self._found = found
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, address: Address) -> None:
        """Begin; `address` is where the mesh listens. Returns at once."""
        assert self._thread is None, "discovery starts once"
        self._thread = threading.Thread(
            target=self._run, args=(address,), name="discovery", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Say goodbye to the network, and wait until that is done."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, address: Address) -> None:
        try:
            self._serve(address)
        except (OSError, ZeroconfError) as error:
            _log.warning("Other devices are not looked for on the local network: %s", error)

    def _serve(self, address: Address) -> None:
        network = _open(address)
        try:
            network.register_service(_describe(self._name, address))
            network.add_service_listener(SERVICE, _Listener(self._name, self._found))
            self._stopping.wait()
        finally:
            network.close()


class _Listener(ServiceListener):
    """Resolves what zeroconf hears of."""

    def __init__(self, own_name: str, found: Found) -> None:
        self._own_name = own_name
        self._found = found

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        if name == self._own_name:
            return
        info = zc.get_service_info(type_, name, RESOLVE_MS_MAX)
        digest = _key_hash_of(name)
        if info is None or digest is None:
            return
        for address in _addresses(info):
            self._found(digest, address)

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.add_service(zc, type_, name)

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        """A device that says goodbye is seen to leave by its link."""


def _open(address: Address) -> Zeroconf:
    """On the interface that the mesh listens on, or on all. Raises OSError."""
    if _listens_everywhere(address):
        return Zeroconf(ip_version=IPVersion.V4Only)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        # Zeroconf leaves a socket open when its interface can not be used, so that is tried first.
        trial.bind((address.host, 0))
    return Zeroconf(interfaces=[address.host])


def _describe(name: str, address: Address) -> ServiceInfo:
    hosts = [reachable.host for reachable in reachable_at(address)]
    return ServiceInfo(
        SERVICE,
        name,
        port=address.port,
        properties={_BULK_PORT: str(address.bulk_port)},
        server=f"{name.partition('.')[0]}.local.",
        parsed_addresses=hosts,
    )


def _listens_everywhere(address: Address) -> bool:
    return address.host in ("0.0.0.0", "::")


def _key_hash_of(name: str) -> bytes | None:
    try:
        digest = bytes.fromhex(name.partition(".")[0])
    except ValueError:
        return None
    return digest if len(digest) == KEY_HASH_SIZE_BYTES else None


def _addresses(info: ServiceInfo) -> list[Address]:
    """What a device says of itself, if it is sound."""
    port, bulk_port = info.port or 0, _number(info.properties.get(_BULK_PORT.encode()))
    if not (0 < port < 65536 and 0 < bulk_port < 65536):
        return []
    hosts = info.parsed_addresses(IPVersion.V4Only)[:REACHABLE_ADDRESSES_MAX]
    return [Address(host, port, bulk_port) for host in hosts]


def _number(text: bytes | None) -> int:
    return int(text) if text is not None and text.isdigit() and len(text) <= 5 else 0
