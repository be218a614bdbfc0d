"""The command `peers`, against a node in memory."""

import json

from sharefs.node.reports import PeerReport
from sharefs.web.fake import FakeNode
from tests.cli.test_cli_commands import Shell, node, shell

__all__ = ["node", "shell"]

BOB = PeerReport(
    member="Bob",
    device="laptop",
    id="ab" * 16,
    online=True,
    address="192.0.2.7:4000",
    near="elsewhere",
    round_trip_s=0.0204,
    down_bytes_per_second=12_000_000.0,
    up_bytes_per_second=0.0,
    online_share=0.75,
    failures=2,
    last_seen=1.0,
)
CAROL = PeerReport("Carol", "desk", "cd" * 16, False, "", "", None, 0.0, 0.0, None, 0, None)


def test_peers_are_listed_with_what_is_known_of_them(shell: Shell, node: FakeNode) -> None:
    node.known_peers += [BOB, CAROL]
    ran = shell.run("peers")
    assert ran.code == 0
    assert ran.lines[0].split()[:3] == ["MEMBER", "DEVICE", "SEEN"]
    assert "online" in ran.lines[1]
    assert "20.4 ms" in ran.lines[1]
    assert "12.0 MB/s" in ran.lines[1]
    assert "75%" in ran.lines[1]
    assert ran.lines[2].split() == ["Carol", "desk", "never", *"------", "0"]
    names = [each["member"] for each in json.loads(shell.run("peers", "--json").out)]
    assert names == ["Bob", "Carol"]


def test_no_peers_are_told(shell: Shell, node: FakeNode) -> None:
    ran = shell.run("peers")
    assert ran.code == 0
    assert "No other devices yet" in ran.err
