"""pick_place: what counts as done, and that nothing else does; a gripper that holds; cameras that see."""

from dataclasses import replace

import numpy as np
import pytest

from robostack.core import catalog, lie, observe
from robostack.core.guard import Guard
from robostack.core.loop import Loop, StillPolicy
from robostack.core.operator import ScriptedPerson, Style
from robostack.core.plant import GuardedPlant, MockPlant
from robostack.core.types import Command
from robostack.tasks.pick_place import FACES
from robostack.twin.plant import TwinPlant

ROBOTS = catalog.robots()
TASK = catalog.task("pick_place")
OPEN, CLOSED = 1.0, 0.0


class Hand:
    """Moves a noiseless cell's tool by hand, a straight line at a time."""

    def __init__(self, robot="fr3", seed=1, **options):
        self.task = catalog.task("pick_place", **options)
        self.plant = TwinPlant(self.task, catalog.robot(robot), noise=False)
        drawn = self.plant.reset(seed)
        self.cube, self.place = np.array(drawn["object"]), np.array(drawn["target"])

    def go(self, pose, opening, ticks, speed=0.02):
        """Whether the task counted as done at the end of any tick; `speed` in m a tick."""
        is_done = False
        for _ in range(ticks):
            reference = self.plant.read()["reference"].value
            way = lie.log(lie.between(reference, pose))
            way *= min(1.0, speed / max(1e-9, np.linalg.norm(way[:3])))
            self.plant.send(Command(self.plant.now, lie.compose(reference, lie.exp(way)), opening))
            is_done |= self.is_done
        return is_done

    def pick(self):
        self.go(above(self.cube, 0.06), OPEN, 20)
        self.go(self.cube, OPEN, 8)
        self.go(self.cube, CLOSED, 5)
        return self.go(above(self.cube, 0.08), CLOSED, 8)

    @property
    def is_done(self):
        terms = observe.observe(lie.IDENTITY, self.plant.read())
        return bool(self.task.succeeded(self.task.options, terms))

    @property
    def held(self):
        """(6,) where the cube is seen from the tool, m and rad."""
        samples = self.plant.read()
        return lie.log(lie.between(samples["tool_pose"].value, samples["object"].value))


def above(pose, height):
    return pose + np.array([0, 0, height, 0, 0, 0, 0])


@pytest.mark.parametrize("side", [0.03, 0.05])
@pytest.mark.parametrize("robot", ROBOTS)
def test_held_cube_stays_held_for_five_seconds_of_shaking_and_five_of_rest(robot, side):
    hand = Hand(robot, side=side)
    hand.pick()
    before = hand.held
    assert np.abs(before[:3]).max() < 0.005
    fastest = 0.0
    for tick in range(50):
        aside = [np.sin(tick), np.cos(1.7 * tick), 0.5 * np.sin(2.3 * tick)]
        shaken = above(hand.cube, 0.08)
        shaken[:3] += 0.03 * np.array(aside)
        hand.go(shaken, CLOSED, 1, speed=0.03)
        fastest = max(fastest, np.abs(hand.plant.data.qvel).max())
    hand.go(above(hand.cube, 0.08), CLOSED, 50)
    assert fastest < 2.0  # rad/s and m/s: nothing explodes
    assert np.abs(hand.held - before)[:3].max() < 0.002
    assert np.abs(hand.held - before)[3:].max() < 0.02


@pytest.mark.parametrize("robot", ROBOTS)
def test_done_only_once_the_cube_on_the_pad_is_let_go(robot):
    hand = Hand(robot)
    assert not hand.pick()
    assert not hand.go(above(hand.place, 0.06), CLOSED, 20)
    assert not hand.go(hand.place, CLOSED, 15)
    assert np.linalg.norm(hand.plant.read()["object"].value[:3] - hand.place[:3]) < 0.004
    assert hand.go(hand.place, OPEN, 4)
    assert hand.go(above(hand.place, 0.08), OPEN, 10) and hand.is_done  # and it stays there


@pytest.mark.parametrize("aside", [(0.025, 0.0), (0.0, -0.025), (0.09, 0.0)])
def test_cube_dropped_beside_its_place_is_no_success(aside):
    hand = Hand()
    hand.pick()
    beside = hand.place.copy()
    beside[:2] += aside
    assert not hand.go(above(beside, 0.05), CLOSED, 25)
    assert not hand.go(above(beside, 0.01), CLOSED, 8)
    assert not hand.go(above(beside, 0.01), OPEN, 5)
    assert not hand.go(above(beside, 0.08), OPEN, 10)


def test_cube_in_the_air_over_its_place_is_no_success_even_with_an_open_gripper():
    hand = Hand()
    hand.pick()
    hand.go(above(hand.place, 0.06), CLOSED, 20)
    hand.go(above(hand.place, 0.06), OPEN, 1)
    over = {**hand.plant.read()}
    for name, height in (("object", 0.02), ("gripper", None)):
        value = np.ones(1) if height is None else above(hand.place, height)
        over[name] = replace(over[name], value=value)
    terms = observe.observe(lie.IDENTITY, over)
    assert not TASK.succeeded(TASK.options, terms)


@pytest.mark.parametrize("opening", [OPEN, CLOSED])
@pytest.mark.parametrize("seed", range(4))
def test_pushing_the_cube_along_the_table_does_not_succeed(seed, opening):
    """Fingers around it or behind it, all the way to where it should lie and beyond."""
    hand = Hand(seed=seed)
    way = hand.place[:2] - hand.cube[:2]
    across = lie.exp(np.array([0.0, 0.0, 0.0, 0.0, 0.0, np.pi / 2]))  # one finger ahead, one behind
    behind = lie.compose(hand.cube, across)
    if opening == CLOSED:
        behind[:2] -= 0.05 * way / np.linalg.norm(way)
    hand.go(above(behind, 0.06), opening, 25)
    hand.go(behind, opening, 8)
    beyond, moved = hand.place[:2] + 0.05 * way / np.linalg.norm(way), 0.0
    for height in (0.0, 0.01, 0.02):  # of the tool over the cube's middle
        level = np.array([*beyond, hand.cube[2] + height, *behind[3:]])
        assert not hand.go(level, opening, 30)
        cube = hand.plant.read()["object"].value
        moved = max(moved, np.linalg.norm(cube[:2] - hand.cube[:2]))
        assert not hand.go(above(behind, height), opening, 20)
    assert moved > 0.015


def test_tilted_cube_is_no_success():
    lying = lie.pose(np.zeros(3), lie.IDENTITY[3:])
    for angle, is_done in ((0.05, True), (0.2, False), (np.pi / 4, False)):
        cube = lie.pose(np.zeros(3), lie.so3_exp(np.array([angle, 0.0, 0.0])))
        terms = observe.terms_of(
            lying, lying, np.zeros(6), np.zeros(6), np.ones(1), lying, lying, cube
        )
        assert bool(TASK.succeeded(TASK.options, terms)) == is_done


def test_cube_is_seen_alike_on_whichever_face_it_lies():
    drawn = np.array(TASK.draw(TASK.options, np.random.default_rng(3)).object)
    turned = [lie.compose(drawn, lie.pose(np.zeros(3), face)) for face in FACES]
    assert len({tuple(pose.round(6)) for pose in turned}) == 24
    seen = TASK.alike(np.stack(turned))
    for pose in seen:
        assert np.abs(lie.log(lie.between(drawn, pose))).max() < 1e-9


def test_tipped_cube_is_picked_up_all_the_same():
    robot = catalog.robot("fr3")
    plant, lost = TwinPlant(TASK, robot), []

    def tip(samples, step):
        if not lost:
            lost.append(step)
            start = plant.scene.object or 0
            turn = lie.quat_multiply(lie.so3_exp(np.array([0.0, 0.0, 0.3])), FACES[5])
            plant.cells._field["qpos"][0, start : start + 7] = lie.pose([0.46, -0.1, 0.02], turn)

    [episode] = play(plant, robot, 1, on_tick=tip)
    assert lost and episode.is_success


def test_success_of_a_batch_is_that_of_its_members():
    rng = np.random.default_rng(0)
    terms = {
        "target_error": 0.1 * rng.normal(size=(200, 6)),
        "gripper": rng.uniform(0.4, 1.0, (200, 1)),
    }
    turn = lie.so3_exp(0.1 * rng.normal(size=(200, 3)))
    goal = np.concatenate(
        [terms["target_error"][:, :3], lie.so3_exp(terms["target_error"][:, 3:])], -1
    )
    beside = np.concatenate([rng.uniform(-0.01, 0.01, (200, 3)), turn], -1)
    seen = lie.compose(goal, beside)
    terms["object_error"] = np.concatenate([seen[:, :3], lie.so3_log(seen[:, 3:])], -1)
    many = TASK.succeeded(TASK.options, terms)
    one = [
        TASK.succeeded(TASK.options, {name: value[i] for name, value in terms.items()})
        for i in range(200)
    ]
    assert np.array_equal(many, one) and 5 < many.sum() < 195
    left = TASK.left(TASK.options, terms)
    expected = np.linalg.norm(terms["object_error"][:, :3], axis=-1)
    expected += np.linalg.norm(beside[:, :2], axis=-1)
    np.testing.assert_allclose(left, expected, atol=1e-9)


def play(plant, robot, episodes, noise=0.0, on_tick=None):
    person = ScriptedPerson(lambda: TASK.expert(TASK.options), Style(noise=noise))
    guarded = GuardedPlant(plant, Guard(robot.safety, TASK.period))
    loop = Loop(guarded, TASK, robot, person, on_tick=on_tick)
    still = StillPolicy(loop.spec.action_size)
    return [loop.run(still, "demonstration", i, i) for i in range(episodes)]


def test_what_counts_as_done_is_still_true_a_second_later():
    robot, truths = catalog.robot("fr3"), []
    plant = TwinPlant(TASK, robot)

    def wait(samples, step):
        if step.terminated:
            plant.follow(Command(plant.now, samples["tool_pose"].value, OPEN))
            plant.advance(1.0)
            cube, target = plant.data.body("task/object").xpos, plant.cells.target[0]
            truths.append(np.abs(cube - target[:3]))

    play(plant, robot, 15, noise=0.4, on_tick=wait)
    assert len(truths) >= 12
    assert np.max(truths) < TASK.options.tolerance + 0.002
    assert np.max(np.array(truths)[:, 2]) < 0.001


def test_expert_is_done_within_half_the_time_it_has():
    robot = catalog.robot("ur5e")
    played = play(TwinPlant(TASK, robot), robot, 10, noise=0.2)
    assert all(episode.is_success for episode in played)
    assert max(len(episode.steps) for episode in played) <= TASK.steps / 2


def test_expert_that_loses_the_cube_picks_it_up_again():
    robot = catalog.robot("fr3")
    plant, lost = TwinPlant(TASK, robot), []

    def knock(samples, step):
        is_up = samples["object"].value[2] > 0.04 and samples["gripper"].value[0] < 0.55
        if is_up and not lost:  # somebody takes it out of the gripper and puts it back
            lost.append(step)
            qpos = plant.cells._field["qpos"]
            start = plant.scene.object or 0
            qpos[0, start : start + 7] = lie.pose([0.45, -0.1, 0.02], [0.0, 1.0, 0.0, 0.0])

    [episode] = play(plant, robot, 1, on_tick=knock)
    assert lost and episode.is_success


def test_task_is_played_through_on_a_mock():
    robot = catalog.robot("fr3")
    played = play(MockPlant(TASK), robot, 5)
    assert all(episode.is_success for episode in played)


def test_reset_puts_the_cube_back_at_rest_whatever_it_was_doing():
    hand = Hand(seed=2)
    hand.pick()
    drawn = hand.plant.reset(5)
    assert np.abs(hand.plant.data.qvel).max() == 0.0
    seen = hand.plant.read()["object"].value
    np.testing.assert_allclose(seen[:3], drawn["object"][:3], atol=1e-9)
    start = hand.plant.read()["tool_pose"].value
    hand.go(start, CLOSED, 10)
    moved = lie.log(lie.between(np.array(drawn["object"]), hand.plant.read()["object"].value))
    assert np.abs(moved[:3]).max() < 2e-4 and np.abs(moved[3:]).max() < 1e-3


def test_cube_is_seen_late_and_with_noise_as_the_tool_is():
    robot = catalog.robot("fr3")
    plant, seen = TwinPlant(TASK, robot), []
    for seed in range(60):
        drawn = plant.reset(seed)
        error = lie.log(lie.between(np.array(drawn["object"]), plant.read()["object"].value))
        seen.append(error)
    sensors = plant.cells.sensors
    assert np.std(seen, axis=0)[:3] == pytest.approx([sensors.object_position] * 3, rel=0.3)
    assert np.std(seen, axis=0)[3:] == pytest.approx([sensors.object_rotation] * 3, rel=0.3)
    plant.send(Command(0.0, plant.read()["tool_pose"].value))
    assert plant.read()["object"].stamp == pytest.approx(TASK.period - sensors.delay)


def test_cubes_and_pads_spread_as_promised_and_never_meet():
    setups = [TASK.draw(TASK.options, np.random.default_rng(seed)) for seed in range(2000)]
    cubes, pads = (np.array([getattr(s, name) for s in setups]) for name in ("object", "target"))
    yaws = 2 * np.arctan2(cubes[:, 5], cubes[:, 4])
    assert np.ptp(cubes[:, :3], axis=0) == pytest.approx([0.12, 0.12, 0.0], rel=0.01)
    assert np.ptp(pads[:, :3], axis=0) == pytest.approx([0.08, 0.08, 0.0], rel=0.01)
    assert np.rad2deg(np.ptp(yaws)) == pytest.approx(60.0, rel=0.01)
    assert np.min(np.abs(pads[:, 1] - cubes[:, 1])) > 0.045 + np.sqrt(0.5) * TASK.options.side


def test_both_cameras_see_the_cube_and_the_front_one_the_pad():
    robot = catalog.robot("fr3")
    plant = TwinPlant(TASK, robot, cameras=("wrist_camera", "front_camera"))
    for seed in range(8):
        plant.reset(seed)
        counts = {}
        for name in plant.cameras:
            red, green, blue = plant.picture(name).astype(int).transpose(2, 0, 1)
            counts[name, "cube"] = np.sum((red > green + 60) & (red > blue + 60))
            counts[name, "pad"] = np.sum((blue > red + 60) & (blue > green + 30))
        assert counts["front_camera", "cube"] > 60 and counts["front_camera", "pad"] > 250
        assert counts["wrist_camera", "cube"] > 30
    plant.close()
