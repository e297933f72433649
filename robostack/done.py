"""What says that a run's task is done: the task's geometry, or a success classifier that the run keeps a copy of."""

from pathlib import Path

from robostack.config import GEOMETRY, PICTURE, RunConfig
from robostack.core.errors import require
from robostack.learn import judge, trunks
from robostack.learn.judge import Classifier, Success
from robostack.store.disk import explained, write_whole
from robostack.store.run import Run

FILE = "success.safetensors"  # in the run folder


def judge_of(run: Run, config: RunConfig) -> Success | None:
    """The judge of a run, None where geometry is. The first time a copy of its file goes into the run folder.

    A run that goes on judges as it did, whatever becomes of the file that it was begun with. Raises RobostackError.
    """
    if config.success == GEOMETRY:
        return None
    own = run.path / FILE
    if own.exists():
        return Success(_fitting(own, config))
    source = Path(config.success)
    found = Success(_fitting(source, config))
    with explained("read", source):
        data = source.read_bytes()
    write_whole(own, data)
    return found


def check(config: RunConfig) -> None:
    """Raises RobostackError now for what `judge_of` of a new run would."""
    if config.success != GEOMETRY:
        _fitting(Path(config.success), config)


def _fitting(path: Path, config: RunConfig) -> Classifier:
    found = judge.load(path, trunks.load)
    task = found.about.task
    require(task == config.task, f"the task of {path}", task, f"{config.task}, the run's")
    judge.require_cameras(found.about, dict.fromkeys(config.cameras, PICTURE), str(path))
    return found
