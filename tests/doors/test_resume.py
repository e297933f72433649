"""A run that was killed goes on: nothing is played or trained twice that counts, and it ends bit-equal."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

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
from robostack.learner import Training
from robostack.store import params, state
from robostack.store.episode import episode_paths, outcome, recover
from robostack.store.lock import held
from robostack.store.run import Run, read_json, write_json
from robostack.twin.plant import TwinPlant

TINY = ("learner.widths=[16,16]", "learner.batch=16", "steps=150")
BOTH = ("learner", "actor")


@pytest.fixture(autouse=True)
def own_signals():
    """Doors take over signals; a test run wants its Ctrl-C back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    """The run that nobody touched, with checkpoints whenever there is time for one."""
    often = ("checkpoint_every=0.0", "checkpoints=999")
    run = resume.begin(tmp_path_factory.mktemp("whole"), *TINY, *often)
    resume.play(run)
    return run


@pytest.fixture
def copy(whole, tmp_path) -> Run:
    return Run(Path(shutil.copytree(whole.path, tmp_path / "copy")))


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


def train(run: Run) -> Training:
    """The learner's work on what is there, in this process."""
    training = Training(run, configs.from_dict(run.config))
    while training.poll():
        pass
    training.close()
    return training


def test_a_learner_without_checkpoints_trains_all_episodes_again(whole, copy):
    shutil.rmtree(copy.path / "state")
    for version in params.versions(copy.params)[::2]:
        params.path_of(copy.params, version).unlink()
    train(copy)
    assert resume.differences(whole, copy) == []


@pytest.mark.parametrize("is_between", [True, False], ids=["episodes", "updates of an episode"])
def test_a_learner_goes_on_from_any_checkpoint(whole, copy, is_between):
    """The first one after which a whole episode's updates, or a part of them, are still to be made."""
    folder = copy.path / "state"
    found = [state.load(state.path_of(folder, step)) for step in state.steps(folder)]
    counts = {checkpoint.step: checkpoint.about["counts"] for checkpoint in found}
    chosen = next(
        step
        for step in counts
        if counts[step]["version"] >= 0
        and counts[step]["owed"] > 0.0
        and (counts[step]["due"] == 0) == is_between
    )
    for step in counts:
        if step != chosen:
            state.path_of(folder, step).unlink()
    for version in params.versions(copy.params):
        if version > counts[chosen]["version"]:
            params.path_of(copy.params, version).unlink()
    train(copy)
    assert resume.differences(whole, copy) == []


def test_a_damaged_newest_checkpoint_costs_only_training(whole, copy, capsys):
    folder = copy.path / "state"
    steps = state.steps(folder)
    assert len(steps) >= 3
    path = state.path_of(folder, steps[-1])
    path.write_bytes(path.read_bytes()[:-1])
    train(copy)
    out = capsys.readouterr().out
    assert f"{path} is damaged" in out and f"goes on after {steps[-2]} learner steps" in out
    assert resume.differences(whole, copy) == []


def test_a_learner_killed_while_it_wrote_a_version_writes_it_again(whole, copy):
    newest = params.latest_version(copy.params)
    path = params.path_of(copy.params, newest)
    draft = path.with_name(f".{path.name}.4711")
    path.rename(draft)
    shutil.rmtree(copy.path / "state")
    train(copy)
    assert resume.differences(whole, copy) == [] and not draft.exists()


def test_a_version_somebody_may_have_acted_with_is_never_replaced(copy, whole, capsys):
    path = params.path_of(copy.params, 3)
    found = params.load(path)
    other = {name: array + 1 for name, array in found.arrays.items()}
    params.save(copy.params, 3, other, found.spec, found.meta)
    theirs = path.read_bytes()
    shutil.rmtree(copy.path / "state")
    train(copy)
    assert path.read_bytes() == theirs
    assert "version 3 was made before with other weights" in capsys.readouterr().out
    assert resume.differences(whole, copy) == ["parameters"]


def test_a_checkpoint_that_knows_episodes_which_are_gone_is_passed_over(copy, capsys):
    forget(copy, first(copy, "practice"))
    train(copy)
    assert "knows what is not there" in capsys.readouterr().out


def test_a_checkpoint_made_with_other_choices_is_one_line(copy, capsys):
    changed = copy.config
    changed["learner"]["batch"] = 32
    write_json(copy.path / "config.json", changed)
    assert cli.main(["learn", str(copy.path)]) == 2
    one_line(capsys, "was made with learner.batch 16, the run's config.json has 32; put it back")


def test_what_others_leave_with_the_learner_comes_back(copy):
    training = Training(copy, configs.from_dict(copy.config))
    training.extras["curriculum"] = {"level": 3, "odds": [0.1, 0.2]}
    training.close()
    assert train(copy).extras == {"curriculum": {"level": 3, "odds": [0.1, 0.2]}}


def real_time(run: Run) -> configs.RunConfig:
    """From now on the run is in real time: what was cut stays."""
    write_json(run.path / "config.json", {**run.config, "lockstep": False})
    return configs.from_dict(run.config)


@pytest.mark.parametrize("cut_at", [0.0, 0.5])
def test_in_real_time_a_cut_episode_stays_and_the_next_one_is_played(tmp_path, cut_at):
    run = resume.begin(tmp_path, *TINY)
    config = real_time(run)

    class Stopped(Actor):
        """Somebody stops it when there is an episode after this one."""

        last = 0

        def _check_stopped(self) -> None:
            self.is_stopped = len(episode_paths(run.episodes)) > self.last
            super()._check_stopped()

    def act(last: int) -> None:
        plant = make_plant(config)
        actor = Stopped(run, config, plant)
        actor.last = last
        with pytest.raises(Interrupted):
            actor.run()
        plant.close()

    act(1)
    path = episode_paths(run.episodes)[-1]
    path.write_bytes(path.read_bytes()[: int(cut_at * path.stat().st_size)])
    act(3)
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
    assert actor._load(1).version == 1
    assert actor._newest().version == newest
    actor.close()
    plant.close()


def test_in_real_time_the_whole_steps_of_a_cut_episode_are_trained_on(copy):
    index = first(copy, "practice")
    path = episode_paths(copy.episodes)[index]
    before = outcome(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    steps = len(recover(path).episode.steps)
    assert before and 0 < steps < before.steps
    real_time(copy)
    shutil.rmtree(copy.path / "state")
    training = train(copy)
    replay = training._learner.replay
    rows = np.flatnonzero(replay.episode == index)
    assert len(rows) == steps + 1
    assert (replay.mask[rows[:-1]] == 1.0).all() and not replay.label[rows[-1]]


def test_a_cut_demonstration_does_not_start_the_training(copy):
    """The actor shows another one for it, and the learner waits for that."""
    path = episode_paths(copy.episodes)[1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    real_time(copy)
    shutil.rmtree(copy.path / "state")
    assert train(copy)._counts.demonstrations == 3


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
