"""B.9: an hour of a system at work: does any process of it grow? Nothing is killed; 76 min, and 8 GB of disk."""

import argparse
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import common
from benchmarks.rows import Row, row
from tests.faults.kill_matrix import Matrix
from tests.faults.programs import Settings

MINUTES, WARMUP = 60.0, 15.0
EVERY_S = 10.0
DISK_GB = 0.1  # for a minute, at both ends together
# Five times as fast as a cell, and the replay memory is full, so evicting, before the warm-up is over.
SETTINGS = Settings(size=48, steps=200, period=0.02, capacity=5000, trains=True)
TENTH = 10


@dataclass
class Watched:
    """One process, sample by sample."""

    name: str
    pid: int
    memory: list[float] = field(default_factory=list)  # bytes
    threads: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def look(self) -> None:
        here = Path(f"/proc/{self.pid}")
        kilobytes = dict(
            line.split(":") for line in (here / "smaps_rollup").read_text().splitlines()[1:]
        )
        # Its own share of what it wrote; pages of libraries are shared with whoever else runs, and come and go.
        self.memory.append(1024.0 * sum(_number(kilobytes[f"Pss_{k}"]) for k in ("Anon", "Shmem")))
        self.threads.append(len(list((here / "task").iterdir())))
        self.descriptors.append(len(list((here / "fd").iterdir())))

    @property
    def growth(self) -> float:
        """% of its memory, from the first sample to the last, by the middle slope of all pairs of samples."""
        return growth(self.memory)

    @property
    def gained(self) -> float:
        """Threads or descriptors more in the last tenth than in the first."""
        return max(_gained(self.threads), _gained(self.descriptors))

    def __str__(self) -> str:
        middle = np.median(self.memory) / 1e6
        return (
            f"{self.name}: {middle:.1f} MB, {self.growth:+.3f} %; {self.threads[-1]} threads, "
            f"{self.descriptors[-1]} descriptors, {self.gained:+.0f}"
        )


def growth(values: list[float]) -> float:
    """% from the first value to the last by the Theil-Sen slope, which outliers do not move."""
    samples = np.asarray(values, float)
    i, j = np.triu_indices(len(samples), 1)
    slope = np.median((samples[j] - samples[i]) / (j - i))
    return float(100.0 * slope * (len(samples) - 1) / np.median(samples))


def _gained(counts: list[int]) -> float:
    part = max(1, len(counts) // TENTH)
    return float(np.median(counts[-part:]) - np.median(counts[:part]))


def _number(text: str) -> int:
    return int(text.split()[0])


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=MINUTES)
    parser.add_argument("--warmup", type=float, default=WARMUP, help="min, not counted")
    parser.add_argument("--folder", type=Path, help="where the run may grow; else a temporary one")


def measure(given: argparse.Namespace) -> list[Row]:
    """A row is missed when it was shorter than the figure says, or when the oracle found anything wrong."""
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        needed = DISK_GB * (given.minutes + given.warmup)
        if (free := shutil.disk_usage(folder).free / 1e9) < needed:
            raise SystemExit(f"{free:.0f} GB are free in {folder}, the soak needs {needed:.0f} GB")
        with Matrix(Path(folder), SETTINGS, seed=0) as matrix:
            time.sleep(60.0 * given.warmup)
            found = [Watched(name, process.pid) for name, process in matrix.alive.items()]
            try:
                _watch(found, 60.0 * given.minutes)
            except (FileNotFoundError, ProcessLookupError):
                raise SystemExit(f"a process has ended: {matrix.said()}") from None
            matrix.finish()
            verdict = matrix.verdict()
    print(verdict)
    for each in found:
        print(each)
    failed = bool(given.minutes < MINUTES or verdict.lost or verdict.wrong or not verdict.checked)
    grown, gained = [each.growth for each in found], [each.gained for each in found]
    return [
        row("B.9", max(grown), grown, failed=failed),
        row("B.9b", max(gained), gained),
    ]


def _watch(found: list[Watched], seconds: float) -> None:
    start = time.monotonic()
    for number in range(int(seconds / EVERY_S) + 1):
        time.sleep(max(0.0, start + number * EVERY_S - time.monotonic()))
        for each in found:
            each.look()
        if number % 30 == 18:
            print(f"{number * EVERY_S / 60:.0f} min: {'; '.join(map(str, found))}", flush=True)


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
