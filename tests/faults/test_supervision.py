"""Processes that are killed, that hang, that run twice: who is started again, who ends the run, what is told."""

import os
import signal

import numpy as np
import pytest

from robostack.core import clock
from robostack.store.run import Run, read_json
from tests.faults.supervised import (
    WITHOUT_END,
    Train,
    best,
    episodes,
    is_gone,
    learner_steps,
    log,
    require_nothing_lost,
    training,
)

ROS = pytest.mark.ros
SILENT = "gave no sign of life for"


@pytest.mark.soak
def test_learner_that_hangs_is_ended_and_started_again(tmp_path):
    with training(Train.new(tmp_path, "plant=twin", *WITHOUT_END, later=8.0)) as train:
        run = train.wait(tmp_path, lambda run: episodes(run) >= 5 and learner_steps(run) > 20)
        first = train.hurt("learner", signal.SIGSTOP)
        train.wait(tmp_path, lambda run: f"learner {SILENT}" in log(run))
        count = episodes(run)
        train.wait_for_episodes(tmp_path, count + 4)
        assert train.pid("learner") != first and is_gone(first)
        train.process.send_signal(signal.SIGINT)
        assert train.end() == 130, train.out
    require_nothing_lost(run)


@ROS
@pytest.mark.soak
def test_actor_in_real_time_practises_on_while_the_learner_hangs(tmp_path):
    settings = ("plant=ros", "lockstep=false", "pictures=[]", *WITHOUT_END)
    with training(Train.new(tmp_path, *settings, later=30.0)) as train:
        run = train.wait(tmp_path, lambda run: episodes(run) >= 6 and learner_steps(run) > 20)
        train.hurt("learner", signal.SIGSTOP)
        count, steps = episodes(run), learner_steps(run)
        train.wait_for_episodes(tmp_path, count + 2)
        assert learner_steps(run) == steps
        train.wait(tmp_path, lambda run: learner_steps(run) > steps)
    assert f"learner {SILENT}" in log(run)


def test_learner_that_dies_four_times_ends_the_run_with_the_reason_and_the_command(tmp_path):
    with training(Train.new(tmp_path, "plant=twin", *WITHOUT_END)) as train:
        run = train.wait_for_episodes(tmp_path, 2)
        victims = set()
        while len(victims) < 4:
            if (pid := train.pid("learner")) not in victims:
                os.kill(pid, signal.SIGKILL)
                victims.add(pid)
        assert train.end() == 2
    assert log(run).count("it is started again") == 3
    *_, last = train.out.strip().splitlines()
    assert "learner was ended by SIGKILL" in last
    assert f"go on with `robostack train --resume {run.path}`" in last
    require_nothing_lost(run)


@pytest.mark.parametrize(
    ("victim", "plant"),
    [
        ("actor", "twin"),
        *(pytest.param(name, "ros", marks=[ROS, pytest.mark.soak]) for name in ("mirror", "guard")),
    ],
)
def test_process_that_hangs_and_may_not_be_replaced_ends_the_run(tmp_path, victim, plant):
    with training(Train.new(tmp_path, f"plant={plant}", "demonstrations=1000", later=8.0)) as train:
        run = train.wait_for_episodes(tmp_path, 2)
        alive = train.children()
        train.hurt(victim, signal.SIGSTOP)
        assert train.end() == 2
    # In lockstep the actor misses a cell that hangs before anybody else does, and names the node.
    assert f"{victim} {SILENT}" in train.out or f"check node {victim}" in train.out, train.out
    assert f"robostack train --resume {run.path}" in train.out.splitlines()[-1]
    assert all(is_gone(pid) for pid in alive)
    require_nothing_lost(run)


@pytest.mark.timeout(
    300
)  # two learners compile, one after the other: a minute and a half on a busy machine
def test_run_goes_on_after_each_kind_of_end_by_the_command_it_printed(tmp_path):
    # The first three ends come while the person shows: without a policy nothing is compiled, which takes longest.
    with training(Train.new(tmp_path, "plant=twin", "steps=100", "demonstrations=20")) as train:
        run = train.wait_for_episodes(tmp_path, 2)
        train.hurt("actor", signal.SIGKILL)
        assert train.end() == 2 and "actor was ended by SIGKILL" in train.out
    path = run.path / "versions.json"
    path.write_text(path.read_text().replace('"jax": "', '"jax": "9'))

    with training(Train.resumed(train.out)) as train:
        train.wait_for_episodes(tmp_path, episodes(run) + 1)
        assert "begun with other versions (jax 9" in log(run), "which is no reason to stop"
        with training(Train("--resume", str(run.path))) as second:
            assert second.end() == 2
        assert f"is being worked on by process {train.process.pid};" in second.out
        assert second.out.count("\n") == 1
        train.process.send_signal(signal.SIGHUP)  # the terminal is closed
        assert train.end() == 130, train.out
    assert "[train] stopped from outside 20" in log(run)

    with training(Train.resumed(said := train.out)) as train:
        train.wait_for_episodes(tmp_path, episodes(run) + 1)
        train.process.kill()
    # At once, while what was left behind still ends: it is waited for.
    with training(Train.resumed(said)) as train:
        train.wait_for_episodes(tmp_path, episodes(run) + 1)
        train.hurt("learner", signal.SIGKILL)
        assert train.end(200) == 0, train.out
    again = "learner was ended by SIGKILL; it is started again in 0.1 s (1 of 3 in 10 minutes)"
    assert f"[supervisor] {again}" in log(run)
    assert read_json(run.path / "actor.json")["phase"] == "done"
    assert log(run).count("[train] resumed 20") == 3
    require_nothing_lost(run)

    with training(Train("--resume", str(run.path))) as train:
        assert train.end() == 0
    assert "has come to its end; its report is made again" in train.out
    assert "of 2 succeed" in train.out


@pytest.mark.parametrize("flag", [["--task", "reach"], ["--seed", "1"], ["--set", "steps=5"]])
def test_choices_are_refused_when_a_run_goes_on(tmp_path, flag, capsys):
    from robostack import cli

    (tmp_path / "config.json").write_text("{}")
    before = sorted(tmp_path.iterdir())
    assert cli.main(["train", "--resume", str(tmp_path), *flag]) == 2
    assert f"got {flag[0]} with --resume; a run goes on as it was begun" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_folder_that_is_no_run_is_refused(tmp_path, capsys):
    from robostack import cli

    assert cli.main(["train", "--resume", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("plant", "victims"),
    [
        ("twin", ("train", "actor", "learner")),
        pytest.param("ros", ("train", "actor", "learner", "mirror", "guard"), marks=ROS),
    ],
)
def test_55_kills_at_random_moments_lose_nothing_and_change_nothing(tmp_path, plant, victims):
    settings, rng = (f"plant={plant}", "steps=4000"), np.random.default_rng(0)
    with training(Train.new(tmp_path / "undisturbed", *settings)) as train:
        assert train.end(600) == 0, train.out
    train = Train.new(tmp_path / "killed", *settings)
    run, killed = train.wait_for_episodes(tmp_path / "killed", 1), []
    while True:
        with training(train):
            while len(killed) < 55 and train.process.poll() is None:
                clock.sleep(rng.uniform(0.3, 6.0))
                killed.append(train.hurt_if_there(str(rng.choice(victims))))
            if train.end(600) == 0:
                break
        train = Train("--resume", str(run.path))
    print({name: killed.count(name) for name in victims})
    assert set(victims) <= set(killed) and len(killed) - killed.count("") > 40
    require_nothing_lost(run)
    (undisturbed,) = (tmp_path / "undisturbed").iterdir()
    ours, theirs = best(run), best(Run.open(undisturbed))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
