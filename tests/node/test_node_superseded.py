import os
import random

from tests.node.node_parties import Party, agree, until

OLD = random.Random(1).randbytes(6_000_000)
NEW = random.Random(2).randbytes(6_000_000)


def test_who_has_a_file_open_reads_that_version_though_a_newer_one_comes_while_it_is_fetched(
    anna: Party, bob: Party
) -> None:
    anna.write("film", OLD)
    agree("film", anna, bob)
    core, old = bob.node.core, bob.there("film")
    handle = core.open(old.ino, os.O_RDONLY)
    assert core.read(handle, 0, 10) == OLD[:10]
    local = bob.node.state.contents.known(old.content) if old.content else None
    assert local is not None
    assert not local.complete
    anna.edit("film", NEW)
    until(lambda: bob.there("film").content != old.content, "the newer one is shown")
    assert core.read(handle, 0, len(OLD)) == OLD
    core.release(handle)
    assert bob.read("film") == NEW
