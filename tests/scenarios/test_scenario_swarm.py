"""Several real nodes fetch one file from one, at the same time."""

import subprocess
from pathlib import Path

from tests.scenarios.group import Group, Node, until
from tests.scenarios.real_files import sha256, write_random

SIZE_BYTES = 48 * 1024 * 1024
END_S_MAX = 60.0


def test_who_fetch_one_file_at_the_same_time_give_it_to_each_other(group: Group) -> None:
    anna, *others = group.family("Anna", "Bob", "Carol", "Dora")
    film = write_random(group.base / "film", SIZE_BYTES, 4)
    anna.shell(f"cp {film} film")
    for node in others:
        seen(node.at("Family", "film"))
    anna.ask("settings", "bandwidth", "up", "12M")
    fetches = [
        subprocess.Popen(node.command("fetch", node.at("Family", "film"))) for node in others
    ]
    from_anna: dict[str, int] = {}

    def done() -> bool:
        for node in others:
            from_anna.update(given_by("Anna", node))
        return all(fetch.poll() is not None for fetch in fetches)

    until(done, END_S_MAX, "all have it")
    assert [fetch.returncode for fetch in fetches] == [0, 0, 0]
    assert from_anna.keys() == {node.name for node in others}
    assert sum(from_anna.values()) < 2 * SIZE_BYTES, "she did not send it three times"
    for node in others:
        assert sha256(node.at("Family", "film")) == sha256(film)


def seen(path: Path) -> None:
    until(lambda: path.exists() and path.stat().st_size == SIZE_BYTES, 15, f"{path} is seen")


def given_by(name: str, node: Node) -> dict[str, int]:
    """How much of what a node fetches now has come from somebody."""
    sources = [source for transfer in node.transfers() for source in transfer.sources]
    given = [source.bytes for source in sources if source.name == name]
    return {node.name: sum(given)} if given else {}
