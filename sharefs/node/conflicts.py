"""How is a conflict settled for everybody?

A conflict's losers are rows of the view beside their winner. Settling one makes versions whose
writer has seen the loser, so that it is a head no more: of the winner, and, where the loser is to
stay, of an entry of its own, which is made before the loser goes. All of it in the loop, by whoever
has checked that we may write.
"""

from collections.abc import Callable

from blake3 import blake3

from sharefs.errors import BadArgument, NoConflict, NoSuchEntry
from sharefs.node.replica import Replica
from sharefs.node.state import now_ms
from sharefs.records.ids import Coordinate, ItemId
from sharefs.records.record import ContextEntry, Record, sees
from sharefs.records.shown import Shown
from sharefs.tree import operations
from sharefs.tree.operations import Change
from sharefs.tree.tree import entries_among, heads_behind

VERSION_DIGITS = 12
WINNER, LOSER, BOTH = "winner", "loser", "both"

# --- one loser, as programs treat its file --------------------------------------------------------


def let_go(replica: Replica, loser: Shown) -> None:
    """Its file was removed."""
    winner = _winner(replica, loser.item)
    replica.author([operations.keep(winner, _seen_of_both(replica, winner, loser))], now_ms())


def keep_loser(replica: Replica, loser: Shown) -> None:
    """Its file was moved over the winner's."""
    winner = _winner(replica, loser.item)
    seen = _seen_of_both(replica, winner, loser)
    replica.author([operations.keep_loser(winner, loser, seen)], now_ms())


def keep_apart(replica: Replica, loser: Shown) -> None:
    """Its file was renamed, or got another time: an entry of its own, as this row says."""
    take_out(replica, loser, lambda item: operations.keep_apart(item, loser, now_ms()))


def take_out(replica: Replica, loser: Shown, make: Callable[[ItemId], Change]) -> ItemId:
    """Make an entry instead of a loser, which has its inode from then on."""
    item = replica.item_apart(loser)
    # The entry first: a peer may see the one without the other.
    replica.author([make(item)], now_ms())
    let_go(replica, loser)
    replica.under_inode(item, loser.ino)
    return item


# --- all of an item's losers, as people settle them -----------------------------------------------


def settle(replica: Replica, row: Shown, keep: str) -> list[ItemId]:
    """Settle the conflict that a row is part of; `keep` is WINNER, LOSER, BOTH or a version's name.

    The item, and those that its losers became. Raises NoConflict, BadArgument.
    """
    losers = replica.shelf.losers(row.item)
    if not losers:
        raise NoConflict(f"{row.name} has one version: `sharefs conflicts` lists what has more.")
    winner = _winner(replica, row.item)
    seen = [record for record, _ in entries_among(replica.shelf.heads(row.item))]
    if keep == BOTH:
        return [row.item, *_keep_all(replica, winner, losers, seen)]
    kept = _chosen(row, winner, losers, keep)
    change = operations.keep_loser(winner, kept, seen) if kept.loser else None
    replica.author([change or operations.keep(winner, seen)], now_ms())
    return [row.item]


def _keep_all(
    replica: Replica, winner: Shown, losers: list[Shown], seen: list[Record]
) -> list[ItemId]:
    now = now_ms()
    made = [(replica.item_apart(loser), loser) for loser in losers]
    entries = [operations.keep_apart(item, loser, now) for item, loser in made]
    replica.author([*entries, operations.keep(winner, seen)], now)
    for item, loser in made:
        replica.under_inode(item, loser.ino)
    return [item for item, _ in made]


def _chosen(row: Shown, winner: Shown, losers: list[Shown], keep: str) -> Shown:
    if keep == WINNER:
        return winner
    if keep == LOSER and row.loser:
        return row
    if keep == LOSER and len(losers) == 1:
        return losers[0]
    for each in (winner, *losers):
        if version_name(each.version) == keep:
            return each
    words = [WINNER, BOTH] if len(losers) > 1 and not row.loser else [WINNER, LOSER, BOTH]
    words += [version_name(each.version) for each in (winner, *losers)]
    raise BadArgument(
        f"Which version of {row.name} is to be kept? Say after `--keep` one of {', '.join(words)}."
    )


def version_name(version: Coordinate) -> str:
    """How people call a version."""
    device, incarnation, sequence = version
    return blake3(device + incarnation + sequence.to_bytes(8)).hexdigest()[:VERSION_DIGITS]


# --- what was seen --------------------------------------------------------------------------------


def seen_behind(replica: Replica, row: Shown) -> list[Record]:
    """What whoever sees a row has seen. Raises NoSuchEntry."""
    heads = heads_behind(row, replica.shelf.heads(row.item))
    if not heads:
        # Only where somebody signed two records at one coordinate (I8).
        raise NoSuchEntry("What was written there is contradicted by its writer.")
    return heads


def loser_seen(replica: Replica, item: ItemId, context: tuple[ContextEntry, ...]) -> Shown | None:
    """The loser that a writer had seen, if it still is one."""
    rows = replica.shelf.losers(item)
    return next((row for row in rows if sees(context, row.version)), None)


def _seen_of_both(replica: Replica, winner: Shown, loser: Shown) -> list[Record]:
    return [*seen_behind(replica, winner), *seen_behind(replica, loser)]


def _winner(replica: Replica, item: ItemId) -> Shown:
    winner = replica.shelf.winner(item)
    assert winner is not None, "a loser lost to a winner"
    return winner
