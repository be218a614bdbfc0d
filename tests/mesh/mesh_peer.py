"""A peer in a process of its own: answers each message with the same, until it is killed.

Its one argument is JSON: `secret`, `listen` (host, port, bulk port), and `dial` (key, host, port,
bulk port). It prints where it listens. When its standard input ends, it ends.
"""

import json
import os
import sys
import threading

from sharefs.mesh.events import Arrived
from sharefs.mesh.sockets import Mesh
from sharefs.records.ids import PublicKey
from sharefs.spaces.identity import curve_public_key
from sharefs.spaces.ticket import Address


def main() -> None:
    arguments = json.loads(sys.argv[1])
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    secret = bytes.fromhex(arguments["secret"])
    mesh = Mesh(secret, curve_public_key(secret), lambda key: True)
    address = mesh.listen(*arguments["listen"])
    print(json.dumps([address.host, address.port, address.bulk_port]), flush=True)
    key, host, port, bulk_port = arguments["dial"]
    if port != bulk_port:
        mesh.dial(PublicKey(bytes.fromhex(key)), Address(host, port, bulk_port))
    while True:
        for event in mesh.wait(1.0):
            if isinstance(event, Arrived):
                frames = (event.header,) if event.payload is None else (event.header, event.payload)
                mesh.send(event.key, event.channel, frames)


def _end_with_the_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
