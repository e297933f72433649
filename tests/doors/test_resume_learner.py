"""A learner goes on from any checkpoint, or from none: the same versions, to the last bit."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import resume
from robostack import choices, cli, report, view
from robostack import config as configs
from robostack.core.errors import RobostackError
from robostack.learner import Training
from robostack.store import params, state
from robostack.store.episode import episode_paths, outcome, recover
from robostack.store.run import Run, read_json, write_json
from tests.doors.test_resume import first, forget, one_line, real_time


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


def test_a_checkpoint_from_before_there_was_a_choice_is_one_line(tmp_path):
    wanted = choices.of(configs.from_dict({}))
    made = {**wanted, "learner": {**wanted["learner"]}}
    del made["learner"]["n_step"]
    with pytest.raises(
        RobostackError, match=r"made before there was learner\.n_step; start another"
    ):
        choices.require_equal(made, wanted, tmp_path)


def test_what_others_leave_with_the_learner_comes_back(copy):
    training = Training(copy, configs.from_dict(copy.config))
    training.extras["curriculum"] = {"level": 3, "odds": [0.1, 0.2]}
    training.close()
    assert train(copy).extras == {"curriculum": {"level": 3, "odds": [0.1, 0.2]}}


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


CHOSEN = {"mode": "rule", "arms": [0.6, 1.3, 2.1], "held_out": 2, "span": 1}


def chosen(run: Run, **ratio) -> Run:
    """The learner's work on the same episodes from the beginning, with another choice of the ratio."""
    config = {**run.config, "ratio": {**run.config["ratio"], **ratio}}
    write_json(run.path / "config.json", {**config, "checkpoint_every": 0.0, "checkpoints": 999})
    shutil.rmtree(run.path / "state")
    for version in params.versions(run.params):
        params.path_of(run.params, version).unlink()
    return run


def test_a_fixed_ratio_is_what_it_was_whatever_else_is_chosen(whole, copy):
    train(chosen(copy, **{**CHOSEN, "mode": "fixed"}))
    assert resume.differences(whole, copy) == []


def test_a_learner_that_chooses_its_ratio_goes_on_from_any_checkpoint(copy, tmp_path):
    training = train(chosen(copy, **CHOSEN))
    told = read_json(copy.path / "learner.json")
    assert told["held_out_error"] > 0.0 and told["ratio"] in CHOSEN["arms"]
    replay, folder = training._learner.replay, copy.path / "state"
    held = set(replay.episode[replay.held_out(1000)])
    assert held and not held & set(replay.episode[replay.all])
    assert resume.made(copy)["ratio"]["chooser"]["lowest"] > 0.0
    found = [state.load(state.path_of(folder, step)).about for step in state.steps(folder)]
    ratios = {about["ratio"]["chooser"]["arm"] for about in found}
    assert len(ratios) > 1, "the ratio was chosen only once"
    begun = [about["ratio"]["chooser"]["error"] >= 0.0 for about in found]
    due = [about["counts"]["due"] for about in found]
    for is_between in (True, False):
        at = next(i for i, a in enumerate(begun) if a and (due[i] == 0) == is_between)
        again = Run(Path(shutil.copytree(copy.path, tmp_path / f"again{is_between}")))
        for step in state.steps(folder)[at + 1 :]:
            state.path_of(again.path / "state", step).unlink()
        for version in params.versions(again.params):
            if version > found[at]["counts"]["version"]:
                params.path_of(again.params, version).unlink()
        train(again)
        assert resume.differences(copy, again) == []


def test_a_run_begun_before_there_was_a_choice_of_the_ratio_goes_on(whole, copy):
    folder = copy.path / "state"
    step = state.steps(folder)[-1]
    old = state.load(state.path_of(folder, step))
    about = {name: old.about[name] for name in old.about if name != "ratio"}
    del about["choices"]["ratio"]
    state.save(folder, replace(old, about=about))
    train(copy)
    assert resume.differences(whole, copy) == []


def test_the_view_and_the_report_show_the_ratio_in_use_and_the_held_out_error(copy):
    told = read_json(copy.path / "learner.json")
    fixed = view._numbers({}, told, "–")["learner steps per step"]
    assert "now" not in fixed and told["ratio"] == 1.7
    told |= {"ratio": 4.0, "held_out_error": 0.0123}
    assert "now 4 (held-out error 0.012)" in view._numbers({}, told, "–")["learner steps per step"]
    write_json(copy.path / "learner.json", told)
    numbers = report.write(copy, configs.from_dict(copy.config), with_film=False)
    assert (numbers["ratio"], numbers["held_out_error"]) == (4.0, 0.0123)
    page = (copy.path / "report.html").read_text()
    assert "4 learner steps per control step, chosen; held-out error 0.012" in page
