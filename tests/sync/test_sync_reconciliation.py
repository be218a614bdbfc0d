"""Two sets become equal, for bytes in proportion to what they differ in."""

import random
from collections.abc import Callable, Iterable

import pytest
from blake3 import blake3
from hypothesis import example, given
from hypothesis import strategies as st

from sharefs.errors import RemoteProtocolError
from sharefs.records.ids import DeviceId, Incarnation, RecordHash, SpaceId
from sharefs.sync import reconciliation
from sharefs.sync.audit import Auditing
from sharefs.sync.reconciliation import check, compare, tell
from sharefs.wire import audit
from sharefs.wire.audit import AskSums, Listed, Span, Split, Sums, Wanted
from sharefs.wire.message import decode_message, encode_message
from tests.sync.sync_holdings import Head, MemoryHoldings

SPACE = SpaceId(bytes(32))
PEER = DeviceId(bytes(16))
DEVICES = tuple(DeviceId(bytes([number] * 16)) for number in range(1, 4))
LIFE = Incarnation(bytes(8))
SEQUENCE_MAX = 2**62


def head(device: DeviceId, sequence: int, variant: int = 0) -> Head:
    name = blake3(b"%b %d %d" % (device, sequence, variant)).digest()
    return (device, LIFE, sequence, RecordHash(name))


class Exchange:
    """Who asks, who answers, and what it took."""

    def __init__(self, asker: MemoryHoldings, teller: MemoryHoldings) -> None:
        self._asker, self._teller = asker, teller
        self._auditing = Auditing()
        self.bytes = 0
        """Of questions and answers, but for the records themselves."""
        self.turns = 0

    def run(self) -> None:
        """One audit; what was found lacking is fetched, as long as it lasts."""
        both = (bytes(32), bytes([1] * 32))
        question: audit.AskSums | audit.AskRecords | None = self._auditing.begin(
            SPACE, PEER, both, 1, 0.0
        )
        while question is not None:
            self.turns += 1
            self._travel(question)
            if isinstance(question, AskSums):
                check(question)
                sums = tell(self._teller, question)
                self._travel(sums)
                asked = self._auditing.asked(PEER, sums, 0.0)
                assert asked == question
                findings = compare(self._asker, question.spans, sums)
                question = self._auditing.found(PEER, sums.audit, findings)
            else:
                self._fetch(question.records)
                empty = audit.Records(SPACE, question.audit, ())
                assert self._auditing.asked(PEER, empty, 0.0) == question
                question = self._auditing.fetched(empty)

    def _travel(self, message: audit.AskSums | audit.AskRecords | audit.Sums) -> None:
        data = encode_message(message)
        assert decode_message(data) == message
        self.bytes += len(data)

    def _fetch(self, wanted: Iterable[Wanted]) -> None:
        for each in wanted:
            author = (each.device, each.incarnation)
            assert each.digest not in [
                hash[: audit.DIGEST_SIZE_BYTES]
                for hash in self._asker.hashes_at(author, each.sequence)
            ], "what is here is not asked for"
            (hash,) = [
                hash
                for hash in self._teller.hashes_at(author, each.sequence)
                if hash[: audit.DIGEST_SIZE_BYTES] == each.digest
            ]
            self._asker.add((*author, each.sequence, hash))


def unite(one: MemoryHoldings, other: MemoryHoldings) -> int:
    """Each asks the other; the bytes that it took."""
    there, back = Exchange(one, other), Exchange(other, one)
    there.run()
    back.run()
    return there.bytes + back.bytes


sequences = st.one_of(
    st.integers(1, 40), st.integers(1, 5000), st.integers(1, SEQUENCE_MAX), st.just(SEQUENCE_MAX)
)
heads = st.builds(head, st.sampled_from(DEVICES), sequences, st.integers(0, 1))
runs = st.builds(
    lambda device, first, count: [head(device, first + n) for n in range(count)],
    st.sampled_from(DEVICES),
    st.integers(1, 9000),
    st.integers(1, 600),
)
sets = st.builds(
    lambda single, many: {*single, *(each for run in many for each in run)},
    st.sets(heads, max_size=40),
    st.lists(runs, max_size=3),
)


@given(sets, sets, sets)
@example(set(), set(), set())
@example(set(), {head(DEVICES[0], SEQUENCE_MAX)}, set())
@example(set(), {head(DEVICES[0], n) for n in range(1, 700)}, set())
def test_any_two_sets_end_equal(common: set[Head], mine: set[Head], theirs: set[Head]) -> None:
    one, other = MemoryHoldings(common | mine), MemoryHoldings(common | theirs)
    unite(one, other)
    assert one.heads == other.heads == common | mine | theirs


BYTES_A_DIFFERENCE_MAX = 2000


@given(sets, st.sets(heads, max_size=15))
def test_the_bytes_are_in_proportion_to_the_differences(
    common: set[Head], differences: set[Head]
) -> None:
    one, other = MemoryHoldings(common - differences), MemoryHoldings(common | differences)
    spent = Exchange(one, other)
    spent.run()
    authors = len(DEVICES) * 60 + 200
    assert spent.bytes <= authors + BYTES_A_DIFFERENCE_MAX * len(differences)


def differing_by(differences: int, records: int) -> tuple[MemoryHoldings, MemoryHoldings]:
    """As when three have written: so many records in all, each side lacking half of the rest."""
    chance = random.Random(records)
    whole = [head(DEVICES[n % 3], 1 + n // 3) for n in range(records)]
    lost = chance.sample(whole, differences)
    of_one, of_other = set(lost[::2]), set(lost[1::2])
    return (
        MemoryHoldings(each for each in whole if each not in of_one),
        MemoryHoldings(each for each in whole if each not in of_other),
    )


@pytest.mark.parametrize(
    ("records", "bytes_max"), [(1_000, 9_000), (10_000, 15_000), (100_000, 20_000)]
)
def test_ten_differences_cost_little_among_any_number(records: int, bytes_max: int) -> None:
    one, other = differing_by(10, records)
    assert unite(one, other) <= bytes_max
    assert one.heads == other.heads
    assert len(one.heads) == records


def test_equal_sets_cost_a_digest_for_each_author() -> None:
    one, other = differing_by(0, 10_000)
    audits = Exchange(one, other)
    audits.run()
    assert audits.turns == 1
    assert audits.bytes < 300


# --- what no honest peer says -----------------------------------------------------------------


HERE = Span(DEVICES[0], LIFE, 256, 2)
NOTHING_SPLIT = (b"",) * 16


@pytest.mark.parametrize(
    "answers",
    [
        (),
        (Listed(()), Listed(())),
        (Split(0, 2, NOTHING_SPLIT),),
        (Split(0, 3, NOTHING_SPLIT),),
        (Split(256, 3, NOTHING_SPLIT),),
        (Split(257, 2, NOTHING_SPLIT),),
        (Split(512, 2, NOTHING_SPLIT),),
        (Listed(((255, bytes(16)),)),),
        (Listed(((512, bytes(16)),)),),
    ],
)
def test_an_answer_to_another_question_is_refused(answers: tuple[Split | Listed, ...]) -> None:
    with pytest.raises(RemoteProtocolError):
        compare(MemoryHoldings(), (HERE,), Sums(SPACE, 1, (), answers))


def test_a_question_about_no_whole_span_is_refused() -> None:
    check(AskSums(SPACE, 1, (HERE,)))
    with pytest.raises(RemoteProtocolError):
        check(AskSums(SPACE, 1, (Span(DEVICES[0], LIFE, 16, 2),)))


def test_a_list_has_a_limit() -> None:
    """As when a device signed hundreds of records at one coordinate."""
    many = MemoryHoldings(head(DEVICES[0], 1, variant) for variant in range(300))
    (told,) = tell(many, AskSums(SPACE, 1, (Span(DEVICES[0], LIFE, 0, 16),))).spans
    assert isinstance(told, Listed)
    assert len(told.records) == audit.LISTED_MAX


# --- the tests, tested --------------------------------------------------------------------------


def _only_the_first_author(holdings: MemoryHoldings, sums: Sums) -> tuple[Span, ...]:
    return DIFFERING_AUTHORS(holdings, sums)[:1]


def _always_whole(span: Span, lowest: int, highest: int) -> Span:
    return Span(span.device, span.incarnation, lowest - lowest % 16, 1)


def _all_parts(holdings: MemoryHoldings, asked: Span, told: Split) -> Iterable[Span]:
    width = Span(*asked.author, told.first, told.power).width // 16
    for number in range(16):
        yield Span(*asked.author, told.first + number * width, told.power - 1)


DIFFERING_AUTHORS = reconciliation._differing_authors


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("_differing_authors", _only_the_first_author),
        ("_narrowed", _always_whole),
        ("_differing_parts", _all_parts),
    ],
)
def test_a_planted_bug_is_noticed(
    monkeypatch: pytest.MonkeyPatch, name: str, bug: Callable[..., object]
) -> None:
    monkeypatch.setattr(reconciliation, name, bug)
    with pytest.raises(AssertionError):
        test_ten_differences_cost_little_among_any_number(10_000, 15_000)
