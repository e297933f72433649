"""A.8: wall time of `make test` in this checkout, once its environment stands."""

import argparse
import subprocess
import time

from benchmarks import common
from benchmarks.common import ROOT
from benchmarks.rows import Row, row


def measure(given: argparse.Namespace) -> list[Row]:
    del given
    subprocess.run(["make", "-C", str(ROOT), "setup"], check=True)
    start = time.monotonic()
    done = subprocess.run(
        ["make", "-C", str(ROOT), "test"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    minutes = (time.monotonic() - start) / 60
    print("\n".join(done.stdout.splitlines()[-5:]))
    return [row("A.8", minutes, failed=done.returncode != 0)]


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure))
