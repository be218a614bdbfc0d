"""How fast is it, and beside what? Run by `make bench`, which takes half an hour beside all peers.

`python -m tests.bench.bench read fetch --of sharefs,sshfs` takes only those measures of those
subjects. TMPDIR chooses the disk: 6 GiB of it are wanted.

BENCH_SCALE=0.05 in the environment measures a twentieth of the sizes and counts, for a quick trial.
Each measure runs in a new pair of folders, which is gone afterwards; peers that are not installed
are skipped.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import zmq

from sharefs.errors import UserError
from tests.bench.bench_figures import show
from tests.bench.bench_measures import MEASURES
from tests.bench.bench_parts import Scale, memory_mb
from tests.bench.bench_peers import SUBJECTS
from tests.bench.bench_subjects import BenchFailed, Figures, Subject, interrupt_on_signals

SCALE_MAX = 10.0
PACKAGES = {"sshd": "openssh-server", "ssh-keygen": "openssh-client"}
"""Debian's, where they are not called as their programs."""


def main() -> int:
    options = _options()
    scale = _scale()
    interrupt_on_signals()
    subjects = _installed([subject for subject in SUBJECTS if subject.name in options.of])
    if not subjects:
        return 1
    _show_versions(subjects, scale)
    results: dict[str, Figures] = {subject.name: {} for subject in subjects}
    top = Path(tempfile.mkdtemp(prefix="sharefs-bench-"))
    failed = False
    try:
        for measure in options.measures:
            for subject in subjects:
                if MEASURES[measure].setting not in subject.openers:
                    continue
                failed |= not _take(measure, subject, top, scale, results[subject.name])
    except KeyboardInterrupt:
        print("Interrupted: this is what there is.", file=sys.stderr)
        failed = True
    finally:
        _remove(top)
    show(results, options.measures)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure sharefs, beside its peers.")
    parser.add_argument("measures", nargs="*", metavar="MEASURE", help=", ".join(MEASURES))
    names = ",".join(subject.name for subject in SUBJECTS)
    parser.add_argument("--of", default=names, metavar="NAMES", help=f"default: {names}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    options.measures = options.measures or list(MEASURES)
    options.of = options.of.split(",")
    for given, known in ((options.measures, list(MEASURES)), (options.of, names.split(","))):
        for name in given:
            if name not in known:
                parser.error(f"there is no {name!r}: choose of {', '.join(known)}")
    return options


def _scale() -> Scale:
    text = os.environ.get("BENCH_SCALE", "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor <= SCALE_MAX:
        sys.exit(f"BENCH_SCALE is {text!r}: give a number above 0, at most {SCALE_MAX:g}.")
    return Scale(factor)


def _installed(subjects: list[Subject]) -> list[Subject]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin"
    found = []
    for subject in subjects:
        if all(shutil.which(program, path=path) for program in subject.programs):
            found.append(subject)
        else:
            packages = ", ".join(sorted({PACKAGES.get(each, each) for each in subject.programs}))
            print(f"{subject.name}: skipped, not installed (Debian: {packages})")
    return found


def _show_versions(subjects: list[Subject], scale: Scale) -> None:
    print(
        f"{os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()},"
        f" libzmq {zmq.zmq_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("pyzmq", "blake3", "pyfastcdc"))
    )
    for subject in subjects:
        remark = f" ({subject.remark})" if subject.remark else ""
        print(f"{subject.name} {subject.version()}{remark}")
    if scale.factor != 1:
        print(f"SCALED: sizes and counts times {scale.factor:g}, so targets do not apply")
    sys.stdout.flush()


def _take(measure: str, subject: Subject, top: Path, scale: Scale, figures: Figures) -> bool:
    """One measure of one subject. Returns whether it could be taken."""
    folder = Path(tempfile.mkdtemp(prefix=f"{subject.name}-{measure}-", dir=top))
    began = time.monotonic()
    print(f"{measure}: {subject.name} ...", end="", file=sys.stderr, flush=True)
    why = ""
    chosen = MEASURES[measure]
    # What the measure before has left to be written is not to be written in this one.
    os.sync()
    try:
        with subject.openers[chosen.setting](folder / "subject") as setting:
            figures.update(chosen.take(setting, folder, scale))
            peak = memory_mb((*setting.pids, *setting.near_pids))
            if peak:
                figures["peak"] = max(peak, float(figures.get("peak", 0)))
                why = f" ({peak:.0f} MB at most)"
        return True
    except (BenchFailed, UserError, OSError) as error:
        why = f" could not be measured: {error}"
        return False
    finally:
        print(f" {time.monotonic() - began:.0f} s{why}", file=sys.stderr)
        _remove(folder)


def _remove(folder: Path) -> None:
    """Unless something is still mounted there, as it may be all that there is of its files."""
    mounts = Path("/proc/self/mounts").read_text()
    if f" {folder}/" in mounts:
        print(f"{folder} is left, as something is still mounted in it", file=sys.stderr)
    else:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
