"""What every task must be, on every robot. A new folder in tasks/ is tested by existing."""

from dataclasses import asdict, fields

import numpy as np
import pytest

from robostack import config
from robostack.core import catalog, lie, observe
from robostack.core.errors import BadValue, UnknownName
from robostack.core.guard import Guard
from robostack.core.loop import Loop, StillPolicy
from robostack.core.operator import ScriptedPerson, Style
from robostack.core.plant import GuardedPlant
from robostack.twin.plant import TwinPlant

TASKS, ROBOTS = catalog.tasks(), catalog.robots()
DRAWS = 200


@pytest.fixture(params=TASKS)
def task(request):
    return catalog.task(request.param)


def play(task, robot, episodes, noise=True, style=None):
    plant = GuardedPlant(TwinPlant(task, robot, noise=noise), Guard(robot.safety, task.period))
    person = ScriptedPerson(lambda: task.expert(task.options), style or Style(noise=0.0))
    loop = Loop(plant, task, robot, person)
    still = StillPolicy(loop.spec.action_size)
    return [loop.run(still, "demonstration", i, i) for i in range(episodes)]


@pytest.mark.parametrize("robot", ROBOTS)
def test_expert_nearly_always_succeeds(task, robot):
    episodes = play(task, catalog.robot(robot), 20)
    assert sum(episode.is_success for episode in episodes) >= 19


@pytest.mark.parametrize("robot", ROBOTS)
def test_expert_with_a_human_hand_still_succeeds_mostly(task, robot):
    episodes = play(task, catalog.robot(robot), 20, style=Style(noise=0.3))
    assert sum(episode.is_success for episode in episodes) >= 16


def test_doing_nothing_does_not_succeed(task):
    robot = catalog.robot("fr3")
    plant = GuardedPlant(TwinPlant(task, robot), Guard(robot.safety, task.period))
    loop = Loop(plant, task, robot)
    still = StillPolicy(loop.spec.action_size)
    played = [loop.run(still, "solo", i, i) for i in range(10)]
    assert sum(episode.is_success for episode in played) <= 1


def test_setups_repeat_by_seed_and_differ_between_seeds(task):
    def draw(seed):
        setup = task.draw(task.options, np.random.default_rng(seed))
        return np.concatenate([place for place in vars(setup).values() if place is not None])

    assert np.array_equal(draw(1), draw(1)) and not np.array_equal(draw(1), draw(2))


@pytest.mark.parametrize("robot", ROBOTS)
def test_starts_and_targets_lie_in_the_robots_workspace(task, robot):
    safety = catalog.robot(robot).safety
    for seed in range(DRAWS):
        setup = task.draw(task.options, np.random.default_rng(seed))
        assert (setup.object is not None) == task.object
        for place in (place for place in vars(setup).values() if place is not None):
            assert np.all(place[:3] >= safety.workspace_lower)
            assert np.all(place[:3] <= safety.workspace_upper)
            assert np.linalg.norm(place[3:]) == pytest.approx(1.0)


@pytest.mark.parametrize("robot", ROBOTS)
def test_reference_limit_bounds_contact_force_below_what_the_guard_stops(task, robot):
    arm = catalog.robot(robot)
    push = np.array(arm.impedance.stiffness) * task.reference_limit(arm)
    assert np.linalg.norm(push[:3]) <= arm.safety.force
    assert np.linalg.norm(push[3:]) <= arm.safety.torque


def test_full_action_is_within_the_robots_speed(task):
    for name in ROBOTS:
        safety = catalog.robot(name).safety
        assert task.translation_scale * np.sqrt(3) / task.period <= safety.linear_speed
        assert task.rotation_scale * np.sqrt(3) / task.period <= safety.angular_speed


def test_spec_names_units_and_frames_of_every_term(task):
    spec = observe.spec_of(task)
    for term in (*spec.observation, *spec.action):
        assert term.unit and len(term.scale) == term.size


def test_options_out_of_range_are_refused_with_the_range(task):
    for option in fields(task.options):
        with pytest.raises(BadValue, match="expected"):
            task.with_options(**{option.name: 1e6})
        with pytest.raises(BadValue, match="expected"):
            task.with_options(**{option.name: float("nan")})


def test_unknown_option_lists_the_valid_ones(task):
    with pytest.raises(UnknownName) as caught:
        task.with_options(clarence=1.0)
    assert all(name in str(caught.value) for name in asdict(task.options))


def test_a_tasks_own_choices_can_be_read_and_name_no_cell(task):
    made = config.of_task(task.name)
    usual = config.RunConfig(task=task.name)
    for name in ("robot", "seed", "plant", "options", "success"):
        assert getattr(made, name) == getattr(usual, name)


def test_unknown_task_lists_the_valid_ones():
    with pytest.raises(UnknownName, match="peg_insert, pick_place, reach"):
        catalog.task("peg_insret")


def test_peg_counts_as_in_only_where_it_really_is_in():
    """The success test sees only the biased observation; the truth is the peg's depth in the true hole."""
    task, robot = catalog.task("peg_insert", bias=0.001), catalog.robot("fr3")
    plant = TwinPlant(task, robot, noise=False)
    rng = np.random.default_rng(0)
    guarded = GuardedPlant(plant, Guard(robot.safety, task.period))
    person = ScriptedPerson(lambda: task.expert(task.options), Style(noise=0.6))
    truths = []

    def look(samples, step):
        left = lie.between(plant.cells.tool_pose()[0], plant.cells.target[0])
        is_in = abs(left[2]) < 0.007 and np.abs(left[:2]).max() < task.options.clearance + 5e-4
        truths.append((bool(step.terminated), bool(is_in)))

    loop = Loop(guarded, task, robot, person, on_tick=look)
    for i in range(15):
        loop.run(StillPolicy(6), "demonstration", i, int(rng.integers(1000)))
    assert any(said for said, _ in truths)
    assert all(is_in for said, is_in in truths if said)


def test_hole_is_observed_beside_its_true_place_by_at_most_the_bias():
    task = catalog.task("peg_insert")
    offsets = []
    for seed in range(DRAWS):
        setup = task.draw(task.options, np.random.default_rng(seed))
        offsets.append(setup.target_observed[:3] - setup.target[:3])
    assert np.abs(offsets).max() <= 0.001
    assert np.abs(offsets).max(0).min() > 0.0009  # on every axis


def test_peg_starts_and_holes_spread_as_promised():
    task = catalog.task("peg_insert")
    setups = [task.draw(task.options, np.random.default_rng(seed)) for seed in range(2000)]
    starts = np.array([setup.start[:3] for setup in setups])
    holes = np.array([setup.target[:3] for setup in setups])
    yaws = np.array([2 * np.arctan2(s.start[5], s.start[4]) for s in setups])
    assert np.ptp(starts, axis=0) == pytest.approx([0.06, 0.06, 0.04], rel=0.01)
    assert np.ptp(holes, axis=0) == pytest.approx([0.04, 0.04, 0.0], rel=0.01)
    assert np.rad2deg(np.ptp(yaws)) == pytest.approx(20.0, rel=0.01)
