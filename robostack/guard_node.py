"""The door of the guard: parameters in, the node running until a signal."""

import sys

from robostack.ros import doors


def main(argv: list[str] | None = None) -> int:
    """Runs the guard of one cell. Exit status 2 and one line when it cannot."""
    return doors.run("guard", sys.argv[1:] if argv is None else argv, _build)


def _build(session, settings):
    from robostack.ros.guard import GuardNode

    return GuardNode(session, settings.task, settings.robot, settings.lockstep, settings.rate)


if __name__ == "__main__":
    raise SystemExit(main())
