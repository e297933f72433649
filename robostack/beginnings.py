"""Policies of other runs that a run begins with: checked, and brought into its folder, so that it stands alone."""

from collections.abc import Callable
from pathlib import Path

from robostack.config import RunConfig
from robostack.core import errors
from robostack.core.errors import RobostackError, Unavailable
from robostack.core.guide import Source
from robostack.learn import policy
from robostack.learn.acting import network_of
from robostack.store import params
from robostack.store.disk import explained, write_whole
from robostack.store.params import Parameters
from robostack.store.run import Run

START, GUIDE, MASK = "start.safetensors", "guide.safetensors", "mask.safetensors"
EXPERT = "expert"  # as a guide: the task's script


def guides(config: RunConfig) -> dict[str, str]:
    """Files of parameters that guide, by their names in the run's folder; scripts have none."""
    named = {GUIDE: config.jump_start.guide, MASK: config.mask.guide}
    return {name: file for name, file in named.items() if file not in ("", EXPERT)}


def require(config: RunConfig) -> None:
    """Raises RobostackError for a file that is missing, damaged, or of another task or network.

    And for a mask that would not be open when the run's last check comes.
    """
    if config.start.file:
        _start(Path(config.start.file), config)
    if config.mask.guide:
        # The newest version lacks the last episode.
        left, least = (1 - config.mask.open_by) * config.steps, 2 * config.load_task().steps
        expected = f"so low that {least} of the {config.steps} steps are left"
        errors.require(left >= least, "mask.open_by", config.mask.open_by, expected)
    for file in guides(config).values():
        found = params.load(_there(Path(file)), config.spec())
        policy.network_of(found)
        policy.require_alone(found, Path(file))


def bring(run: Run, config: RunConfig) -> None:
    """Copies the files of a new run into its folder. Raises Unavailable."""
    for name, source in {START: config.start.file, **guides(config)}.items():
        if source:
            with explained("copy", Path(source)):
                write_whole(run.path / name, Path(source).read_bytes())


def start(run: Run, config: RunConfig) -> Parameters:
    """The policy to begin with. Raises RobostackError."""
    return _start(run.path / START, config)


def source(run: Run, config: RunConfig, guide: str, name: str) -> Callable[[], Source]:
    """What makes a guide for an episode: the task's script, or the policy in the run's file of this name.

    Raises RobostackError.
    """
    if guide == EXPERT:
        task = config.load_task()

        def script() -> Source:
            expert = task.expert(task.options)
            return lambda seen: expert.act(seen.terms)

        return script
    learned = policy.load(_there(run.path / name), config.spec())

    def anew() -> Source:
        learned.begin()
        return lambda seen: learned.act(seen.observation, None, seen.pictures)

    return anew


def _start(path: Path, config: RunConfig) -> Parameters:
    found = params.load(_there(path), config.spec())
    got, wanted = policy.network_of(found), network_of(config.spec(), config.learner)
    policy.require_alone(found, path)
    if got != wanted:
        ours, theirs = wanted.as_dict(), got.as_dict()
        differs = [name for name in ours if ours[name] != theirs[name]]
        said = "; ".join(f"{n} {theirs[n]}, this run has {ours[n]}" for n in differs)
        raise RobostackError(
            f"{path} is of another network: {said}; set learner.{differs[0]} as it was there"
        )
    return found


def _there(path: Path) -> Path:
    if not path.is_file():
        raise Unavailable(
            f"{path} is not there; name a parameter file, such as runs/NAME/params/000042.safetensors"
        )
    return path
