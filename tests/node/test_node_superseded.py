import os
import random

import pytest

from sharefs.node.readers import ContentReader
from tests.node.node_parties import Party, agree, until
from tests.node.test_node_layers import same

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
    assert same(core.read(handle, 0, len(OLD)), OLD)
    core.release(handle)
    assert same(bob.read("film"), NEW)


def test_that_is_noticed_if_a_reader_follows_to_the_newer_one(
    anna: Party, bob: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ContentReader.read

    def follow(reader: ContentReader, offset: int, size: int) -> bytes:
        reader._entry = bob.there("film")
        reader._look_again()
        return read(reader, offset, size)

    monkeypatch.setattr(ContentReader, "read", follow)
    with pytest.raises(AssertionError):
        test_who_has_a_file_open_reads_that_version_though_a_newer_one_comes_while_it_is_fetched(
            anna, bob
        )
