"""Policies of other runs that a run begins with: checked, and brought into its folder, so that it stands alone."""

from pathlib import Path

from robostack.config import RunConfig
from robostack.core.errors import RobostackError, Unavailable
from robostack.learn import policy
from robostack.learn.acting import network_of
from robostack.learn.policy import LearnedPolicy
from robostack.store import params
from robostack.store.disk import explained, write_whole
from robostack.store.params import Parameters
from robostack.store.run import Run

START, GUIDE = "start.safetensors", "guide.safetensors"
EXPERT = "expert"  # as a guide: the task's script


def guide_file(config: RunConfig) -> str:
    """The guide's parameters; "" where nobody guides or a script does."""
    return "" if config.jump_start.guide == EXPERT else config.jump_start.guide


def require(config: RunConfig) -> None:
    """Raises RobostackError for a file that is missing, damaged, or of another task or network."""
    if config.start.file:
        _start(Path(config.start.file), config)
    if guide_file(config):
        policy.network_of(params.load(_there(Path(guide_file(config))), config.spec()))


def bring(run: Run, config: RunConfig) -> None:
    """Copies the files of a new run into its folder. Raises Unavailable."""
    for source, name in ((config.start.file, START), (guide_file(config), GUIDE)):
        if source:
            with explained("copy", Path(source)):
                write_whole(run.path / name, Path(source).read_bytes())


def start(run: Run, config: RunConfig) -> Parameters:
    """The policy to begin with. Raises RobostackError."""
    return _start(run.path / START, config)


def guide(run: Run, config: RunConfig) -> LearnedPolicy:
    """The policy that guides. Raises RobostackError."""
    return policy.load(_there(run.path / GUIDE), config.spec())


def _start(path: Path, config: RunConfig) -> Parameters:
    found = params.load(_there(path), config.spec())
    got, wanted = policy.network_of(found), network_of(config.spec(), config.learner)
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
