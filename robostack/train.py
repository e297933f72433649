"""Door `train`: a cell, an actor and a learner as separate processes, one view of them, and a report at the end."""

import argparse
import shlex
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from robostack import beginnings, done, interrupts, link, retell
from robostack import config as configs
from robostack.config import RunConfig
from robostack.core import clock
from robostack.core.errors import BadValue, RobostackError
from robostack.flags import add_choices, chosen
from robostack.log import Log
from robostack.ros import environment, launch_file
from robostack.ros.processes import NODE, Ended, ProcessGroup
from robostack.store import lock
from robostack.store.pulse import LEARNER, Patience
from robostack.store.run import Run, read_json, versions
from robostack.twin import render
from robostack.view import View
from robostack.watch import require_display

LOCK = ".train.lock"  # in the run folder: held by us and by all that we start
FAREWELL_S = 60.0  # s for a courier to bring what is left when the actor is done
# s of silence. A learner compiles without a beat, an actor waits for a cell; the guard holds long before any of these.
PATIENCE = {
    "learner": LEARNER,
    "actor": Patience(300.0, 120.0),
    "courier": Patience(60.0, 60.0),
}


def main(argv: list[str] | None = None, prog: str = "robostack train") -> int:
    """Trains, examines, reports. Status 0 when the run came to its end."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_choices(parser)
    parser.add_argument("--runs", type=Path, help="where run folders go, ./runs if not said")
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="RUN",
        help="goes on with a run that was ended, as it was begun",
    )
    parser.add_argument(
        "--no-film", action="store_true", help="no pictures: for machines without OpenGL"
    )
    parser.add_argument(
        "--watch", action="store_true", help="the cell in MuJoCo's viewer; needs a display"
    )
    parser.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="parameters of another run to begin with, kept near while practice succeeds (start.*)",
    )
    parser.add_argument(
        "--learner",
        metavar="HOST:PORT",
        help="the learner is there (`robostack link serve RUNS --learn`), not on this machine",
    )
    parser.add_argument(
        "--keys", type=Path, help="folder of `robostack link keygen`, for --learner"
    )
    arguments = parser.parse_args(argv)
    if arguments.resume:
        _require_no_choices(arguments)
        run = Run.open(arguments.resume)
        config = configs.from_dict(run.config)
        _require(config, arguments)
    else:
        config = chosen(arguments)
        if arguments.start:
            config = replace(config, start=replace(config.start, file=str(arguments.start)))
        if arguments.no_film:
            config = replace(config, pictures=())
        done.check(config)
        _require(config, arguments)
        beginnings.require(config)
        run = Run.create(arguments.runs or Path("runs"), config.name, configs.as_dict(config))
        beginnings.bring(run, config)
    with lock.held(run.path / LOCK) as held:
        return _work(run, config, arguments, held)


def _work(run: Run, config: RunConfig, arguments: argparse.Namespace, held: int) -> int:
    """The run to its end and its report. However it ends, the last line says how to go on."""
    interrupts.raise_interrupt(signal.SIGTERM, signal.SIGHUP)  # `kill`, or a terminal that goes
    words = ["robostack", "train", "--resume", str(run.path)]
    words += ["--learner", arguments.learner] if arguments.learner else []
    words += ["--keys", str(arguments.keys)] if arguments.keys else []
    again = shlex.join(words)
    try:
        if _told(run.path / "actor.json").get("phase") == "done":
            print(f"{run.path} has come to its end; its report is made again", flush=True)
        else:
            _introduce(run, config)
            _run(run, config, arguments, held)
        retell.tell(run, config, with_film=not arguments.no_film)
    except KeyboardInterrupt:
        print(f"\nstopped; everything recorded so far is in {run.path}", file=sys.stderr)
        print(f"go on with: {again}", file=sys.stderr)
        return 130
    except RobostackError as error:
        raise RobostackError(f"{error}; go on with `{again}`") from error
    except Exception:
        print(f"go on with: {again}", file=sys.stderr)
        raise
    return 0


def _introduce(run: Run, config: RunConfig) -> None:
    values = configs.as_dict(config)
    print(yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=100), end="")
    print(config.memory())
    print(f"run folder: {run.path}\n", flush=True)


def _require_no_choices(arguments: argparse.Namespace) -> None:
    """Raises BadValue for flags that would make another run of the one to resume."""
    names = ("name", "task", "robot", "seed", "observe", "config", "set", "runs", "start")
    if given := [
        f"--{name.replace('name', 'task')}"
        for name in names
        if getattr(arguments, name) not in (None, [])
    ]:
        raise BadValue(
            f"got {' '.join(given)} with --resume; a run goes on as it was begun (config.json in "
            f"{arguments.resume}): leave {'it' if len(given) == 1 else 'them'} out, or start a new run"
        )


def _require(config: RunConfig, arguments: argparse.Namespace) -> None:
    """What would fail minutes later fails now."""
    if arguments.learner:
        link.require(arguments.learner, arguments.keys)
        if config.start.file:
            raise BadValue(
                f"got a policy to begin with, {config.start.file}, and --learner; it is not sent to "
                "another machine yet: train on this one"
            )
    else:
        config.require_memory()
    if any(map(config.looks_through, configs.KINDS)):
        render.require()
    if not arguments.no_film:
        from robostack import film  # OpenCV loads a library of OpenGL too

        del film
        render.require()
    if arguments.watch:
        require_display()
    if config.plant == "ros":
        from robostack.ros import runtime  # says what is missing

        del runtime


def _run(run: Run, config: RunConfig, arguments: argparse.Namespace, held: int) -> None:
    """Starts everything and shows it until the actor is done. Raises RobostackError when it cannot go on."""
    with (
        View(config) as view,
        Log(run.path / "log.txt", view.say) as log,
        ProcessGroup(log.write, [held]) as group,
    ):
        if arguments.resume:
            for line in _resuming(run):
                log.write(f"[train] {line}")
        cell = _start_cell(group, config, arguments.watch) if config.plant == "ros" else {}
        _start_learner(group, run, config, arguments)
        actor = [sys.executable, "-m", "robostack", "act", str(run.path)]
        # Two cores serve five processes: only the learner gets more than one thread.
        group.start("actor", actor, {**environment.ONE_THREAD, **cell}, patience=PATIENCE["actor"])
        try:
            ended = _watch(group, view, run)
        except KeyboardInterrupt:
            log.keep(f"[train] stopped from outside {clock.wall_time()}")
            raise
        if ended.name != "actor" or ended.status != 0:
            time.sleep(0.2)  # for its last words, where it could still say any
            reason = "" if ended.status == -signal.SIGKILL else log.reason(ended.name)
            words = f": {reason}" if reason else ""
            log.keep(f"[train] stopped: {ended}{words}")
            raise RobostackError(f"{ended}{words} (all output: {log.path})")
        if arguments.learner:
            _await_courier(group, log)


def _await_courier(group: ProcessGroup, log: Log) -> None:
    """The last episodes are on their way; a learner that is away must not keep the report back."""
    deadline = clock.now() + FAREWELL_S
    while group.status("courier") is None and clock.now() < deadline:
        time.sleep(0.05)
    if group.status("courier") != 0:
        log.write(
            "[train] the learner has not everything yet; what is missing goes with `robostack link join`"
        )


def _start_learner(
    group: ProcessGroup, run: Run, config: RunConfig, arguments: argparse.Namespace
) -> None:
    """Here, or a courier to the machine where it is. They are started again, and nobody else: docs/decisions/0011."""
    program = [sys.executable, "-m", "robostack"]
    if arguments.learner:
        words = ["link", "join", str(run.path), "--until-done", "--learner", arguments.learner]
        words += ["--keys", str(arguments.keys)] if arguments.keys else []
        patience = PATIENCE["courier"]
        group.start("courier", [*program, *words], patience=patience, may_restart=True)
        return
    nice, patience = 0 if config.lockstep else 10, PATIENCE["learner"]
    words = ["learn", str(run.path)]
    group.start("learner", [*program, *words], nice=nice, patience=patience, may_restart=True)


def _watch(group: ProcessGroup, view: View, run: Run) -> Ended:
    """Shows what goes on until a process ends for good."""
    while True:
        ended = group.poll()
        view.show(_told(run.path / "actor.json"), _told(run.path / "learner.json"))
        if ended:
            return ended
        time.sleep(0.2)


def _resuming(run: Run) -> list[str]:
    """What the log says first: when, and what is not as it was."""
    now = versions()
    then = read_json(run.path / "versions.json", {})
    lines = [f"resumed {clock.wall_time()}"]
    if differs := [name for name in sorted({*now, *then}) if now.get(name) != then.get(name)]:
        names = ", ".join(
            f"{name} {then.get(name, 'none')} -> {now.get(name, 'none')}" for name in differs
        )
        lines.append(
            f"warning: begun with other versions ({names}): it goes on, but not bit for bit as it would have"
        )
    return lines


def _told(path: Path) -> dict[str, Any]:
    """What a process told last; nothing where a power cut left half a file: it will tell again."""
    try:
        told = read_json(path, {})
    except RobostackError:
        return {}
    return told if isinstance(told, dict) else {}


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
        "cameras": " ".join(config.cameras) if config.pictures else "",
    }
    for node in launch_file.load(environment.mirror_launch_file(), given):
        is_guard = node.name == "guard"
        group.start(node.name, node.command(), shared, stops_last=is_guard, patience=NODE)
    return shared
