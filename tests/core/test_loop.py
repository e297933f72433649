"""The loop: what is stored for each step, and what it refuses."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack import __version__
from robostack.core import clock, lie, observe
from robostack.core.errors import BadValue, StaleSample
from robostack.core.guard import Guard
from robostack.core.guide import Curriculum, JumpStart, Starter
from robostack.core.loop import Loop, StillPolicy
from robostack.core.operator import ScriptedPerson, Style
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.core.types import Sample, Who


class Random:
    """A policy that does anything; deterministic without a generator."""

    version = 12

    def act(self, observation, rng, pictures=None):
        return 2.0 * np.tanh(observation[-6:]) if rng is None else rng.uniform(-1.5, 1.5, 6)


class Recorder:
    def __init__(self):
        self.calls, self.frames, self.steps = [], [], []

    def begin(self, header, observation, samples):
        self.calls.append("begin")
        self.header, self.frames, self.steps = header, [observation], []

    def append(self, step, next_observation, samples):
        self.calls.append("append")
        self.steps.append(step)
        self.frames.append(next_observation)

    def end(self):
        self.calls.append("end")


class Hand:
    """A person who acts at given ticks."""

    def __init__(self, ticks):
        self.ticks, self.tick, self.ended = ticks, 0, []

    def begin(self, kind, seed):
        self.tick = 0

    def act(self, terms):
        self.tick += 1
        return np.full(6, 0.5) if self.tick - 1 in self.ticks else None

    def end(self, is_success):
        self.ended.append(is_success)


def make_loop(task, robot, **options: Any) -> Loop:
    plant = options.pop("plant", None) or MockPlant(task)
    return Loop(GuardedPlant(plant, Guard(robot.safety, task.period)), task, robot, **options)


def expert(task):
    return ScriptedPerson(lambda: task.expert(task.options), Style(noise=0.0))


def test_a_demonstration_succeeds_and_ends_there(task, robot):
    episode = make_loop(task, robot, operator=expert(task)).run(
        StillPolicy(6), "demonstration", 3, 7
    )
    assert episode.is_success
    assert episode.person_share == 1.0
    assert 0 < len(episode.steps) < task.steps
    assert [step.reward for step in episode.steps] == [0.0] * (len(episode.steps) - 1) + [1.0]
    assert (episode.header.index, episode.header.kind, episode.header.seed) == (
        3,
        "demonstration",
        7,
    )
    assert episode.header.code == __version__
    assert (episode.header.robot, episode.header.task, episode.header.plant) == (
        "arm",
        "touch",
        "mock",
    )


@given(st.integers(0, 10_000), st.sampled_from(["practice", "evaluation"]))
def test_terminated_and_truncated_never_meet(task, robot, seed, kind):
    operator = expert(task) if seed % 2 else None
    episode = make_loop(task, robot, operator=operator).run(Random(), kind, 0, seed)
    ends = [(step.terminated, step.truncated) for step in episode.steps]
    assert not any(terminated and truncated for terminated, truncated in ends)
    assert not any(any(end) for end in ends[:-1])
    assert any(ends[-1])
    assert (len(episode.steps) == task.steps) or episode.steps[-1].terminated


def test_the_last_tick_may_still_succeed_and_is_not_truncated_then(task, robot):
    whole = make_loop(task, robot, operator=expert(task)).run(StillPolicy(6), "demonstration", 0, 7)
    short = replace(task, steps=len(whole.steps))
    episode = make_loop(short, robot, operator=expert(task)).run(
        StillPolicy(6), "demonstration", 0, 7
    )
    assert episode.steps[-1].terminated
    assert not episode.steps[-1].truncated


def test_every_frame_follows_the_one_before(task, robot):
    recorder = Recorder()
    episode = make_loop(task, robot, recorder=recorder).run(Random(), "practice", 0, 5)
    assert episode.observations.shape == (
        len(episode.steps) + 1,
        observe.spec_of(task).observation_size,
    )
    for i, step in enumerate(episode.steps):
        assert step.observation.tobytes() == episode.observations[i].tobytes()
        assert step.stamp == pytest.approx(i * task.period)
    assert len({frame.tobytes() for frame in episode.observations}) == len(episode.observations)
    np.testing.assert_array_equal(np.stack(recorder.frames), episode.observations)
    assert recorder.steps == list(episode.steps)
    assert recorder.calls == ["begin", *["append"] * len(episode.steps), "end"]


def test_the_same_seed_gives_the_same_episode(task, robot):
    loop = make_loop(task, robot)
    first, second = (loop.run(Random(), "practice", 0, 5) for _ in range(2))
    assert first.observations.tobytes() == second.observations.tobytes()
    other = loop.run(Random(), "practice", 0, 6)
    assert first.observations.tobytes() != other.observations.tobytes()


def test_only_practice_explores(task, robot):
    class Asked(Random):
        kind = ""

        def act(self, observation, rng, pictures=None):
            assert (rng is not None) == (self.kind == "practice")
            return super().act(observation, rng, pictures)

    for kind in ("practice", "demonstration", "solo", "evaluation"):
        policy = Asked()
        policy.kind = kind
        make_loop(task, robot).run(policy, kind, 0, 0)


def test_what_was_executed_is_stored_and_not_what_was_asked(task, robot):
    # Speed allows 1 mm a period, a full action asks for 15 mm.
    slow = replace(robot, safety=replace(robot.safety, linear_speed=0.01))
    episode = make_loop(task, slow).run(Random(), "evaluation", 0, 5)
    limited = [step for step in episode.steps if "limited: speed" in step.guard]
    assert limited
    for step in limited:
        assert np.linalg.norm(step.action[:3]) < np.linalg.norm(step.action_policy[:3])
        # Seen from the measured pose, which lags by less than a period.
        assert np.linalg.norm(step.action[:3]) * task.translation_scale < 0.002
    assert all((np.abs(step.action_policy) <= 1.0).all() for step in episode.steps)


def test_an_action_within_all_limits_is_executed_as_asked(task, robot):
    class Gentle(Random):
        def act(self, observation, rng, pictures=None):
            return np.full(6, 0.1)

    episode = make_loop(task, robot).run(Gentle(), "evaluation", 0, 5)
    for step in episode.steps:
        assert step.guard == ""
        np.testing.assert_allclose(step.action, step.action_policy, atol=1e-6)


def test_a_held_command_is_stored_as_no_motion(task, robot):
    guard = Guard(robot.safety, task.period)
    guard.stop("test")
    loop = Loop(GuardedPlant(MockPlant(task), guard), task, robot)
    for step in loop.run(Random(), "evaluation", 0, 5).steps:
        assert "stopped (test)" in step.guard
        np.testing.assert_allclose(step.action, 0.0, atol=1e-6)
        assert np.abs(step.action_policy).max() > 0


def test_the_persons_steps_carry_the_persons_label_and_action(task, robot):
    hand = Hand({2, 3, 7})
    episode = make_loop(task, robot, operator=hand).run(Random(), "evaluation", 0, 5)
    who = [step.who for step in episode.steps]
    assert [i for i, w in enumerate(who) if w is Who.PERSON] == [2, 3, 7]
    assert episode.person_share == 3 / len(who)
    asked = Random().act(episode.steps[2].observation, None)
    np.testing.assert_allclose(episode.steps[2].action_policy, np.clip(asked, -1, 1))
    if not episode.steps[2].guard:
        np.testing.assert_allclose(episode.steps[2].action, 0.5, atol=1e-6)
    assert hand.ended == [episode.is_success]


def test_the_version_of_the_parameters_is_in_every_step(task, robot):
    episode = make_loop(task, robot).run(Random(), "practice", 0, 0)
    assert {step.parameters for step in episode.steps} == {12}
    episode = make_loop(task, robot).run(StillPolicy(6), "practice", 0, 0)
    assert {step.parameters for step in episode.steps} == {-1}


@pytest.mark.parametrize(("opening", "action"), [(1.0, 1.0), (0.5, 0.0), (0.0, -1.0)])
def test_the_gripper_is_executed_as_its_opening(task, robot, opening, action):
    class Grip(Random):
        def act(self, observation, rng, pictures=None):
            return np.append(np.zeros(6), action)

    held = replace(task, gripper=True)
    episode = make_loop(held, robot).run(Grip(), "evaluation", 0, 0)
    assert {float(step.action[6]) for step in episode.steps} == {action}
    place = observe.spec_of(held).observation_slice("gripper")
    assert (episode.observations[1:, place] == opening).all()


def test_an_unguarded_plant_is_refused(task, robot):
    with pytest.raises(BadValue, match="unguarded mock plant; wrap it in GuardedPlant"):
        Loop(MockPlant(task), task, robot)


class Frozen(MockPlant):
    """A cell whose wrench stops coming after some ticks; its clock goes on."""

    silent_after = 0.45

    def read(self):
        samples = super().read()
        if self.now > self.silent_after:
            samples = {**samples, "wrench": Sample(self.silent_after, np.zeros(6))}
        return samples


def test_a_stale_sample_ends_the_episode_by_name_age_and_limit_and_keeps_what_was(task, robot):
    recorder = Recorder()
    loop = make_loop(task, robot, plant=Frozen(task), recorder=recorder)
    with pytest.raises(
        StaleSample, match=r'"wrench" is 250 ms old, limit 200 ms; is its node alive'
    ):
        loop.run(Random(), "practice", 0, 0)
    assert recorder.calls == ["begin", *["append"] * 6]  # no end: it is marked as cut
    assert not any(step.terminated or step.truncated for step in recorder.steps)


def test_the_age_of_the_oldest_sample_is_in_the_step(task, robot):
    episode = make_loop(task, robot, plant=Frozen(task), sample_age=10.0).run(
        Random(), "practice", 0, 0
    )
    ages = [step.age for step in episode.steps]
    np.testing.assert_allclose(
        ages, [max(0.0, 0.1 * i - 0.45) for i in range(len(ages))], atol=1e-9
    )


class Live(MockPlant):
    """A cell that goes on by itself; its clock is the machine's, its first samples come late."""

    is_lockstep = False
    born = 0.05  # s after a reset

    def reset(self, seed):
        drawn = super().reset(seed)
        self.began = clock.now()
        return drawn

    def read(self):
        self.now = clock.now()
        return super().read() if self.now - self.began > self.born else {}


def test_waiting_for_a_cell_to_settle_is_no_lateness(task, robot):
    quick = replace(task, period=0.02, steps=4)
    loop = make_loop(quick, robot, plant=Live(quick))
    for index in range(2):
        episode = loop.run(Random(), "practice", index, 0)
        assert len(episode.steps) == 4
        assert episode.steps[0].lateness < 0.02
        clock.sleep(0.05)  # nor is the time between episodes


def test_a_cell_that_stays_silent_is_given_up_by_name(task, robot, monkeypatch):
    monkeypatch.setattr("robostack.core.loop.SETTLE_S", 0.05)
    plant, recorder = Live(task), Recorder()
    plant.born = 1e9
    with pytest.raises(StaleSample, match=r'no sample of "tool_pose" yet'):
        make_loop(task, robot, plant=plant, recorder=recorder).run(Random(), "practice", 0, 0)
    assert recorder.calls == []


def test_lateness_is_in_the_step_that_came_late(task, robot):
    quick = replace(task, period=0.02, steps=4)

    class Slow(Random):
        calls = 0

        def act(self, observation, rng, pictures=None):
            self.calls += 1
            if self.calls == 2:
                clock.sleep(0.05)
            return np.zeros(6)

    episode = make_loop(quick, robot, plant=Live(quick)).run(Slow(), "practice", 0, 0)
    late = [step.lateness for step in episode.steps]
    assert late[2] > 0.025
    assert max(late[:2]) < 0.02


def test_someone_looking_on_sees_every_step(task, robot):
    seen = []
    loop = make_loop(task, robot, on_tick=lambda samples, step: seen.append((samples, step)))
    episode = loop.run(Random(), "practice", 0, 0)
    assert [step for _, step in seen] == list(episode.steps)
    assert all("tool_pose" in samples for samples, _ in seen)


def test_the_tools_pose_is_told_from_where_the_episode_began(task, robot):
    episode = make_loop(task, robot).run(StillPolicy(6), "evaluation", 0, 0)
    terms = observe.unpack(observe.spec_of(task), episode.observations)
    np.testing.assert_allclose(terms["tool_pose"], 0.0, atol=1e-6)
    drawn = episode.header.drawn
    left = lie.between(np.array(drawn["start"]), np.array(drawn["target"]))
    np.testing.assert_allclose(terms["target_error"][0, :3], left[:3], atol=1e-6)


def guided(task, robot, ticks: int, **parts):
    """An episode that a guide begins, and the guide."""
    guide = Starter(lambda: lambda seen: np.full(6, 0.25), JumpStart("x", stages=1), ticks)
    guide.curriculum = Curriculum(stage=0)
    plant = GuardedPlant(MockPlant(task), Guard(robot.safety, task.period))
    return Loop(plant, task, robot, guide=guide, **parts), guide


def test_a_guides_steps_carry_its_label_and_action_and_what_the_policy_asked(task, robot):
    loop, guide = guided(task, robot, 4)
    episode = loop.run(Random(), "practice", 0, 5)
    assert [step.who for step in episode.steps[:6]] == [Who.GUIDE] * 4 + [Who.POLICY] * 2
    assert (episode.guide_steps, episode.person_steps) == (4, 0)
    first = episode.steps[0]
    assert np.abs(first.action_policy).max() > 0.25
    np.testing.assert_allclose(first.action, 0.25, atol=1e-6)
    assert guide.curriculum.results == (episode.is_success,)


def test_the_person_goes_before_the_guide_and_its_part_is_counted_in_ticks(task, robot):
    loop, _ = guided(task, robot, 4, operator=Hand({1, 2}))
    who = [step.who for step in loop.run(Random(), "practice", 0, 5).steps[:5]]
    assert who == [Who.GUIDE, Who.PERSON, Who.PERSON, Who.GUIDE, Who.POLICY]


def test_what_the_policy_would_do_is_the_same_with_and_without_a_guide(task, robot):
    """Its chance comes from the episode's seed, whoever acts."""
    plain = Loop(GuardedPlant(MockPlant(task), Guard(robot.safety, task.period)), task, robot).run(
        Random(), "practice", 0, 5
    )
    led = guided(task, robot, 3)[0].run(Random(), "practice", 0, 5)
    first, second = ([s.action_policy for s in episode.steps[:3]] for episode in (plain, led))
    assert np.array_equal(first, second)


def test_the_judged_policy_has_no_guide(task, robot):
    loop, _ = guided(task, robot, 4)
    for kind in ("demonstration", "solo", "validation", "evaluation"):
        assert loop.run(Random(), kind, 0, 5).guide_steps == 0
