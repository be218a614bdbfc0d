"""In which order is a home examined?"""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sharefs.errors import NodeAlreadyRunning
from sharefs.records.ids import DeviceId
from sharefs.store.connection import connect_reader, translated
from sharefs.store.database import open_database, refuse_newer
from sharefs.store.health.contents import check_contents, check_drafts, check_files
from sharefs.store.health.database import check_database, is_whole
from sharefs.store.health.finding import Finding
from sharefs.store.health.frontier import check_frontier
from sharefs.store.health.holdings import check_holdings
from sharefs.store.health.patient import Patient
from sharefs.store.health.records import check_records
from sharefs.store.health.view import Grow, check_view
from sharefs.store.home import Home


@contextmanager
def admitted(home: Home, mend: bool) -> Iterator[Patient]:
    """Hold a home whose node is down. Without `mend`, nothing of it is changed.

    Raises NodeAlreadyRunning, and as `open_database`.
    """
    try:
        lock = home.lock()
    except NodeAlreadyRunning as error:
        raise NodeAlreadyRunning(
            f"The node of {home.directory} is running: stop it with `sharefs down`, and start it"
            " again when it has been examined."
        ) from error
    try:
        with translated(home.database_file):
            refuse_newer(home.database_file)
            store = open_database(home.database_file, home.token_file) if mend else None
            try:
                with closing(connect_reader(home.database_file)) as reader:
                    yield Patient(home, reader, store)
            finally:
                if store is not None:
                    store.close()
    finally:
        lock.release()


def examine(patient: Patient, me: DeviceId, grow: Grow, quick: bool) -> Iterator[Finding]:
    """What is not as it should be. What later checks rely on is checked, and mended, first: the
    view follows from the heads, and what is held from the view and the bytes, so these come before.
    `quick` leaves out what takes long."""
    yield from check_database(patient)
    if not is_whole(patient):
        return
    yield from check_records(patient)
    yield from check_frontier(patient, me)
    if not quick:
        yield from check_view(patient, grow)
    yield from check_files(patient, quick)
    yield from check_contents(patient, quick)
    yield from check_holdings(patient, me)
    yield from check_drafts(patient)
