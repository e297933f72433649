"""A run that was killed goes on: nothing is played or trained twice that counts, and it ends bit-equal."""

import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import resume
from benchmarks.resume import Kill
from robostack import cli
from robostack import config as configs
from robostack.act import Actor, Interrupted, make_plant
from robostack.core import catalog
from robostack.core.errors import BadValue
from robostack.core.guard import Guard
from robostack.core.loop import Loop, StillPolicy
from robostack.core.operator import ScriptedPerson, Style
from robostack.core.plant import GuardedPlant
from robostack.store import params, spool
from robostack.store.episode import episode_paths, outcome, recover
from robostack.store.lock import held
from robostack.store.run import Run, read_json, write_json
from robostack.twin.plant import TwinPlant
from tests.doors.conftest import TINY

BOTH = ("learner", "actor")


def first(run: Run, kind: str) -> int:
    """How many episode files are there when the first of this kind is."""
    kinds = [path.stem.partition("-")[2] for path in episode_paths(run.episodes)]
    return kinds.index(kind) + 1


@pytest.mark.parametrize(
    "moments",
    [
        # Kind of the episode that runs, s after that, who. To start takes seconds: 1.5 s later they import or compile.
        [("demonstration", 0.05, ("actor",)), ("practice", 0.0, BOTH), ("practice", 1.5, BOTH)],
        [("practice", 0.0, ("learner",)), ("solo", 0.01, BOTH), ("solo", 2.5, ("learner",))],
        [("validation", 0.01, BOTH), ("evaluation", 0.02, ("actor",))],
    ],
    ids=["demonstrating and practising", "warming up and checking", "choosing and examining"],
)
def test_a_killed_run_ends_bit_equal_to_one_that_nobody_touched(whole, tmp_path, moments):
    kills = tuple(Kill(who, first(whole, kind), delay) for kind, delay, who in moments)
    print("; ".join(map(str, kills)))
    run = resume.begin(tmp_path, *TINY, "checkpoint_every=0.05")
    resume.play(run, kills)
    assert resume.differences(whole, run) == []


def forget(run: Run, index: int, cut_at: float | None = None) -> None:
    """What the actor did from episode `index` on is undone; with `cut_at`, that part of the episode stays."""
    gone = episode_paths(run.episodes)[index:]
    data = gone[0].read_bytes()
    for path in gone:
        path.unlink()
    if cut_at is not None:
        gone[0].write_bytes(data[: int(cut_at * len(data))])


@pytest.mark.ros
def test_a_killed_run_over_ros_topics_is_resumed_to_the_same_end(whole, tmp_path):
    """All processes at once: the children of `train` end with it. The one nobody touched had no ROS at all."""
    train = [sys.executable, "-m", "robostack", "train", "--no-film"]
    chosen = [f"--set={setting}" for setting in (*resume.SMALL, *TINY, "plant=ros")]
    with open(tmp_path / "said.txt", "w") as said:
        process = subprocess.Popen(
            [*train, "--task=reach", f"--runs={tmp_path / 'runs'}", *chosen],
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    deadline, count = time.monotonic() + 60, first(whole, "practice") + 2
    while len(list((tmp_path / "runs").glob("*/episodes/*.mcap"))) < count:
        still = process.poll() is None and time.monotonic() < deadline
        assert still, (tmp_path / "said.txt").read_text()
        time.sleep(0.01)
    process.kill()
    process.wait()
    run = Run.open(next((tmp_path / "runs").iterdir()))
    done = subprocess.run([*train, "--resume", str(run.path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    first_made, made = resume.made(whole), resume.made(run)
    for part in ("observations", "actions", "pins"):
        assert made[part] == first_made[part], part
    # The learner was stopped when the actor was done: it had no need to make the last versions.
    assert len(made["parameters"]) > 5
    assert made["parameters"].items() <= first_made["parameters"].items()


KINDS = ("demonstration", "practice", "solo", "validation", "evaluation")
PLACES = [(kind, cut_at) for kind in KINDS for cut_at in (None, 0.5)]
PLACES += [("practice", cut_at) for cut_at in (0.0, 0.001, 0.3, 0.9999)]


@pytest.mark.parametrize(("kind", "cut_at"), PLACES)
def test_an_actor_goes_on_from_any_place_of_any_episode(whole, copy, kind, cut_at):
    index = first(whole, kind)  # the second of the phase
    forget(copy, index, cut_at)
    assert cli.main(["act", str(copy.path)]) == 0
    assert resume.differences(whole, copy) == []
    cut = list((copy.episodes / "cut").glob("*")) if cut_at is not None else []
    assert [path.name for path in cut] == (
        [] if cut_at is None else [episode_paths(whole.episodes)[index].name]
    )


def test_what_was_cut_twice_is_kept_twice(copy, whole):
    forget(copy, 1, 0.5)
    (copy.episodes / "cut").mkdir()
    shutil.copy(episode_paths(copy.episodes)[1], copy.episodes / "cut")
    assert cli.main(["act", str(copy.path)]) == 0
    assert len(list((copy.episodes / "cut").iterdir())) == 2


def test_a_run_that_is_done_plays_nothing_and_says_so(whole, capsys):
    before = {path: path.read_bytes() for path in whole.episodes.iterdir()}
    told = read_json(whole.path / "actor.json")
    assert cli.main(["act", str(whole.path)]) == 0
    assert f"was done: all its {len(before)} episodes are there" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in whole.episodes.iterdir()} == before
    again = read_json(whole.path / "actor.json")
    assert {**told, "written": ""} == {**again, "written": ""}  # its time of training too


def test_time_of_training_goes_on_where_it_was(copy, whole):
    told = read_json(copy.path / "actor.json")
    write_json(copy.path / "actor.json", {**told, "training_seconds": 1000.0})
    forget(copy, first(whole, "validation") - 2)
    assert cli.main(["act", str(copy.path)]) == 0
    assert 1000.0 < read_json(copy.path / "actor.json")["training_seconds"] < 1060.0


def test_half_an_actor_json_after_a_power_cut_costs_no_run(copy):
    (copy.path / "actor.json").write_text("")
    forget(copy, len(episode_paths(copy.episodes)) - 1)
    assert cli.main(["act", str(copy.path)]) == 0


def one_line(capsys, *words: str) -> None:
    err = capsys.readouterr().err.strip()
    assert all(word in err for word in words) and "\n" not in err, err


def test_an_episode_that_is_missing_is_one_line(copy, capsys):
    path = episode_paths(copy.episodes)[5]
    path.unlink()
    assert cli.main(["act", str(copy.path)]) == 2
    one_line(capsys, f"{copy.episodes} has no episode 5, but has episode 6; put it back")


def test_a_damaged_episode_with_later_ones_is_one_line(copy, capsys):
    path = episode_paths(copy.episodes)[5]
    path.write_bytes(path.read_bytes()[:-300])
    assert cli.main(["act", str(copy.path)]) == 2
    one_line(capsys, str(path), "is cut or damaged, and later episodes were made with")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": 3}, ("demonstration with seed 0", "demonstration with seed 3000000")),
        ({"demonstrations": 2}, ("demonstration with seed 2", "practice with seed 2")),
        ({"person": {"budget": 0}}, ("the person helped in", "would not have")),
    ],
)
def test_a_folder_that_does_not_fit_its_config_is_one_line(copy, capsys, change, words):
    before = sorted(copy.episodes.iterdir())
    write_json(copy.path / "config.json", {**copy.config, **change})
    assert cli.main(["act", str(copy.path)]) == 2
    one_line(capsys, *words)
    assert sorted(copy.episodes.iterdir()) == before


@pytest.mark.parametrize(("verb", "who"), [("act", "actor"), ("learn", "learner")])
def test_a_run_has_one_actor_and_one_learner(copy, capsys, verb, who):
    with held(copy.path / f".{who}.lock"):
        assert cli.main([verb, str(copy.path)]) == 2
    one_line(capsys, f"{copy.path} is being worked on by process")


def test_ctrl_c_while_going_through_what_is_there_ends_at_once(copy):
    config = configs.from_dict(copy.config)
    plant = make_plant(config)
    actor = Actor(copy, config, plant)
    actor.is_stopped = True
    with pytest.raises(Interrupted):
        actor.run()
    plant.close()


def real_time(run: Run) -> configs.RunConfig:
    """From now on the run is in real time: what was cut stays."""
    write_json(run.path / "config.json", {**run.config, "lockstep": False})
    return configs.from_dict(run.config)


def act_until(run: Run, config: configs.RunConfig, last: int) -> None:
    """Somebody stops the actor when there is an episode after this one."""

    class Stopped(Actor):
        def _check_stopped(self) -> None:
            self.is_stopped = len(episode_paths(run.episodes)) > last
            super()._check_stopped()

    plant = make_plant(config)
    actor = Stopped(run, config, plant)
    with pytest.raises(Interrupted):
        actor.run()
    actor.close()
    plant.close()


def test_an_actor_that_is_stopped_leaves_its_last_steps_on_the_disk(tmp_path, monkeypatch):
    run = resume.begin(tmp_path, *TINY)
    if (memory := spool.place(run.seat)) is None:
        pytest.skip(f"{spool.MEMORY} is not there to write to")
    monkeypatch.setattr(os, "fdatasync", lambda handle: time.sleep(0.1))
    act_until(run, real_time(run), 1)
    assert not list(memory.rglob("*")), "steps still wait in memory"
    assert recover(episode_paths(run.episodes)[0]).is_complete


@pytest.mark.parametrize("cut_at", [0.0, 0.5])
def test_in_real_time_a_cut_episode_stays_and_the_next_one_is_played(tmp_path, cut_at):
    run = resume.begin(tmp_path, *TINY)
    config = real_time(run)

    act_until(run, config, 1)
    path = episode_paths(run.episodes)[-1]
    path.write_bytes(path.read_bytes()[: int(cut_at * path.stat().st_size)])
    act_until(run, config, 3)
    found = {path.name: outcome(path) is not None for path in episode_paths(run.episodes)}
    assert found == {
        "000000-demonstration.mcap": True,
        "000001-demonstration.mcap": False,
        "000002-demonstration.mcap": True,
        "000003-demonstration.mcap": False,  # it ran when the second actor was stopped
    }
    assert not (run.episodes / "cut").exists()


def test_in_real_time_practice_goes_on_with_the_newest_version_after_a_choice(copy):
    plant, newest = make_plant(real_time(copy)), params.latest_version(copy.params)
    actor = Actor(copy, configs.from_dict(copy.config), plant)
    assert actor._newest().version == newest
    assert actor._versions.version(1).version == 1
    assert actor._newest().version == newest
    actor.close()
    plant.close()


@pytest.mark.parametrize("robot", catalog.robots())
@pytest.mark.parametrize("task", catalog.tasks())
def test_the_person_recalls_what_they_lived_through(task, robot):
    """After every episode: the same memory, the same budget, the same next episode."""
    cell, arm = catalog.task(task), catalog.robot(robot)
    style = Style(budget=60, memory=6, finishes=False, correction=4)
    plant = GuardedPlant(TwinPlant(cell, arm), Guard(arm.safety, cell.period))

    def person() -> ScriptedPerson:
        return ScriptedPerson(lambda: cell.expert(cell.options), style, 5)

    def loop(operator: ScriptedPerson) -> Loop:
        return Loop(plant, cell, arm, operator)

    living, recalling = person(), person()
    still = StillPolicy(loop(living).spec.action_size)
    for index in range(9):
        kind = "demonstration" if index % 4 == 0 else "practice"
        lived = loop(living).run(still, kind, index, index)
        recalling.recall(kind, index, lived.person_steps, lived.is_success)
        assert (recalling.willingness, recalling.spent) == (living.willingness, living.spent)
        assert recalling._unaided == living._unaided
    assert living.spent > 0
    one, other = (loop(person).run(still, "practice", 9, 9) for person in (living, recalling))
    assert [step.who for step in one.steps] == [step.who for step in other.steps]
    assert np.array_equal([s.action for s in one.steps], [s.action for s in other.steps])


def test_the_person_does_not_recall_help_they_would_not_have_given():
    reach = catalog.task("reach")
    operator = ScriptedPerson(lambda: reach.expert(reach.options), Style(budget=5))
    with pytest.raises(BadValue, match="helped in 6 steps of the practice episode with seed 1"):
        operator.recall("practice", 1, 6, True)
