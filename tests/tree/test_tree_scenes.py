"""Scenes of one space, told by hand, and what they cost."""

import random
from collections.abc import Callable
from itertools import count, pairwise

import pytest
from msgspec.structs import replace

from sharefs.records.entry import KIND_ENTRY, Entry, EntryType, encode_entry
from sharefs.records.ids import ROOT, ContentId, DeviceId, Incarnation, ItemId, item_id
from sharefs.records.record import Record, context_of
from sharefs.tree import tree as tree_module
from sharefs.tree.tree import Tree
from tests.tree.histories import DEVICES, ORDINARY, Replica, Step, Verb, World
from tests.tree.memory_shelf import MemoryShelf
from tests.tree.test_tree_histories import deliver_in_disorder

ANNA, BOB, CAROL = DEVICES
_numbers = count(1)

FOLDER, FILE = EntryType.FOLDER, EntryType.FILE


def write(
    device: DeviceId,
    name: str,
    parent: ItemId = ROOT,
    type: EntryType = FILE,
    *,
    over: tuple[Record, ...] = (),
    stamp: int = 0,
    deleted: bool = False,
    bytes_of: int = 0,
) -> Record:
    number = next(_numbers)
    item = over[0].item if over else item_id(device, number.to_bytes(8))
    content = ContentId(bytes([bytes_of] * 32)) if bytes_of else None
    entry = Entry(1, type, deleted, parent, name, number, 0, False, bytes_of, content, "")
    body = encode_entry(entry)
    context = context_of(over)
    return Record(
        1, item, KIND_ENTRY, device, Incarnation(bytes(8)), number, context, stamp or number, body
    )


def show(*records: Record) -> list[str]:
    """Paths, after the records came in this order; the same for every order of a few."""
    replica = Replica(ANNA)
    for record in records:
        replica.receive(record)
        replica.check()
    backwards = Replica(BOB)
    backwards.receive(*reversed(records))
    backwards.check()
    assert backwards.view() == replica.view()
    return paths(replica)


def paths(replica: Replica) -> list[str]:
    folders = {row.item: row for row in replica.rows() if not row.loser}
    found = []
    for row in replica.rows():
        if not row.live or row.merged is not None:
            continue
        path, at = row.shown, row.place
        while at != ROOT:
            path, at = f"{folders[at].shown}/{path}", folders[at].place
        found.append(path + "/" * (row.type is FOLDER))
    return sorted(found)


def test_folders_of_one_name_are_shown_as_one_all_the_way_down() -> None:
    docs, other = write(ANNA, "docs", type=FOLDER), write(BOB, "docs", type=FOLDER)
    deep, deeper = write(ANNA, "x", docs.item, FOLDER), write(BOB, "x", other.item, FOLDER)
    files = [write(ANNA, "f", deep.item), write(BOB, "f", deeper.item)]
    assert show(docs, other, deep, deeper, *files) == [
        "docs/",
        "docs/x/",
        "docs/x/f",
        "docs/x/f (Bob)",
    ]


def test_a_renamed_folder_takes_what_was_put_in_it_along() -> None:
    docs, other = write(ANNA, "docs", type=FOLDER), write(BOB, "docs", type=FOLDER)
    files = [write(ANNA, "a", docs.item), write(BOB, "b", other.item)]
    renamed = write(ANNA, "papers", type=FOLDER, over=(docs,))
    assert show(docs, other, *files, renamed) == ["docs/", "docs/b", "papers/", "papers/a"]


def test_a_cycle_breaks_at_the_last_move() -> None:
    a, b = write(ANNA, "a", type=FOLDER), write(ANNA, "b", type=FOLDER)
    inside = write(ANNA, "f", a.item)
    into_b = write(ANNA, "a", b.item, FOLDER, over=(a,), stamp=50)
    into_a = write(BOB, "b", a.item, FOLDER, over=(b,), stamp=60)
    assert show(a, b, inside, into_b, into_a) == ["b/", "b/a/", "b/a/f"]


def test_a_cycle_that_a_late_record_closes_breaks_too() -> None:
    a, b = write(ANNA, "a", type=FOLDER), write(ANNA, "b", type=FOLDER)
    into_b = write(ANNA, "a", b.item, FOLDER, over=(a,), stamp=50)
    into_a = write(BOB, "b", a.item, FOLDER, over=(b,), stamp=60)
    assert show(into_a, into_b) == ["b/", "b/a/"]


def test_a_folder_put_into_itself_stands_at_the_root() -> None:
    a = write(ANNA, "a", type=FOLDER)
    assert show(a, write(ANNA, "a", a.item, FOLDER, over=(a,))) == ["a/"]


def test_a_deleted_folder_comes_back_for_what_others_put_in_it() -> None:
    docs = write(ANNA, "docs", type=FOLDER)
    gone = write(ANNA, "docs", type=FOLDER, over=(docs,), deleted=True)
    added = write(BOB, "new", docs.item)
    removed = write(BOB, "new", docs.item, over=(added,), deleted=True)
    assert show(docs, gone) == []
    assert show(docs, gone, added) == ["docs/", "docs/new"]
    assert show(docs, gone, added, removed) == []


def test_an_edit_that_lost_to_a_delete_of_its_whole_folder_is_still_shown() -> None:
    docs = write(ANNA, "docs", type=FOLDER)
    file = write(ANNA, "a", docs.item, bytes_of=1)
    edit = write(BOB, "a", docs.item, over=(file,), bytes_of=2, stamp=90)
    unlinked = write(ANNA, "a", docs.item, over=(file,), deleted=True, stamp=100)
    gone = write(ANNA, "docs", type=FOLDER, over=(docs,), deleted=True, stamp=101)
    assert show(docs, file, edit, unlinked, gone) == [
        "docs/",
        "docs/a (conflict, Bob, 1970-01-01 00.00)",
    ]


def test_a_loser_goes_where_its_winner_goes() -> None:
    docs = write(ANNA, "docs", type=FOLDER)
    file = write(ANNA, "a", bytes_of=1)
    edits = [
        write(device, "a", over=(file,), bytes_of=number, stamp=100 * number)
        for number, device in ((2, ANNA), (3, BOB))
    ]
    moved = write(BOB, "b", docs.item, over=(edits[1],), bytes_of=3, stamp=400)
    assert show(docs, file, *edits, moved) == [
        "docs/",
        "docs/b",
        "docs/b (conflict, Anna, 1970-01-01 00.00)",
    ]


def test_losers_disappear_when_somebody_has_seen_both() -> None:
    file = write(ANNA, "a", bytes_of=1)
    edits = [write(device, "a", over=(file,), bytes_of=3 + n) for n, device in enumerate(DEVICES)]
    assert len(show(file, *edits)) == 3
    assert show(file, *edits, write(ANNA, "a", over=tuple(edits))) == ["a"]


def test_versions_with_the_same_bytes_are_shown_once() -> None:
    file = write(ANNA, "a", bytes_of=1)
    edits = [write(device, "a", over=(file,), bytes_of=2) for device in DEVICES]
    assert show(file, *edits) == ["a"]


def test_a_file_and_a_folder_of_one_name_are_told_apart() -> None:
    file, folder = write(ANNA, "a"), write(BOB, "a", type=FOLDER)
    inside, other = write(BOB, "x", folder.item), write(CAROL, "a", type=FOLDER)
    assert show(file, folder, inside, other) == ["a", "a (Bob)/", "a (Bob)/x"]


def test_a_part_of_a_merged_folder_that_moves_into_the_other_part_stands_in_it() -> None:
    """And a folder in it, that was shown in the other part, goes along, although it has a name to
    get in both."""
    docs, part = write(ANNA, "docs", type=FOLDER), write(BOB, "docs", type=FOLDER)
    inside, merged = write(ANNA, "x", docs.item, FOLDER), write(BOB, "x", part.item, FOLDER)
    file = write(BOB, "f", merged.item)
    moved = write(ANNA, "part", docs.item, FOLDER, over=(part,))
    renamed = write(ANNA, "y", docs.item, FOLDER, over=(inside,))
    replica = Replica(CAROL)
    replica.receive(docs, part, inside, merged, file)
    replica.check()
    assert paths(replica) == ["docs/", "docs/x/", "docs/x/f"]
    replica.receive(moved, renamed)
    replica.check()
    assert paths(replica) == ["docs/", "docs/part/", "docs/part/x/", "docs/part/x/f", "docs/y/"]


@pytest.mark.parametrize("unreadable", ["kind", "body"])
def test_what_a_later_version_of_sharefs_wrote_is_kept_and_not_shown(unreadable: str) -> None:
    """Here of a folder that is a part of a merged one: what is in it stands where it was put."""
    docs, part = write(ANNA, "docs", type=FOLDER), write(BOB, "docs", type=FOLDER)
    file = write(BOB, "f", part.item)
    later = write(BOB, "docs", type=FOLDER, over=(part,))
    later = (
        replace(later, kind="later") if unreadable == "kind" else replace(later, body=b"\x91\x05")
    )
    replica = Replica(CAROL)
    replica.receive(docs, part, file)
    assert paths(replica) == ["docs/", "docs/f"]
    replica.receive(later)
    replica.check()
    assert [row.shown for row in replica.rows() if row.place == ROOT] == ["docs"]
    assert replica.memory.heads(part.item) == [later]
    replica.receive(write(BOB, "papers", type=FOLDER, over=(later,)))
    replica.check()
    assert paths(replica) == ["docs/", "papers/", "papers/f"]


def test_a_record_for_the_root_is_ignored() -> None:
    file = write(ANNA, "a")
    forged = Record(1, ROOT, KIND_ENTRY, ANNA, Incarnation(bytes(8)), 999, (), 1, file.body)
    assert show(file, forged) == ["a"]


def test_a_chain_of_folders_deeper_than_the_stack_is_no_matter() -> None:
    chain = [write(ANNA, "d", type=FOLDER)]
    while len(chain) < 300:
        chain.append(write(ANNA, "d", chain[-1].item, FOLDER))
    gone = [write(ANNA, "d", r.item, FOLDER, over=(s,), deleted=True) for r, s in _pairs(chain)]
    replica = Replica(ANNA)
    replica.receive(*chain, *gone)
    assert paths(replica) == ["d/"]
    replica.receive(write(ANNA, "f", chain[-1].item))
    assert len(paths(replica)) == 301


def _pairs(chain: list[Record]) -> list[tuple[Record, Record]]:
    return list(pairwise(chain))


# --- costs --------------------------------------------------------------------------------------


def calls_for(replica: Replica, record: Record) -> dict[str, int]:
    replica.memory.calls.clear()
    replica.receive(record)
    return dict(replica.memory.calls)


@pytest.mark.parametrize("odd", [False, True])
def test_a_new_file_costs_the_same_in_a_folder_of_any_size(odd: bool) -> None:
    replica = Replica(ANNA)
    docs = write(ANNA, "docs", type=FOLDER)
    replica.receive(docs, *(write(ANNA, str(number), docs.item) for number in range(200)))
    if odd:
        replica.receive(write(BOB, "7", docs.item))
    calls = calls_for(replica, write(ANNA, "new", docs.item))
    assert "listed" not in calls
    assert sum(calls.values()) <= 7


def test_an_edit_and_a_delete_cost_the_same_in_a_folder_of_any_size() -> None:
    replica = Replica(ANNA)
    files = [write(ANNA, str(number)) for number in range(200)]
    replica.receive(*files, write(BOB, "7"))
    edit = write(ANNA, "3", over=(files[3],), bytes_of=5)
    for record in (edit, write(ANNA, "3", over=(edit,), deleted=True)):
        calls = calls_for(replica, record)
        assert "listed" not in calls
        assert sum(calls.values()) <= 11


def test_a_known_record_costs_one_look() -> None:
    replica = Replica(ANNA)
    file = write(ANNA, "a")
    replica.receive(file)
    assert calls_for(replica, file) == {"heads_of": 1}


# --- the tests, tested --------------------------------------------------------------------------


def _last_arrival_wins(self: Tree, record: Record, data: bytes, known: object) -> list[Record]:
    for head in self._shelf.heads_of([record.item]).get(record.item, []):
        self._shelf.drop_head(head)
    self._shelf.add_head(record, data)
    return [record]


def _only_winners_count(self: MemoryShelf, item: ItemId) -> bool:
    return any(row.anchor == item and row.live and not row.loser for row in self.rows.values())


def _never_awaited(self: Tree, place: ItemId, name: str) -> bool:
    return False


def _never_broken(self: Tree, row: object) -> ItemId:
    return row.parent  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize(
    ("owner", "name", "bug"),
    [
        (Tree, "_keep", _last_arrival_wins),
        (MemoryShelf, "has_live_child", _only_winners_count),
        (Tree, "_is_awaited", _never_awaited),
        (Tree, "_anchor_of", _never_broken),
        (Tree, "_replace_children", lambda self, item: None),
        (tree_module, "_lost", lambda versions: []),
    ],
)
def test_a_planted_bug_is_noticed(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, bug: Callable[..., object]
) -> None:
    monkeypatch.setattr(owner, name, bug)
    with pytest.raises(AssertionError):
        run_random_histories()


def run_random_histories() -> None:
    for seed in range(300):
        run_random_history(seed)


def run_random_history(seed: int) -> World:
    chance = random.Random(seed)
    makes = [Verb.MAKE_FOLDER, Verb.MAKE_FOLDER, Verb.MAKE_FILE, Verb.MAKE_LINK]
    verbs = ORDINARY if seed % 2 else Verb
    changes = [verb for verb in verbs if verb > Verb.MAKE_LINK] + [Verb.DELIVER] * 3
    items = chance.choice((3, 6, 12, 24))
    world = World()
    for _ in range(chance.choice((10, 25, 50))):
        world.take(
            Step(
                chance.choice(changes if len(world.items) > items else makes + changes),
                chance.randrange(3),
                chance.randrange(8),
                chance.randrange(8),
                chance.randrange(4),
                chance.randrange(8),
            )
        )
    for replica in world.replicas:
        deliver_in_disorder(replica, world.records, chance)
    assert world.replicas[0].view() == world.replicas[1].view() == world.replicas[2].view()
    return world


@pytest.mark.parametrize("seed", range(120))
def test_long_random_histories_converge(seed: int) -> None:
    run_random_history(1000 + seed)
