"""A small run to its end, which tests copy and harm, and signals as they were."""

import shutil
import signal
from pathlib import Path

import pytest

from benchmarks import resume
from robostack.store.run import Run

TINY = ("learner.widths=[16,16]", "learner.batch=16", "steps=150")


@pytest.fixture(autouse=True)
def own_signals():
    """Doors take over signals; a test run wants its Ctrl-C back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Run:
    """The run that nobody touched, with checkpoints whenever there is time for one."""
    often = ("checkpoint_every=0.0", "checkpoints=999")
    run = resume.begin(tmp_path_factory.mktemp("whole"), *TINY, *often)
    resume.play(run)
    return run


@pytest.fixture
def copy(whole, tmp_path) -> Run:
    return Run(Path(shutil.copytree(whole.path, tmp_path / "copy")))
