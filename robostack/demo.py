"""Door `demo`: the whole loop on this machine. An arm learns to insert a peg, on a real ROS 2 cell in the mirror."""

from robostack import train


def main(argv: list[str] | None = None) -> int:
    """`train` with nothing to choose."""
    return train.main(argv, prog="robostack demo")
