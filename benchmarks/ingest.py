"""B.4, B.5: two-camera episodes from disk into the replay memory: how fast, and how much memory they take there.

Reading includes every checksum. The files were just written, so the disk's own speed is not in it: what a learner
takes in while it trains was written seconds ago.
"""

import argparse
import tempfile
import time
from pathlib import Path

from benchmarks import common, made_up
from benchmarks.rows import Row, row
from robostack.core import catalog, observe
from robostack.store.episode import episode_paths, recover
from robostack.store.follow import EpisodeFollower
from robostack.store.replay import Replay

RAW = sum(3 * height * width for height, width in made_up.CAMERAS.values())  # bytes a frame


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--episodes", type=int, default=150, help="of 100 steps")


def measure(given: argparse.Namespace) -> list[Row]:
    spec = observe.spec_of(catalog.task("peg_insert"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written = [
            len(seconds) / sum(seconds) for seconds in made_up.record(folder, spec, given.episodes)
        ]
        recover(episode_paths(folder)[0], spec)  # what is loaded once: libraries, types
        replay = Replay(spec, 101 * given.episodes, made_up.CAMERAS)
        before, start, rates = resident(), time.perf_counter(), []
        follower, last = EpisodeFollower(folder, spec), start
        for episode in follower.each():
            replay.add(episode)
            now = time.perf_counter()
            rates.append(len(episode.steps) / (now - last))
            last = now
        seconds = last - start
        del episode
        grown = resident() - before
    frames = len(replay) + given.episodes  # each once, the last of each episode too
    print(f"{len(replay)} transitions in {seconds:.1f} s; {grown / 1e6:.0f} MB resident for them")
    return [
        row("B.4", len(replay) / seconds, rates),
        row("B.4b", common.median(written), written),
        row("B.5", grown / (frames * RAW)),
    ]


def resident() -> int:
    """Bytes of this process that are in memory."""
    return 4096 * int(Path("/proc/self/statm").read_text().split()[1])


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
