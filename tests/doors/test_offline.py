"""The door `offline`: a policy of recorded episodes alone, that a run begins with; one line for what does not fit."""

import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robostack import beginnings, cli, train
from robostack import config as configs
from robostack.config import RunConfig
from robostack.core.types import EpisodeHeader, Step, Who
from robostack.store.episode import EpisodeWriter, episode_paths
from robostack.store.run import read_json
from tests.doors.test_resume import one_line

SMALL = ("--steps=30", "--set=learner.widths=[16,16]", "--set=learner.batch=16")


def record(folder: Path, index=0, kind="demonstration", length=8, config=None, ends=True) -> None:
    """An episode of a task's spec, with actions that chance draws."""
    config = config or RunConfig(task="reach")
    spec, rng = config.spec(), np.random.default_rng(index)
    frames = rng.normal(size=(length + 1, spec.observation_size)).astype(np.float32)
    writer = EpisodeWriter(folder, spec)
    facts = config.robot, config.task, "mock", index, spec.digest, "0"
    writer.begin(EpisodeHeader(index, kind, *facts), frames[0])
    for i in range(length):
        action, is_last = rng.uniform(-1, 1, spec.action_size), i + 1 == length
        who = Who.PERSON if kind == "demonstration" else Who.POLICY
        ended = {"reward": float(is_last), "terminated": is_last, "truncated": False}
        times = {"stamp": i * spec.period, "age": 0.0, "lateness": 0.0}
        step = Step(frames[i], action, action, who, parameters=0, **ended, **times)
        writer.append(step, frames[i + 1])
    if ends:
        writer.end()
    writer.close()


@pytest.fixture
def run(tmp_path) -> Path:
    """As a run leaves it, with one episode that is cut and one that policies are examined with."""
    episodes = tmp_path / "run" / "episodes"
    for index, kind in enumerate(["demonstration", "demonstration", "practice", "evaluation"]):
        record(episodes, index, kind)
    record(episodes, 4, "practice", ends=False)
    return tmp_path / "run"


def test_a_policy_of_episodes_alone_is_one_that_the_command_it_names_begins_with(
    run, tmp_path, capsys, monkeypatch
):
    out = tmp_path / "out"
    assert cli.main(["offline", str(run), "--out", str(out), *SMALL]) == 0
    said = capsys.readouterr().out.splitlines()
    made = out / "000000.safetensors"
    assert said[0] == f"{made}: 30 learner steps on 24 transitions of 3 episodes, 2 files left out"
    told = read_json(out / "offline.json")
    assert (told["steps"], told["transitions"], told["task"]) == (30, 24, "reach")
    assert {"value_loss", "critic_loss", "actor_loss"} <= set(told)
    assert sorted(path.name for path in out.iterdir()) == ["000000.safetensors", "offline.json"]
    verb, *words = shlex.split(said[1].removeprefix("go on with: robostack "))
    begun = []
    monkeypatch.setattr(train.Run, "create", lambda *given: begun.append(given) or 1 / 0)
    with pytest.raises(ZeroDivisionError):  # all that is checked before a run is made is passed
        cli.main([verb, *words, "--no-film", "--set=plant=twin", f"--runs={tmp_path}"])
    (_, _, made_of) = begun[0]
    config = configs.from_dict(made_of)
    assert config.start.file == str(made) and config.learner.widths == (16, 16)
    beginnings.require(config)
    assert cli.main(["offline", str(run), "--out", str(out), *SMALL]) == 2
    one_line(capsys, "000000.safetensors is there already")


def test_what_cannot_be_learned_from_is_one_line_and_leaves_nothing(run, tmp_path, capsys):
    out = tmp_path / "out"

    def refused(folder: Path, *words: str) -> None:
        assert cli.main(["offline", str(folder), "--out", str(out), *SMALL, *words]) == 2
        assert not out.exists()

    (empty := tmp_path / "empty").mkdir()
    refused(empty)
    one_line(capsys, "holds no episode")
    record(tmp_path / "examined", kind="evaluation")
    refused(tmp_path / "examined")
    one_line(capsys, "none of the 1 episodes can be learned from")
    refused(run, "peg_insert")
    one_line(capsys, "000000-demonstration.mcap is of task reach, not peg_insert")
    refused(run, "--robot=ur5e")
    one_line(capsys, "is of robot fr3, not ur5e")
    refused(run, "--observe=cameras")
    one_line(
        capsys, "is of a run with observe=state; record with `robostack train --observe cameras`"
    )
    refused(run, "--steps=0")
    one_line(capsys, "--steps is 0, expected at least 1")
    refused(run, "--set=learner.offline.expectile=1")
    one_line(capsys, "offline.expectile is 1.0, expected 0.5 to less than 1")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (RunConfig(task="peg_insert"), "is of task peg_insert, others are of reach"),
        (RunConfig(task="reach", robot="ur5e"), "is of robot ur5e, others are of fr3"),
        (RunConfig(task="reach", observe="cameras"), "another observation or action than others"),
    ],
)
def test_a_mix_is_refused_by_the_first_that_differs(run, tmp_path, capsys, other, says):
    record(run / "episodes", 5, config=other)
    assert cli.main(["offline", str(run), "--out", str(tmp_path / "out"), *SMALL]) == 2
    one_line(capsys, "000005-demonstration.mcap", says)
    assert not (tmp_path / "out").exists()


def test_episodes_without_the_pictures_that_the_policy_sees_are_refused(tmp_path, capsys):
    """Their spec promises cameras, the files have none: an import, or another project's."""
    record(tmp_path / "blind", config=replace(RunConfig(task="reach"), observe="cameras"))
    assert len(episode_paths(tmp_path / "blind")) == 1
    words = ["offline", str(tmp_path / "blind"), "--out", str(tmp_path / "out"), *SMALL]
    for more in ([], ["--observe=cameras"]):
        assert cli.main([*words, *more]) == 2
        one_line(capsys, "has no pictures of front_camera, wrist_camera")
