"""How do opaque bytes travel between two devices that know each other's keys?

`Mesh` (in `sockets`) owns every socket of a node: CurveZMQ over TCP, a pair of ports, one for
control and one for bulk, so that a chunk never delays a message. `knock` is the ticket bearer's
one question before membership; `discovery` finds devices on the local network.

Rejected alternatives:

- *The client's routing id as the peer's name.* A client chooses it, and with ROUTER_HANDOVER gets
  what was meant for another. Peers are named by the key that the handshake proved.
- *One ROUTER that both binds and dials.* It works, with the server's key set anew before each
  connect, but the dialled peers would then be known by routing ids alone: no User-Id is on their
  frames.
- *pyzmq's Authenticator.* Its handler is a coroutine, its asyncio form falls silent without a
  running loop, and certificates in a folder are not how the roster works: `gate` answers ZAP in a
  page.
- *zmq_poll.* It asks every socket at every call, four sockets for each dialled peer; `watch`
  waits on the sockets' descriptors with epoll and asks only those that may have something.
- *PUB/SUB for pushes.* Subscriptions are a second, silent list of who is a member, and a slow
  subscriber loses messages without a word.
- *TLS or QUIC by asyncio.* Certificates, streams and framing would be ours to write; ZeroMQ
  measured near the speed of the cipher with messages of 1 MiB.
"""
