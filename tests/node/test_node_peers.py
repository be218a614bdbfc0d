from tests.node.node_parties import Party, agree


def test_a_save_is_seen_and_read_elsewhere(anna: Party, bob: Party) -> None:
    anna.write("a.txt", b"hello")
    agree("a.txt", anna, bob)
    assert bob.read("a.txt") == b"hello"
