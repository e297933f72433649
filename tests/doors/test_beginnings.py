"""Runs that begin with what is known: another run's policy, or a guide. They resume to the last bit, like any other."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import resume
from robostack import beginnings, cli
from robostack import config as configs
from robostack.act import Actor, make_plant
from robostack.core.errors import RobostackError
from robostack.core.mask import OPEN
from robostack.core.types import Who
from robostack.learn import policy
from robostack.learn.acting import arm_places
from robostack.learn.learner import Learner
from robostack.learner import Training
from robostack.store import params, state
from robostack.store.episode import episode_paths, read_episode
from robostack.store.run import Run
from tests.doors.conftest import TINY
from tests.doors.test_resume import forget, one_line

SHORT = (*TINY, "steps=120", "checkpoint_every=0.0", "checkpoints=999", "options.spread=0.03")
ALL = (
    "start.fill=2",
    "start.critic_steps=30",
    "publishing.bound=0.02",
    "publishing.states=50",
    "publishing.rollback=5",
    "jump_start.guide=expert",
    "jump_start.noise=0.5",
    "jump_start.episodes=5",
    "jump_start.stages=1",
)


def play(run: Run) -> Training:
    """The whole run in this process: the learner works whenever the actor waits for it."""
    config = configs.from_dict(run.config)
    training = Training(run, config)

    class Together(Actor):
        def _wait(self) -> None:
            training.poll()

        def _newest(self):
            while training.poll():
                pass
            return super()._newest()

    plant = make_plant(config)
    actor = Together(run, config, plant)
    actor.run()
    actor.close()
    plant.close()
    while training.poll():
        pass
    training.close()
    return training


def begin(root: Path, *settings: str) -> Run:
    run = resume.begin(root, *SHORT, *settings)
    beginnings.bring(run, configs.from_dict(run.config))
    return run


@pytest.fixture(scope="module")
def mirror_policy(tmp_path_factory) -> Path:
    """Parameters as another run leaves them."""
    run = resume.begin(tmp_path_factory.mktemp("mirror"), *SHORT)
    config = configs.from_dict(run.config)
    learner = Learner(config.spec(), config.learner, 7, 1000)
    return policy.publish(run.params, 4, learner.acting, learner.algorithm.network, config.spec())


@pytest.fixture(scope="module")
def warm(tmp_path_factory, mirror_policy) -> Run:
    """All of it in one run: a policy to begin with, a guide, and care in publishing."""
    run = begin(tmp_path_factory.mktemp("warm"), f"start.file={mirror_policy}", *ALL)
    play(run)
    return run


@pytest.mark.timeout(900)
def test_a_warm_start_plays_the_policy_as_it_is_first(warm, mirror_policy):
    kinds = [path.stem.partition("-")[2] for path in episode_paths(warm.episodes)]
    assert kinds[:3] == ["fill", "fill", "practice"] and "demonstration" not in kinds
    first = params.load(params.path_of(warm.params, 0)).arrays
    theirs = params.load(mirror_policy).arrays
    assert all(np.array_equal(first[name], theirs[name]) for name in theirs)
    assert (warm.path / beginnings.START).read_bytes() == mirror_policy.read_bytes()


def test_a_warm_starts_versions_keep_to_the_bound(warm):
    """What the published policies do in the states of the run moves no more than the bound."""
    config = configs.from_dict(warm.config)
    learner = Learner(config.spec(), config.learner, 0, 1000)
    frames = jnp.asarray(read_episode(episode_paths(warm.episodes)[3]).observations)
    means = [
        np.tanh(np.asarray(learner.mean(policy.unflatten(found.arrays), {"numbers": frames})))
        for version in params.versions(warm.params)[:4]
        for found in [params.load(params.path_of(warm.params, version))]
    ]
    moves = [np.abs(a - b).max() for a, b in zip(means[1:], means, strict=False)]
    assert 0.0 < max(moves) < 0.1  # these states are not all among those it was measured on


def resumed(whole: Run, tmp_path: Path, part: float) -> list[str]:
    """What differs when a run is cut there, goes on from a checkpoint before, and ends again."""
    copy = Run(Path(shutil.copytree(whole.path, tmp_path / "copy")))
    forget(copy, int(part * len(episode_paths(copy.episodes))))
    for path in copy.params.glob("*.json"):
        path.unlink()
    folder, steps = copy.path / "state", state.steps(copy.path / "state")
    for step in steps[int(part * len(steps)) :]:
        state.path_of(folder, step).unlink()
    kept = state.load(state.path_of(folder, state.steps(folder)[-1])).about["counts"]["version"]
    for version in params.versions(copy.params):
        if version > kept:
            params.path_of(copy.params, version).unlink()
    play(copy)
    return resume.differences(whole, copy)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", [0.4, pytest.param(0.2, marks=pytest.mark.slow)])
def test_a_run_with_all_of_it_resumes_to_the_last_bit(warm, tmp_path, part):
    assert resumed(warm, tmp_path, part) == []


def test_a_guide_begins_practice_and_nothing_else(warm):
    episodes = [read_episode(path) for path in episode_paths(warm.episodes)]
    practice = [episode for episode in episodes if episode.header.kind == "practice"]
    # Stage 0, five episodes, is the guide's alone; the only other stage is the policy's.
    assert [e.guide_steps == len(e.steps) for e in practice[:5]] == [True] * 5
    assert len(practice) > 5 and not any(e.guide_steps for e in practice[5:])
    assert not any(e.guide_steps for e in episodes if e.header.kind != "practice")


MASK = (
    "mask.guide=expert",
    "mask.width=0.2",
    "mask.open_by=0.6",
    "steps=400",
    "check_from=0.0",
    "check_every=1",
)


@pytest.fixture(scope="module")
def masked(tmp_path_factory, mirror_policy) -> Run:
    """A run whose practice begins in a mask around a script, guided by another run's policy."""
    run = begin(tmp_path_factory.mktemp("masked"), *MASK, f"jump_start.guide={mirror_policy}")
    play(run)
    return run


@pytest.mark.timeout(900)
def test_practice_keeps_to_the_mask_of_the_version_that_acts_and_the_mask_opens(masked):
    widths = {
        version: params.load(params.path_of(masked.params, version)).meta.get("width", OPEN)
        for version in params.versions(masked.params)
    }
    assert widths[0] == 0.2
    ordered = [widths[version] for version in sorted(widths)]
    assert ordered == sorted(ordered) and ordered[-1] == OPEN and len(set(ordered)) > 3
    held, arm = 0, arm_places(configs.from_dict(masked.config).spec())
    for path in episode_paths(masked.episodes):
        episode = read_episode(path)
        if episode.header.kind != "practice":
            continue
        for step in episode.steps:
            far = np.abs(step.action_policy - step.guide)[arm].max()
            assert far <= widths[step.parameters] + 1e-6
            held += far > 0.5 * widths[step.parameters] and widths[step.parameters] < OPEN
    assert held > 10  # it was of use


def test_no_policy_is_checked_or_chosen_before_its_mask_is_open(masked):
    episodes = [read_episode(path) for path in episode_paths(masked.episodes)]
    for kind in ("solo", "validation", "evaluation"):
        versions = {s.parameters for e in episodes if e.header.kind == kind for s in e.steps}
        assert versions
        for version in versions:
            assert "width" not in params.load(params.path_of(masked.params, version)).meta


@pytest.mark.timeout(900)
def test_a_run_with_a_mask_resumes_to_the_last_bit(masked, tmp_path):
    assert resumed(masked, tmp_path, 0.3) == []


def test_a_run_with_a_mask_goes_on_with_the_steps_it_began_with(masked, tmp_path):
    copy = Run(Path(shutil.copytree(masked.path, tmp_path / "copy")))
    said = json.loads((copy.path / "config.json").read_text())
    (copy.path / "config.json").write_text(json.dumps({**said, "steps": 800}))
    with pytest.raises(RobostackError, match="made with steps 400, the run's config.json has 800"):
        Training(copy, configs.from_dict(copy.config))


def test_a_policy_that_guides_begins_anew_in_every_episode(masked, monkeypatch):
    """One that plans would follow the last episode's plan."""
    begun: list[int] = []
    monkeypatch.setattr(policy.LearnedPolicy, "begin", lambda self: begun.append(1))
    config = configs.from_dict(masked.config)
    source = beginnings.source(masked, config, config.jump_start.guide, beginnings.GUIDE)
    made = len(begun)  # it begins once when it is loaded
    for _ in range(2):
        source()
    assert len(begun) == made + 2


def test_what_is_checked_waits_for_a_version_whose_mask_is_open(masked):
    versions, waited = [0.3, 1.2, OPEN], list[int]()

    class Behind(Actor):
        def _newest(self):
            return SimpleNamespace(width=versions[len(waited)])

        def _wait(self):
            waited.append(1)

    assert object.__new__(Behind)._unmasked().width == OPEN and len(waited) == 2


def test_weights_that_act_only_in_their_mask_are_for_nobody_else(masked, tmp_path, capsys):
    early = params.path_of(masked.params, 0)
    assert cli.main(["evaluate", str(masked.path), "--version=0"]) == 2
    one_line(capsys, "acts in a mask, at most 0.20 of full action from its run's guide")
    words = ["train", "reach", "--no-film", "--set=plant=twin", f"--runs={tmp_path / 'runs'}"]
    words += [f"--set={choice}" for choice in (*SHORT, "steps=200")]
    for choice in ("start.file", "jump_start.guide", "mask.guide"):
        assert cli.main([*words, f"--set={choice}={early}"]) == 2
        one_line(capsys, "take a later version of that run")
    assert not (tmp_path / "runs").exists()


def test_a_mask_that_cannot_be_is_one_line(tmp_path, mirror_policy, capsys):
    words = ["train", "reach", "--no-film", "--set=plant=twin", f"--runs={tmp_path}"]
    said = "mask.guide is expert, expected none, or method sac without start.file,"
    for choice in (
        "method=bc",
        f"start.file={mirror_policy}",
        "publishing.rollback=5",
        "publishing.bound=0.1",
    ):
        assert cli.main([*words, "--set=mask.guide=expert", f"--set={choice}"]) == 2
        one_line(capsys, said)
    assert cli.main([*words, "--set=mask.guide=expert", "--set=steps=160"]) == 2
    one_line(capsys, "mask.open_by is 0.4, expected so low that 100 of the 160 steps are left")
    assert cli.main([*words, f"--set=mask.guide={tmp_path / 'none'}"]) == 2
    one_line(capsys, "none is not there; name a parameter file")
    assert not list(tmp_path.iterdir())


def test_a_file_of_parameters_guides_as_that_policy_acts(masked, mirror_policy):
    assert (masked.path / beginnings.GUIDE).read_bytes() == mirror_policy.read_bytes()
    guide = policy.load(mirror_policy, configs.from_dict(masked.config).spec())
    first = next(path for path in episode_paths(masked.episodes) if "practice" in path.name)
    guided = [step for step in read_episode(first).steps if step.who == Who.GUIDE]
    assert guided
    for step in guided:
        wish = guide.act(step.observation, None)[:3]  # of the turn, limits may leave less
        assert step.action[:3] == pytest.approx(wish, abs=0.05)


def test_a_policy_to_begin_with_that_does_not_fit_is_one_line(tmp_path, mirror_policy, capsys):
    words = ["train", "--no-film", "--set=plant=twin", f"--runs={tmp_path}"]
    assert cli.main([*words, "--task=reach", f"--start={mirror_policy}"]) == 2
    one_line(capsys, "is of another network", "widths [16, 16], this run has [256, 256]")
    assert cli.main([*words, "--task=peg_insert", f"--start={mirror_policy}"]) == 2
    one_line(capsys, "do not fit the task", "action.gripper: not expected")
    assert cli.main([*words, "--task=reach", f"--start={tmp_path / 'none'}"]) == 2
    one_line(capsys, "none is not there; name a parameter file")
    assert not list(tmp_path.iterdir())
