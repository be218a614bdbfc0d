from pathlib import Path

from sharefs.store.metrics import MetricsTable, PeerMetrics
from tests.store.store_parties import ANNA, BOB, open_store


def test_metrics_outlive_the_node(tmp_path: Path) -> None:
    kept = {ANNA: PeerMetrics(), BOB: PeerMetrics(0.02, 1e6, 2e6, 10.0, 20.0, 1.5)}
    store = open_store(tmp_path)
    with store.transaction():
        MetricsTable(store).save(kept)
    store.close()
    store = open_store(tmp_path)
    table = MetricsTable(store)
    assert table.load() == kept
    with store.transaction():
        table.save({BOB: PeerMetrics(failures=2.0)})
    assert table.load() == {BOB: PeerMetrics(failures=2.0)}
    store.close()
