"""Whole runs, made by a door as users make them, and kept: a benchmark that was broken off goes on with them."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from robostack.store.run import Run

SAID = "said.txt"  # beside a run that came to its end: the words that made it, and what was said


class Failed(Exception):
    """A run that ended with an error; its last line."""


def arguments(parser: argparse.ArgumentParser, seeds: int) -> None:
    """Which seeds, and where their runs are kept."""
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(seeds)))
    parser.add_argument(
        "--runs",
        type=Path,
        help="where run folders go, a temporary folder unless given; one that is there already is not made again",
    )


def made(place: Path, *words: str) -> Run:
    """The run that `robostack WORDS` leaves in `place`; not made again where it is there. Raises Failed."""
    said, asked = place / SAID, " ".join(words)
    if not (said.exists() and said.read_text().splitlines()[0] == asked):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        command = [sys.executable, "-m", "robostack", *words, "--runs", str(place)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode:
            last = (done.stdout.strip().splitlines() or ["no output"])[-1]
            raise Failed(f"status {done.returncode}, {last}")
        said.write_text(f"{asked}\n{done.stdout}")
    (path,) = (path.parent for path in place.glob("*/config.json"))
    return Run.open(path)
