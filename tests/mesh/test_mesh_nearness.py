import pytest

from sharefs.mesh import nearness as nearness_module
from sharefs.mesh.nearness import Nearness, nearness


@pytest.fixture(autouse=True)
def _interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ["127.0.0.1/8", "192.168.7.5/24", "fe80::1%3/64", "2001:db8::5/64"]
    monkeypatch.setattr(nearness_module, "_own", lambda: own)


@pytest.mark.parametrize(
    ("hosts", "near"),
    [
        (["127.0.0.1"], Nearness.MACHINE),
        (["203.0.113.9", "192.168.7.5"], Nearness.MACHINE),
        (["192.168.7.77"], Nearness.NETWORK),
        (["2001:db8::77"], Nearness.NETWORK),
        (["203.0.113.9", "192.168.8.77", "2001:db9::1"], Nearness.ELSEWHERE),
        (["nas.example", ""], Nearness.ELSEWHERE),
        ([], Nearness.ELSEWHERE),
    ],
)
def test_addresses_tell_how_near_a_device_is(hosts: list[str], near: Nearness) -> None:
    assert nearness(hosts) is near


def test_this_machine_has_addresses() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.undo()
        assert nearness(["127.0.0.1"]) is Nearness.MACHINE
