"""Door `train`: a cell, an actor and a learner as separate processes, one view of them, and a report at the end."""

import argparse
import re
import signal
import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import yaml

from robostack import config as configs
from robostack import retell
from robostack.config import RunConfig, add_choices, chosen
from robostack.core.errors import RobostackError
from robostack.ros import environment, launch_file
from robostack.ros.processes import ProcessGroup
from robostack.store.disk import explained
from robostack.store.run import Run, read_json
from robostack.twin import render
from robostack.view import View
from robostack.watch import require_display

REMEMBERED = 200  # lines of each process
# What a door prints before it exits, or an exception's line. JAX's tracebacks end in a remark on themselves.
MESSAGE = re.compile(r"robostack \w+: |([A-Za-z_]\w*\.)*[A-Z]\w*(Error|Exception|Interrupt|Exit)\b")


class Log:
    """Owns log.txt and the last words of each process. Lines come from several threads: "[actor] …"."""

    def __init__(self, path: Path, show: Callable[[str], None]):
        self.path, self._show = path, show
        self._said: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=REMEMBERED))
        with explained("write", path):
            # Unbuffered: nothing waits that a full disk could refuse when it is closed.
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115

    def write(self, line: str) -> None:
        """Remembers, shows, writes. A full disk takes the last only: the reason must come through."""
        name, _, text = line.removeprefix("[").partition("] ")
        self._said[name].append(text)
        self._show(line)
        with suppress(OSError):
            self._file.write(f"{line}\n".encode())

    def reason(self, name: str) -> str:
        """Why a process ended, in its words: its last line that is a message; "" where it said nothing."""
        said = [text for text in list(self._said[name]) if text.strip()]
        messages = [text for text in said if MESSAGE.match(text) or text.startswith(f"{name}: ")]
        return (messages or said or [""])[-1].strip()

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()


def main(argv: list[str] | None = None, prog: str = "robostack train") -> int:
    """Trains, examines, reports. Status 0 when the run came to its end."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_choices(parser)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where run folders go")
    parser.add_argument(
        "--no-film", action="store_true", help="no pictures: for machines without OpenGL"
    )
    parser.add_argument(
        "--watch", action="store_true", help="the cell in MuJoCo's viewer; needs a display"
    )
    arguments = parser.parse_args(argv)
    config = chosen(arguments)
    _require(config, arguments)
    run = Run.create(arguments.runs, config.name, configs.as_dict(config))
    print(
        yaml.safe_dump(
            configs.as_dict(config), sort_keys=False, default_flow_style=None, width=100
        ),
        end="",
    )
    print(f"run folder: {run.path}\n", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` ends a run as Ctrl-C does
    try:
        _run(run, config, arguments.watch)
    except KeyboardInterrupt:
        print(f"\nstopped; everything recorded so far is in {run.path}", file=sys.stderr)
        return 130
    retell.tell(run, config, with_film=not arguments.no_film)
    return 0


def _require(config: RunConfig, arguments: argparse.Namespace) -> None:
    """What would fail minutes later fails now."""
    if not arguments.no_film:
        from robostack import film  # OpenCV loads a library of OpenGL too

        del film
        render.require()
    if arguments.watch:
        require_display()
    if config.plant == "ros":
        from robostack.ros import runtime  # says what is missing

        del runtime


def _run(run: Run, config: RunConfig, watch: bool) -> None:
    """Starts everything and shows it until the actor is done. Raises RobostackError when a process fails."""
    with (
        View(config) as view,
        Log(run.path / "log.txt", view.say) as log,
        ProcessGroup(log.write) as group,
    ):
        cell = _start_cell(group, config, watch) if config.plant == "ros" else {}
        learner = [sys.executable, "-m", "robostack", "learn", str(run.path)]
        group.start("learner", learner, nice=0 if config.lockstep else 10)
        actor = [sys.executable, "-m", "robostack", "act", str(run.path)]
        # Two cores serve five processes: only the learner gets more than one thread.
        group.start("actor", actor, {**environment.ONE_THREAD, **cell})
        while (ended := group.poll()) is None:
            view.show(
                read_json(run.path / "actor.json", {}), read_json(run.path / "learner.json", {})
            )
            time.sleep(0.2)
        view.show(read_json(run.path / "actor.json", {}), read_json(run.path / "learner.json", {}))
        if ended.name != "actor" or ended.status != 0:
            time.sleep(0.2)  # for its last words
            reason = log.reason(ended.name)
            words = f": {reason}" if reason else ""
            raise RobostackError(f"{ended}{words} (all output: {log.path})")


def _start_cell(group: ProcessGroup, config: RunConfig, watch: bool) -> dict[str, str]:
    """Mirror and guard, from the launch file that users start too; returns the environment they share."""
    shared = {"ROS_DOMAIN_ID": str(environment.free_domain()), **environment.ONE_THREAD}
    given = {
        "robot": config.robot,
        "task": config.task,
        "task_options": " ".join(f"{name}={value!r}" for name, value in config.options.items()),
        "lockstep": str(config.lockstep).lower(),
        "noise": str(config.noise).lower(),
        "watch": str(watch).lower(),
    }
    for node in launch_file.load(environment.mirror_launch_file(), given):
        group.start(node.name, node.command(), shared, stops_last=node.name == "guard")
    return shared
