"""Which records do we lack although a peer's frontier is ours? Audits, one at a time for a space.

Theory of operation. A peer whose frontier is ours, and whose fingerprint is another, is *doubted*;
if that lasts, as a replica in the middle of a pass has more than its frontier tells, the audit
begins. It asks for sums until it has found what is lacking, and fetches that before it looks for
more (depth first), so that not more is kept in mind than the parts of one question for each level.
It is made once for two fingerprints: what the peer can not send, or we can not keep, is not asked
for again and again. An audit that stalls, or is rolled back, may begin anew.
"""

from dataclasses import dataclass, field

from sharefs.records.ids import DeviceId, SpaceId
from sharefs.records.record import hash_record
from sharefs.sync.reconciliation import Findings
from sharefs.wire.audit import (
    DIGEST_SIZE_BYTES,
    SPANS_MAX,
    WANTED_MAX,
    AskRecords,
    AskSums,
    Records,
    Span,
    Sums,
    Wanted,
)

Question = AskSums | AskRecords
Fingerprints = tuple[bytes, bytes]
"""Ours and the peer's."""


class Auditing:
    """The doubts about one space, and the audit that runs."""

    def __init__(self) -> None:
        self._running: _Audit | None = None
        self._doubted: dict[DeviceId, float] = {}
        """Since when."""
        self._audited: dict[DeviceId, Fingerprints] = {}

    def agrees(self, peer: DeviceId) -> None:
        """A peer has what we have."""
        self._doubted.pop(peer, None)

    def is_due(self, peer: DeviceId, both: Fingerprints, patience_s: float, now: float) -> bool:
        """Whether to audit a peer whose frontier is ours, now that it told its fingerprint."""
        if both[0] == both[1]:
            self.agrees(peer)
            return False
        since = self._doubted.setdefault(peer, now)
        may = self._running is None and self._audited.get(peer) != both
        return may and now >= since + patience_s

    def begin(
        self, space: SpaceId, peer: DeviceId, both: Fingerprints, number: int, now: float
    ) -> AskSums:
        """The first question."""
        self._audited[peer] = both
        question = AskSums(space, number, ())
        self._running = _Audit(space, peer, number, now, question)
        return question

    def asked(self, peer: DeviceId, answer: Sums | Records, now: float) -> Question | None:
        """The question that this answers, if we wait for it."""
        running = self._running
        if running is None or (running.peer, running.number) != (peer, answer.audit):
            return None
        if isinstance(running.question, AskSums) != isinstance(answer, Sums):
            return None
        running.progressed = now
        return running.question

    def found(self, peer: DeviceId, number: int, findings: Findings) -> Question | None:
        """The next question, if there is one."""
        running = self._running
        if running is None or (running.peer, running.number) != (peer, number):
            return None
        running.spans += findings.spans
        running.wanted += findings.wanted
        return self._next(running)

    def fetched(self, records: Records) -> Question | None:
        """The next question, if there is one."""
        assert self._running is not None, "records are fetched in an audit"
        self._running.fetched(records)
        return self._next(self._running)

    def _next(self, running: "_Audit") -> Question | None:
        question = running.next()
        if question is None:
            self._running = None
        return question

    def fail(self, peer: DeviceId) -> None:
        """What a peer sent was false."""
        if self._running is not None and self._running.peer == peer:
            self._running = None

    def forget(self, peer: DeviceId) -> None:
        """A peer is gone."""
        self.fail(peer)
        self.agrees(peer)
        self._audited.pop(peer, None)

    def roll_back(self) -> None:
        """What came was not kept."""
        self._running = None
        self._audited.clear()

    def stalls_at(self, patience_s: float) -> float | None:
        """When to give up waiting, if nothing comes."""
        return None if self._running is None else self._running.progressed + patience_s

    def give_up(self) -> None:
        """Nothing came."""
        assert self._running is not None, "somebody was asked"
        self.forget(self._running.peer)


@dataclass(slots=True)
class _Audit:
    space: SpaceId
    peer: DeviceId
    number: int
    """Of the question: each has its own, as an answer may arrive twice."""
    progressed: float
    question: Question
    spans: list[Span] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)

    def fetched(self, records: Records) -> None:
        """What was asked for and did not come is asked for again, as long as something comes: a
        message does not hold everything."""
        assert isinstance(self.question, AskRecords), "records answer a question for them"
        came = {
            Wanted(
                shipment.commit.device,
                shipment.commit.incarnation,
                shipment.commit.first + position,
                hash_record(data)[:DIGEST_SIZE_BYTES],
            )
            for shipment in records.shipments
            for position, data in shipment.records
        }
        left = [wanted for wanted in self.question.records if wanted not in came]
        if len(left) < len(self.question.records):
            self.wanted += left

    def next(self) -> Question | None:
        """Ask for what is lacking once that is worth a message, or nothing is left to look for."""
        self.number += 1
        if len(self.wanted) >= WANTED_MAX or (self.wanted and not self.spans):
            asked = tuple(self.wanted[-WANTED_MAX:])
            del self.wanted[-WANTED_MAX:]
            self.question = AskRecords(self.space, self.number, asked)
        elif self.spans:
            spans = tuple(self.spans[-SPANS_MAX:])
            del self.spans[-SPANS_MAX:]
            self.question = AskSums(self.space, self.number, spans)
        else:
            return None
        return self.question
