"""Door `offline`: learns a policy from recorded episodes alone, without a robot, for `train --start` to go on from."""

import argparse
import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import track

from robostack import flags
from robostack.config import RunConfig
from robostack.core.errors import BadValue, RobostackError, require
from robostack.core.spec import Spec
from robostack.core.types import EpisodeHeader
from robostack.learn import policy
from robostack.learn.learner import Learner
from robostack.store import params
from robostack.store.episode import recover
from robostack.store.run import write_json
from robostack.store.verify import episode_files

STEPS = 10_000
CHUNK = 100  # learner steps between two looks at the bar
EXAMINED = ("validation", "evaluation")  # kinds that a run of the same seed is examined with
NUMBERS = "offline.json"
RECORD = "record with `robostack train --observe cameras`"


class Log(NamedTuple):
    """Whole episodes of one task, robot and spec."""

    paths: list[Path]
    header: EpisodeHeader  # of the first
    spec: Spec
    steps: int
    left_out: int  # files that are cut or damaged, or that policies are examined with


def main(argv: list[str] | None = None) -> int:
    """Exit status 0."""
    parser = argparse.ArgumentParser(prog="robostack offline", description=__doc__)
    where = (
        "a run folder, an episodes folder, or one file; all of one task and robot; "
        "where you know which episodes are good, only those"
    )
    parser.add_argument("episodes", type=Path, metavar="EPISODES", help=where)
    help = "a new folder, for the parameters and the numbers of learning"
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help=help)
    parser.add_argument("--steps", type=int, default=STEPS, help=f"learner steps, {STEPS}")
    flags.add_choices(parser)
    arguments = parser.parse_intermixed_args(argv)  # a task may come after flags
    require(arguments.steps >= 1, "--steps", arguments.steps, "at least 1")
    out = arguments.out
    if (there := params.path_of(out, 0)).exists():
        raise BadValue(f"{there} is there already; name a folder that is new")
    log = _log(episode_files(arguments.episodes))
    config = _config(arguments, log)
    info, learner = _learn(config, log, arguments.steps)
    about = {"updates": learner.steps, "episodes": len(log.paths)}
    network = learner.algorithm.network
    made = policy.publish(out, 0, learner.acting, network, learner.replay.spec, **about)
    numbers = {"steps": learner.steps, "transitions": len(learner.replay), **info}
    write_json(out / NUMBERS, {**numbers, "episodes": len(log.paths), "task": config.task})
    left_out = f", {log.left_out} files left out" if log.left_out else ""
    print(f"{made}: {learner.steps} learner steps on {numbers['transitions']} transitions", end="")
    print(f" of {len(log.paths)} episodes{left_out}")
    print(f"go on with: {shlex.join(_next(arguments, config, made))}")
    return 0


def _log(paths: list[Path]) -> Log:
    """What lies there. Raises RobostackError for a mix, or where nothing can be learned from."""
    chosen: list[Path] = []
    first: tuple[EpisodeHeader, Spec] | None = None
    steps = 0
    for path in _tracked(paths, "reading"):
        episode, spec, is_complete = recover(path, has_pictures=False)
        header = episode.header
        if first is None:
            first = header, spec
        if (why := _differs(header, spec, *first)) is not None:
            raise BadValue(f"{path} is of {why}; name a folder of one task and robot")
        if is_complete and episode.steps and header.kind not in EXAMINED:
            chosen.append(path)
            steps += len(episode.steps)
    if first is None or not chosen:
        raise BadValue(
            f"none of the {len(paths)} episodes can be learned from: those of {' and '.join(EXAMINED)} are "
            "for examinations, and others must be whole; `robostack episodes verify` tells more"
        )
    return Log(chosen, *first, steps, len(paths) - len(chosen))


def _differs(
    header: EpisodeHeader, spec: Spec, first: EpisodeHeader, first_spec: Spec
) -> str | None:
    """What makes an episode one of another log; None where nothing does."""
    for name in ("task", "robot"):
        if (got := getattr(header, name)) != getattr(first, name):
            return f"{name} {got}, others are of {getattr(first, name)}"
    return None if spec == first_spec else "another observation or action than others"


def _config(arguments: argparse.Namespace, log: Log) -> RunConfig:
    """Choices for these episodes, with room for all of them. Raises RobostackError where they do not fit."""
    header, views = log.header, log.spec.views
    if not (arguments.config or arguments.name or arguments.task):
        arguments.task = header.task
    if not (arguments.config or arguments.robot):
        arguments.robot = header.robot
    if views and not (arguments.config or arguments.observe):
        names = ",".join(view.name for view in views)
        arguments.observe = "cameras"
        arguments.set = [f"cameras=[{names}]", *arguments.set]
    config = flags.chosen(arguments)
    for name in ("task", "robot"):
        if (got := getattr(header, name)) != getattr(config, name):
            raise BadValue(f"{log.paths[0]} is of {name} {got}, not {getattr(config, name)}")
    if config.sees and not views:
        raise BadValue(f"{log.paths[0]} is of a run with observe=state; {RECORD}")
    if missing := {view.name for view in views} - set(header.cameras):
        names = ", ".join(sorted(missing))
        raise BadValue(f"{log.paths[0]} has no pictures of {names}; {RECORD}")
    if config.spec() != log.spec:
        recover(log.paths[0], config.spec(), has_pictures=False)  # says the difference
    room = log.steps + len(log.paths)
    config = replace(config, capacity=max(1000, room))
    config.require_memory()
    return config


def _learn(config: RunConfig, log: Log, steps: int) -> tuple[dict[str, float], Learner]:
    """The last numbers, and what learned."""
    spec = config.spec()
    learner = Learner(spec, config.learner, config.seed, config.capacity, "iql")
    learner.replay.on_fault = print
    for path in _tracked(log.paths, "taking in"):
        learner.add([recover(path, spec, has_pictures=config.sees).episode])
    if not len(learner.replay):
        raise RobostackError("no step of these episodes can be learned from")
    info: dict[str, float] = {}
    for start in _tracked(range(0, steps, CHUNK), "learning"):
        info = learner.train(min(CHUNK, steps - start))
    return info, learner


def _next(arguments: argparse.Namespace, config: RunConfig, made: Path) -> list[str]:
    """The command that goes on online, with the choices that made these weights."""
    words = ["robostack", "train", config.task, "--start", str(made)]
    if arguments.config:
        words += ["--config", str(arguments.config)]
    for name in ("robot", "observe", "seed"):
        if (chosen := getattr(config, name)) != getattr(RunConfig(), name):
            words += [f"--{name}", str(chosen)]
    for setting in arguments.set:
        words += ["--set", setting]
    return words


def _tracked(items: Iterable, what: str) -> Iterable:
    console = Console(stderr=True)
    return track(items, what, console=console, transient=True, disable=not console.is_terminal)
