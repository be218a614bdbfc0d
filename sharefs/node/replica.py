"""What does this node hold of one space, and how does it add to it?"""

import secrets
from collections.abc import Callable, Iterable

from msgspec.structs import replace

from sharefs.errors import NotAllowed, ReadOnlySpace, RemoteProtocolError, SharefsError
from sharefs.node.holdings import Holdings
from sharefs.records.commit import (
    COMMIT_RECORDS_MAX,
    Commit,
    Seal,
    decode_commit,
    encode_commit,
    seal_of,
    sign_commit,
)
from sharefs.records.entry import KIND_ENTRY
from sharefs.records.ids import (
    DeviceId,
    Frontier,
    Incarnation,
    ItemId,
    PublicKey,
    item_id,
)
from sharefs.records.record import (
    CONTEXT_ENTRIES_MAX,
    STAMP_MAX,
    ContextEntry,
    Record,
    decode_record,
    encode_record,
    hash_record,
)
from sharefs.records.shown import Shown
from sharefs.spaces.identity import Identity
from sharefs.spaces.rights import Right
from sharefs.spaces.roster import Quarantine, Roster, extend, fold, hash_operation
from sharefs.store.ledger import Ledger, SpaceRow
from sharefs.store.shelf import Shelf
from sharefs.sync.events import Stands
from sharefs.sync.shipment import entries_of, frontier_of, open_shipment, ship, within
from sharefs.tree import operations
from sharefs.tree.dead import is_dead
from sharefs.tree.operations import Change
from sharefs.tree.revival import folders_anew
from sharefs.tree.tree import Tree
from sharefs.wire.sync import PAGE_COMMITS_MAX, Page, Pull, Shipment

PAGE_SIZE_BYTES_MAX = 1024 * 1024
SEQUENCE_MAX = 2**62


class AuthorUnknown(RemoteProtocolError):
    """A commit's device is not in the roster that is here: the roster may have grown elsewhere."""


class Overtaken(SharefsError):
    """What arrived was written by another copy of this device, or by who has seen one: before it
    is kept, a new incarnation begins (I3)."""


class Replica:
    """One space on this node. All of it in the loop, inside a batch's transaction.

    Invariant: `frontier` is what the ledger holds; `durable` is how much of each incarnation that
    was ours since the start the disk is known to have, and nothing beyond it is shown to a peer;
    nor is any record beyond `told`. So whoever has seen more than that has met another copy of
    this device.
    """

    def __init__(
        self,
        row: SpaceRow,
        ledger: Ledger,
        shelf: Shelf,
        identity: Identity,
        new_ino: Callable[[], int],
    ) -> None:
        self.number = row.number
        self.id = row.id
        self.incarnation = row.incarnation
        self.shelf = shelf
        self._ledger = ledger
        self._identity = identity
        self._device = identity.device
        self._pending: list[tuple[Record, bytes]] = []
        self._contradictions: dict[tuple[DeviceId, Incarnation], tuple[Seal, Seal]] = {}
        """Found since `close_astray`."""
        self.roster = Roster(row.id)
        self.frontier: Frontier = {}
        self.tree = Tree(shelf, row.number, new_ino, lambda device: self.roster.label(device))
        self.durable: dict[Incarnation, int] = {}
        self._ends: dict[Incarnation, int] = {}
        """How far we counted in those that are over; what else is there of them came from peers."""
        self.reload()
        self.durable.update([self.sealed])
        self._told_astray = set(self.roster.closed)

    @property
    def _own(self) -> tuple[DeviceId, Incarnation]:
        return (self._device, self.incarnation)

    def reload(self) -> None:
        """Take everything from the ledger again, after a start or a rollback."""
        self._pending, self._contradictions = [], {}
        self.tree.contested.clear()
        row = next(row for row in self._ledger.spaces() if row.id == self.id)
        self.incarnation = row.incarnation
        self.durable.setdefault(row.incarnation, 0)
        self._ends.pop(row.incarnation, None)
        self.told = row.told
        self.frontier = self._ledger.frontier(self.number)
        self.roster = fold(self.id, self._ledger.operations(self.number))

    def take_contested(self) -> list[ItemId]:
        """The items whose losers are others than when this was asked last."""
        items = list(self.tree.contested)
        self.tree.contested.clear()
        return items

    def take_astray(self) -> list[DeviceId]:
        """The devices that were found to have gone astray since this was asked last."""
        closed = set(self.roster.closed)
        found, self._told_astray = closed - self._told_astray, closed
        return sorted({device for device, _ in found})

    def may(self, right: Right) -> bool:
        """Whether we have the right."""
        return self.roster.may(self._identity.device, right)

    def check_writable(self) -> None:
        """Raises ReadOnlySpace if we may only read."""
        if not self.may(Right.CONTRIBUTE):
            raise ReadOnlySpace(f"You are a reader in {self.roster.name}.")

    def renew_incarnation(self, incarnation: Incarnation) -> None:
        """Count anew (I3). Nothing of the old incarnation may be pending."""
        assert not self._pending, "records of an incarnation are sealed before it ends"
        self._ends.update([self.sealed])
        self._ledger.set_incarnation(self.number, incarnation)
        self.incarnation = incarnation
        self.durable[incarnation] = self.told = 0

    def begin_anew(self, incarnation: Incarnation) -> None:
        """Count anew, having met another copy of this device (I3). Nothing may be pending.

        What nobody was told of is written once more: the other copy may have used its numbers, and
        who has seen that one's records would seem to have seen ours, and supersede them.
        """
        untold = self._ledger.records_in(self.number, *self._own, self.told + 1, SEQUENCE_MAX)
        changes = [operations.again(decode_record(data), self.told) for _, data in untold]
        self.renew_incarnation(incarnation)
        # Each is as old as it was.
        self.author(changes, 0)

    def tell(self) -> None:
        """All that is sealed may be told, once this is durable."""
        _, sealed = self.sealed
        if sealed > self.told:
            self._ledger.set_told(self.number, sealed)
            self.told = sealed

    # --- our own records ------------------------------------------------------------------------

    def author(
        self, changes: Iterable[Change], now_ms: int, inos: dict[ItemId, int] | None = None
    ) -> None:
        """Make records of changes to different items, and show them; `inos` as for Tree.receive.

        Raises NotAllowed, before anything is kept.
        """
        versions = self._chained(changes, now_ms)
        versions = [*self._chained(folders_anew(versions, self.shelf), now_ms), *versions]
        first = self._ledger.take_sequences(self.number, len(versions))
        records = [
            self._record(version, first + number, now_ms) for number, version in enumerate(versions)
        ]
        self._pending += records
        self.tree.receive(records, inos, {change.item for change in versions if change.is_drawn})

    def _chained(self, changes: Iterable[Change], now_ms: int) -> list[Change]:
        return [each for change in changes for each in self._following_our_own(change, now_ms)]

    def _following_our_own(self, change: Change, now_ms: int) -> list[Change]:
        """A device's later version covers all its earlier ones (I4), also those that its writer
        had not seen, as when two programs saved one file. Their bytes are kept as new entries."""
        if change.is_drawn:
            return [change]
        device, incarnation = self._own
        chained = operations.chain(change, self.shelf.heads(change.item), device, incarnation)
        if len(chained.context) > CONTEXT_ENTRIES_MAX:
            # Nobody would accept it, nor anything of ours that comes after it.
            raise NotAllowed("The entry was changed by too many devices: change a copy of it.")
        winner = self.shelf.winner(change.item)
        rows = [*([winner] if winner else []), *self.shelf.losers(change.item)]
        kept = [
            operations.keep_apart(self.item_apart(row), row, now_ms)
            for row in operations.unseen_losers(change, rows, chained)
            if row.live and (row.content is not None or row.target)
        ]
        return [*kept, chained]

    def item_apart(self, row: Shown) -> ItemId:
        """The item that a conflict's loser is to become."""
        item = operations.item_apart(row)
        # Else it was kept apart before, and may have been changed since.
        return item if not self.shelf.heads(item) else item_id(self._device, secrets.token_bytes(8))

    def _record(self, change: Change, sequence: int, now_ms: int) -> tuple[Record, bytes]:
        record = Record(
            1,
            change.item,
            KIND_ENTRY,
            self._device,
            self.incarnation,
            sequence,
            change.context,
            min(max(now_ms, change.after + 1), STAMP_MAX),
            change.body,
        )
        return record, encode_record(record)

    def under_inode(self, item: ItemId, ino: int) -> Shown:
        """A file saved by a rename has the inode of the file that was renamed, as on any disk."""
        row = self.shelf.winner(item)
        assert row is not None, "what was written has a row"
        if row.ino != ino:
            self.shelf.erase(row.ino)
            row = replace(row, ino=ino)
            self.shelf.save(row)
        return row

    def seal(self) -> list[Shipment]:
        """Sign what was made in this batch, to be sent once the disk has it."""
        shipments = []
        for start in range(0, len(self._pending), COMMIT_RECORDS_MAX):
            part = self._pending[start : start + COMMIT_RECORDS_MAX]
            commit = sign_commit(
                self._identity.device_key,
                self.id,
                self._identity.device,
                self.incarnation,
                part[0][0].sequence,
                self.roster.heads[0],
                tuple(hash_record(data) for _, data in part),
            )
            self._ledger.add_commit(self.number, commit, encode_commit(commit))
            self._advance({self._own: commit.last})
            shipments.append(ship(commit, ((record.sequence, data) for record, data in part)))
        self._pending = []
        return shipments

    def still_counted(self, context: Iterable[ContextEntry]) -> tuple[ContextEntry, ...]:
        """What a writer of ours had seen, less what a power cut took from our own sequence: those
        numbers are given out anew, to versions that it had not seen."""
        last = self.sealed[1]
        return tuple(
            (device, incarnation, min(sequence, last))
            if (device, incarnation) == self._own
            else (device, incarnation, sequence)
            for device, incarnation, sequence in context
            if (device, incarnation) != self._own or last > 0
        )

    # --- records of others ----------------------------------------------------------------------

    def apply(self, shipments: Iterable[Shipment], merged: Frontier) -> None:
        """Keep what arrived, then merge the frontier.

        Before anything is kept, raises RemoteProtocolError, AuthorUnknown among them, or Overtaken.
        """
        if any(device not in self.roster.devices for device, _ in merged):
            raise AuthorUnknown("a frontier that tells of a device that is not known here")
        counting = [shipment for shipment in shipments if self._counts(shipment.commit)]
        opened = [(each, open_shipment(each, self._key_of(each))) for each in counting]
        if self._is_overtaken(opened, merged):
            raise Overtaken("somebody has seen more of our incarnation than we have")
        for shipment, records in opened:
            self._check_for_contradiction(shipment.commit)
            kept = self.tree.receive(records)
            # With a record that was missing, a commit goes to the end: passes come by it again.
            self._ledger.add_commit(
                self.number, shipment.commit, encode_commit(shipment.commit), to_end=bool(kept)
            )
        self._advance(within(merged, self.roster.limits))

    def _is_overtaken(
        self, opened: Iterable[tuple[Shipment, list[tuple[Record, bytes]]]], merged: Frontier
    ) -> bool:
        own = self._own
        for shipment, records in opened:
            commit = shipment.commit
            is_own = (commit.device, commit.incarnation) == own
            if is_own and self._is_news(commit, records):
                return True
            context = (entry for record, _ in records for entry in record.context)
            if any(d == own[0] and self.was_never_told(i, s) for d, i, s in context):
                return True
        return self.was_never_told(own[1], merged.get(own, 0))

    def was_never_told(self, incarnation: Incarnation, sequence: int) -> bool:
        """Whether who has this much of an incarnation of ours has it from another copy of us."""
        return incarnation == self.incarnation and sequence > self.told

    def _is_news(self, commit: Commit, records: list[tuple[Record, bytes]]) -> bool:
        """Whether we made a commit of our incarnation, though we do not know it. One that was
        collected brings nothing."""
        if self._ledger.has_commit(self.number, commit):
            return False
        heads = self._ledger.heads_of(self.number, [record.item for record, _ in records])
        return commit.last > self.frontier.get(self._own, 0) or not all(
            is_dead([record]) or any(head.dominates(record) for head in heads.get(record.item, []))
            for record, _ in records
        )

    def _counts(self, commit: Commit) -> bool:
        """Not beyond the end of an incarnation that is closed (I8)."""
        closed = self.roster.closed.get((commit.device, commit.incarnation))
        return closed is None or commit.last <= closed.until

    def _key_of(self, shipment: Shipment) -> PublicKey:
        commit = shipment.commit
        certificate = self.roster.devices.get(commit.device)
        if commit.space != self.id:
            raise RemoteProtocolError("a commit of another space")
        if certificate is None or commit.roster not in self.roster.known:
            raise AuthorUnknown("a commit by a device, or upon a roster, that is not known here")
        if not self.roster.may(commit.device, Right.CONTRIBUTE):
            raise RemoteProtocolError("a commit by a device that may not contribute")
        return certificate.device_key

    def _advance(self, merged: Frontier) -> None:
        for (device, incarnation), sequence in sorted(merged.items()):
            if sequence > self.frontier.get((device, incarnation), 0):
                self.frontier[(device, incarnation)] = sequence
                self._ledger.advance(self.number, device, incarnation, sequence)

    def add_operations(self, operations: Iterable[bytes]) -> bool:
        """Take in operations of the roster; whether any was new.

        Raises RemoteProtocolError, before anything is kept, if they do not belong here.
        """
        known = self._ledger.operations(self.number)
        grown = fold(self.id, {*known, *operations})
        fresh = [data for data in sorted(set(operations)) if hash_operation(data) in grown.known]
        added = [self._ledger.add_operation(self.number, hash_operation(d), d) for d in fresh]
        self.roster = grown
        return any(added)

    # --- devices that went astray (I8) ----------------------------------------------------------

    def _check_for_contradiction(self, commit: Commit) -> None:
        other = self._ledger.contradicting(self.number, commit)
        if other is not None:
            author = (commit.device, commit.incarnation)
            self._contradictions[author] = (seal_of(commit), seal_of(decode_commit(other)))

    def close_astray(self, now_ms: int) -> bool:
        """Add to the roster what proves that a device went astray, and how much of it is here, so
        that none of that is lost; whether there was anything to add.

        Nothing of ours may be pending.
        """
        assert not self._pending, "all that counts is sealed"
        proofs, self._contradictions = dict(self._contradictions), {}
        for author, closed in self.roster.closed.items():
            proofs.setdefault(author, (closed.proof.one, closed.proof.other))
        added = False
        for author, (one, other) in sorted(proofs.items()):
            until = self._end_of(author)
            known = self.roster.closed.get(author)
            if known is None or until > known.until:
                body = Quarantine(one, other, until)
                key = self._identity.device_key
                added |= self.add_operations([extend(self.roster, key, self._device, body, now_ms)])
        return added

    @property
    def has_astray(self) -> bool:
        """Whether there is anything for `close_astray` to add."""
        return bool(self._contradictions) or any(
            self._end_of(author) > closed.until for author, closed in self.roster.closed.items()
        )

    def _end_of(self, author: tuple[DeviceId, Incarnation]) -> int:
        return max(self.frontier.get(author, 0), self._ledger.last_of(self.number, author))

    @property
    def is_astray(self) -> bool:
        """Whether the incarnation in which we count is closed."""
        return self._own in self.roster.closed

    # --- for peers ------------------------------------------------------------------------------

    def shown_frontier(self) -> Frontier:
        """The frontier less what of our own the disk may not have yet."""
        shown = self._members_frontier()
        for incarnation, sequence in self.durable.items():
            key = (self._device, incarnation)
            if key in shown and sequence < self._ends.get(incarnation, SEQUENCE_MAX):
                shown[key] = min(shown[key], sequence)
        return shown

    def _members_frontier(self) -> Frontier:
        """Without those who are no members after all, as where one ticket let two people in: others
        would not take their records, nor a claim to hold them."""
        members = self.roster.devices
        shown = {key: sequence for key, sequence in self.frontier.items() if key[0] in members}
        return within(shown, self.roster.limits)

    @property
    def sealed(self) -> tuple[Incarnation, int]:
        """The last of our sequence that is committed, durable or not."""
        return (self.incarnation, self.frontier.get(self._own, 0))

    @property
    def mark(self) -> dict[Incarnation, int]:
        """As `durable`, for when the disk has all that is committed now."""
        return {own: self.frontier.get((self._device, own), 0) for own in self.durable}

    def made_durable(self, mark: dict[Incarnation, int]) -> bool:
        """The disk has our records up to what `mark` was; whether that is news."""
        news = {own: last for own, last in mark.items() if last > self.durable[own]}
        self.durable.update(news)
        return bool(news)

    def stands(self, source: DeviceId | None) -> Stands:
        """For the machine of sync."""
        return Stands(
            self.id,
            self.roster.digest,
            self.shown_frontier(),
            source,
            self._fingerprint(),
            self.roster.limits,
        )

    @property
    def holdings(self) -> Holdings:
        """For audits. Between batches, and all must be durable."""
        return Holdings(self._ledger, self.number, self.roster.devices.keys())

    def _fingerprint(self) -> bytes:
        return (sum(self.holdings.authors().values()) % 2**256).to_bytes(32)

    def _records_of(self, commit: Commit) -> list[tuple[int, bytes]]:
        """Those that are kept, with their sequences; where its device went astray, others may
        stand there, too."""
        found = self._ledger.records_in(
            self.number, commit.device, commit.incarnation, commit.first, commit.last
        )
        return [
            (sequence, data)
            for sequence, data in found
            if hash_record(data) == commit.hashes[sequence - commit.first]
        ]

    def page(self, pull: Pull) -> Page:
        """What of ours is beyond a peer's frontier, from its cursor on.

        Everything must be durable: a record may travel as a hash only with what dominates it.
        """
        assert self.durable == self.mark, "a page shows what may be lost"
        frontier = frontier_of(pull.frontier)
        rows = self._ledger.commits_beyond(self.number, frontier, pull.cursor, PAGE_COMMITS_MAX)
        shipments: list[Shipment] = []
        cursor, size, complete = pull.cursor, 0, len(rows) < PAGE_COMMITS_MAX
        for row, data in rows:
            commit = decode_commit(data)
            if commit.device not in self.roster.devices:
                cursor = row
                continue
            records = self._records_of(commit)
            size += len(data) + sum(len(record) for _, record in records)
            if shipments and size > PAGE_SIZE_BYTES_MAX:
                complete = False
                break
            shipments.append(ship(commit, records))
            cursor = row
        merged = entries_of(self._members_frontier()) if complete else ()
        return Page(
            pull.space,
            pull.cursor,
            cursor,
            tuple(shipments),
            complete,
            merged,
            pull.pass_number,
        )
