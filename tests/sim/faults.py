"""How bad is this history? Drawn from its seed, before anything happens in it."""

import random
from dataclasses import dataclass, fields

TEN_YEARS_SECONDS = 10 * 365 * 24 * 3600.0


@dataclass(frozen=True)
class Faults:
    """Probabilities, unless said otherwise. Nothing of it happens after the network has healed,
    but that clocks stay wrong."""

    # The network, for each message.
    loss: float = 0.0
    repeat: float = 0.0
    reorder: bool = False
    """Whether a message may overtake another on its link."""
    delay_seconds: float = 0.01
    """The longest."""
    slow_seconds: float = 0.0
    """How much longer everything takes on one of the links."""
    one_way: float = 0.0
    """That where links are disturbed, one direction of a link goes deaf, and the other does not."""
    late_notice_seconds: float = 0.0
    """How long it may take one end to notice that a link is gone."""
    # Processes and disks.
    crash: float = 0.0
    """For each step, that a device's process is killed, be it in the middle of a batch."""
    power_cut: float = 0.0
    """That a crash loses what was not synced."""
    disk_full: float = 0.0
    """For each batch that writes, and for each sync."""
    io_error: float = 0.0
    """For each batch that writes: the node stops, and is started again."""
    restore: float = 0.0
    """That a device that crashed comes back with the database of an earlier time."""
    clone: bool = False
    """The token beside the database goes back in time, too: a whole disk was restored."""
    # Clocks.
    skew_seconds: float = 0.0
    """By how much the devices' clocks are wrong, at the most."""
    clock_jump: float = 0.0
    """For each step, that a clock is set to something else."""
    # A member who lies.
    liar: bool = False
    forge: float = 0.0
    """For each of a liar's turns: commits in others' names, and by readers."""
    replay: float = 0.0
    oversize: float = 0.0
    withhold: float = 0.0
    """Leaves records out of what it sends, and claims to have sent them."""
    equivocate: float = 0.0
    """Signs two records for one coordinate."""

    def __str__(self) -> str:
        """What is other than at peace."""
        found = [(field.name, getattr(self, field.name), field.default) for field in fields(self)]
        return ", ".join(f"{name}={value:g}" for name, value, usual in found if value != usual)


PEACE = Faults()


def draw_faults(chance: random.Random) -> Faults:
    """Most histories have few kinds of faults, and some have all."""
    often = chance.choice((0.2, 0.5, 0.5, 0.9))

    def maybe(*values: float) -> float:
        return chance.choice(values) if chance.random() < often else 0.0

    liar = chance.random() < often / 3
    return Faults(
        loss=maybe(0.05, 0.3, 0.6),
        repeat=maybe(0.1, 0.4),
        reorder=bool(maybe(1)),
        delay_seconds=maybe(0.1, 0.5, 3.0) or 0.01,
        slow_seconds=maybe(0.5, 4.0),
        one_way=maybe(0.2, 0.5),
        late_notice_seconds=maybe(1.0, 8.0),
        crash=maybe(0.05, 0.15),
        power_cut=maybe(0.5, 1.0),
        disk_full=maybe(0.02, 0.1),
        io_error=maybe(0.01),
        restore=maybe(0.3, 0.6),
        clone=chance.random() < 0.1,
        skew_seconds=maybe(1.0, 3600.0, TEN_YEARS_SECONDS),
        clock_jump=maybe(0.05),
        liar=liar,
        forge=0.3 if liar else 0.0,
        replay=0.3 if liar else 0.0,
        oversize=0.1 if liar else 0.0,
        withhold=0.3 if liar else 0.0,
        equivocate=0.6 if liar and chance.random() < 0.5 else 0.0,
    )
