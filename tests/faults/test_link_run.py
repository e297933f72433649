"""A whole run whose actor and learner know each other only through the link, which dies meanwhile."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robostack import config as configs
from robostack.core import clock
from robostack.store import params
from robostack.store.episode import episode_paths
from robostack.store.run import Run, read_json
from tests.faults.supervised import ROOT, SMALL
from tests.store.link.rig import Program, free_port, is_same

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def door(*words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "robostack", *map(str, words)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def make(root: Path, **changes) -> Run:
    config = configs.from_dict({"task": "reach", "plant": "twin", **_settings(), **changes})
    return Run.create(root, "reach-fr3-s0", configs.as_dict(config))


def _settings() -> dict:
    import yaml

    found: dict = {"steps": 150}
    for setting in SMALL:
        name, _, value = setting.partition("=")
        part, _, rest = name.partition(".")
        if rest:
            found.setdefault(part, {})[rest] = yaml.safe_load(value)
        else:
            found[name] = yaml.safe_load(value)
    return found


def finish(actor: subprocess.Popen, others: list[subprocess.Popen]) -> None:
    try:
        said, _ = actor.communicate(timeout=200)
        assert actor.returncode == 0, said
    finally:
        for process in (actor, *others):
            process.terminate()
            process.communicate(timeout=20)


def best(run: Run) -> dict[str, np.ndarray]:
    return params.load(params.path_of(run.params, params.pinned_version(run.params))).arrays


def test_a_run_over_a_link_that_dies_ends_with_the_parameters_of_one_on_one_machine(tmp_path):
    alone = make(tmp_path / "alone")
    finish(door("act", alone.path), [door("learn", alone.path)])

    cell, port = make(tmp_path / "cell"), free_port()
    far = tmp_path / "far" / cell.path.name
    serve = Program("serve", tmp_path / "far", "--listen", f"127.0.0.1:{port}")
    join = Program("join", cell.path, "--learner", f"127.0.0.1:{port}")
    join.wait_for("connected")
    actor, learner = door("act", cell.path), door("learn", far)
    try:
        for count in (2, 5, 8):
            while len(episode_paths(cell.episodes)) < count:
                assert actor.poll() is None and learner.poll() is None
                clock.sleep(0.01)
            serve.kill()
            join.kill()
            join = Program("join", cell.path, "--learner", f"127.0.0.1:{port}")
            clock.sleep(0.3)
            serve = Program("serve", tmp_path / "far", "--listen", f"127.0.0.1:{port}")
        actor.wait(200)
        end = clock.now() + 20
        while not is_same(cell.episodes, far / "episodes") and clock.now() < end:
            clock.sleep(0.05)
    finally:
        finish(actor, [learner])
        join.end()
        serve.end()
    assert is_same(cell.episodes, far / "episodes")
    assert read_json(far / "params" / "best.json") == read_json(alone.params / "best.json")
    ours, theirs = best(alone), best(Run(far))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)
