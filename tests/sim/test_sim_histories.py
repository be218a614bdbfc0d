"""Whatever the network, clocks, disks and colleagues do: nothing is lost, and all show the same."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.sim.run import KINDS, run_share

SEEDS_FILE = Path(__file__).with_name("seeds.toml")
FIRST_SEED = 0
HISTORIES = {"data": 10_000, "node": 300}
TRACED = {"data": 40, "node": 5}


def simulate(*arguments: str, **environment: str) -> str:
    """Run the simulator in a process of its own; what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.sim.run", *arguments],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_all_histories_end_well(kind: str) -> None:
    simulate("--kind", kind, "--first", str(FIRST_SEED), "--seeds", str(HISTORIES[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_histories_that_once_found_something_end_well(kind: str) -> None:
    for seed in tomllib.loads(SEEDS_FILE.read_text())[kind]:
        assert not run_share(kind, range(seed, seed + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_always_gives_the_same_history(kind: str) -> None:
    told = [
        simulate(
            *("--kind", kind, "--first", "0", "--seeds", str(TRACED[kind]), "--digest"),
            PYTHONHASHSEED=hash_seed,
        )
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]
