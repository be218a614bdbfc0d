import os
import random

from sharefs.records.ids import ContentId
from sharefs.wire.session import Hello
from sharefs.wire.transfer import Ask, Chunk, Have, Offer, WantChunks
from tests.node.node_parties import Party, agree, raw_member, until

DATA = random.Random(3).randbytes(3_000_000)


def content_of(party: Party, path: str) -> ContentId:
    content = party.there(path).content
    assert content is not None
    return content


def test_who_was_offered_none_of_a_content_is_told_what_comes(
    anna: Party, bob: Party, carol: Party
) -> None:
    bob.write("big", DATA)
    agree("big", anna, bob)
    asking = raw_member(carol, anna)
    asking.say(Hello((), (anna.replica().id,), (), False))
    space, content = anna.replica().id, content_of(anna, "big")
    asking.say(Ask(space, content, False, False))
    assert not asking.hears(Offer).holds
    core = anna.node.core
    handle = core.open(anna.there("big").ino, os.O_RDONLY)
    assert core.read(handle, 0, 10) == DATA[:10]
    core.release(handle)
    assert 0 in asking.hears(Have).indexes
    assert anna.read("big") == DATA
    local = anna.node.state.contents.known(content)
    assert local is not None
    assert local.manifest is not None
    everything = set(range(len(local.manifest.lengths)))

    def told() -> bool:
        return {index for have in asking.heard(Have) for index in have.indexes} == everything

    until(told, "all that came is told")
    last = max(everything)
    asking.say(WantChunks(space, content, (last,)))
    assert asking.hears(Chunk).index == last
    asking.close()
