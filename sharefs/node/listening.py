"""Where does the node listen, and where do others find it?

It listens where it is told to, or where it did before, or anywhere; and announces that, unless it
is told to announce another address: that of a router, say, which forwards what comes there.
"""

from sharefs.errors import AddressNotUsable, BadArgument
from sharefs.mesh.sockets import Mesh
from sharefs.spaces.ticket import Address
from sharefs.store.database import Store

DEFAULT_LISTEN = "0.0.0.0 0 0"


def listen(mesh: Mesh, store: Store, wanted: str | None) -> Address:
    """Bind, and remember where. Raises AddressNotUsable, for an address that is wanted."""
    if wanted is not None:
        host, port = parse_address(wanted)
        address = mesh.listen(host, port, port + 1 if port else 0)
    else:
        host, before, bulk_before = (store.ledger.setting("listen") or DEFAULT_LISTEN).split()
        try:
            address = mesh.listen(host, int(before), int(bulk_before))
        except AddressNotUsable:
            address = mesh.listen(host, 0, 0)
    with store.transaction():
        store.ledger.set_setting("listen", f"{address.host} {address.port} {address.bulk_port}")
    return address


def announced(wanted: str | None) -> Address | None:
    """What to announce instead of where the node listens, if anything."""
    if wanted is None:
        return None
    host, port = parse_address(wanted)
    return Address(host, port, port + 1)


def parse_address(text: str) -> tuple[str, int]:
    """`HOST:PORT`. Raises BadArgument."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65534:
        raise BadArgument(f"{text} is no address to listen on: write HOST:PORT, as 0.0.0.0:4747.")
    return host.strip("[]"), int(port)
