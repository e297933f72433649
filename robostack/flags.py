"""Flags that name a cell and change a run, the same for every door."""

import argparse
from dataclasses import replace
from pathlib import Path

from robostack import config as configs
from robostack.config import RunConfig
from robostack.core.errors import BadValue


def add_choices(parser: argparse.ArgumentParser) -> None:
    """To a parser, so that `chosen` can read them."""
    parser.add_argument("name", nargs="?", metavar="task", help="folder in tasks/")
    parser.add_argument("--task", default=None, help="the same")
    parser.add_argument("--robot", default=None, help="folder in robots/")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--observe", default=None, help="what the policy sees: state or cameras")
    parser.add_argument(
        "--config", type=Path, default=None, metavar="FILE", help="YAML with any fields of a run"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any field, for example options.clearance=0.0005 or learner.batch=128",
    )


def chosen(arguments: argparse.Namespace) -> RunConfig:
    """The run config that the flags make: the task's own choices, --config, flags, --set; later ones win.

    Raises RobostackError.
    """
    if arguments.name and arguments.task not in (None, arguments.name):
        raise BadValue(f"got task {arguments.name} and --task {arguments.task}; say one of them")
    task = _changed(RunConfig(), arguments).task
    config = _changed(configs.of_task(task), arguments)
    config.load_robot()  # names are wrong now rather than minutes later
    config.load_task()
    return config


def _changed(config: RunConfig, arguments: argparse.Namespace) -> RunConfig:
    """`config` with everything that was said."""
    if arguments.config:
        config = configs.from_file(arguments.config, config)
    flags = {name: getattr(arguments, name) for name in ("task", "robot", "seed", "observe")}
    flags["task"] = arguments.name or arguments.task
    config = replace(config, **{name: value for name, value in flags.items() if value is not None})
    return configs.override(config, arguments.set)
