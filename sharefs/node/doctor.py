"""Is the home of a node that is down as it should be, and can it be mended?

The checks are in `store.health`; here they get the tree, which makes rows of heads. A node that
runs is not examined: what it keeps in memory would have to follow whatever is mended.
"""

from collections.abc import Callable, Iterator

from sharefs.errors import HomeNotUsable, NotInitialised, RemoteProtocolError
from sharefs.node.reports import DoctorReport
from sharefs.records.ids import DeviceId
from sharefs.spaces.identity import decode_identity
from sharefs.store.database import Store
from sharefs.store.health.contents import remarks
from sharefs.store.health.examination import admitted, examine
from sharefs.store.health.finding import Finding
from sharefs.store.health.patient import Patient
from sharefs.store.health.records import rosters_of
from sharefs.store.health.view import Batch, Grow
from sharefs.store.home import Home
from sharefs.tree.tree import Tree

FINDINGS_MAX = 1000
"""So many are told one by one; the others are counted."""


def run_doctor(
    home: Home, mend: bool, quick: bool, tell: Callable[[Finding], None]
) -> DoctorReport:
    """Examine a home, and `tell` each finding as it is made.

    Raises NotInitialised, NodeAlreadyRunning, DatabaseTooNew, DatabaseDamaged, HomeNotUsable,
    DiskFull.
    """
    me = _device(home)
    if not home.database_file.exists():
        raise NotInitialised(f"There is no database in {home.directory}: its node was never up.")
    found: list[Finding] = []
    count = mended = 0
    with admitted(home, mend) as patient:
        for finding in examine(patient, me, _grow(patient), quick):
            tell(finding)
            count, mended = count + 1, mended + finding.mended
            if len(found) < FINDINGS_MAX:
                found.append(finding)
        said = list(remarks(patient))
    return DoctorReport(str(home.directory), count, mended, found, said)


def _device(home: Home) -> DeviceId:
    try:
        return decode_identity(home.read_identity()).device
    except RemoteProtocolError as error:
        raise HomeNotUsable(
            f"The identity in {home.identity_file} is damaged: restore it from a backup."
        ) from error


def _grow(patient: Patient) -> Grow:
    """Rows as `Replica` makes them, with the labels of the space's roster."""

    def grow(store: Store, space: int, batches: Iterator[Batch]) -> None:
        roster = next(roster for number, _, roster in rosters_of(patient.reader) if number == space)
        tree = Tree(store.shelf(space), space, store.new_ino, roster.label)
        for records, inos in batches:
            with store.transaction():
                tree.receive(records, inos)
            store.take_touched()
            tree.contested.clear()

    return grow
