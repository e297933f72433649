"""The mirror behaves as a cell does: it follows, it feels, it is late, and it repeats itself."""

import numpy as np
import pytest

from robostack.core import catalog, lie
from robostack.core.errors import BadValue
from robostack.core.types import Command
from robostack.twin.cells import SensorModel
from robostack.twin.plant import TwinPlant

ROBOTS = catalog.robots()


def hold(plant, reference, ticks):
    for _ in range(ticks):
        plant.send(Command(plant.now, reference))
    return plant.read()


@pytest.fixture(params=ROBOTS)
def quiet(request):
    """A noiseless cell of peg_insert at the start of episode 0."""
    plant = TwinPlant(catalog.task("peg_insert"), catalog.robot(request.param), noise=False)
    drawn = plant.reset(0)
    yield plant, drawn
    plant.close()


def test_reset_puts_the_tool_at_its_start(quiet):
    plant, drawn = quiet
    error = lie.log(lie.between(np.array(drawn["start"]), plant.read()["tool_pose"].value))
    assert np.abs(error).max() < 1e-4


def test_tool_stays_where_it_is_told_to_stay(quiet):
    plant, _ = quiet
    start = plant.read()["tool_pose"].value
    samples = hold(plant, start, 20)
    assert np.abs(lie.log(lie.between(start, samples["tool_pose"].value))).max() < 1e-6
    assert np.abs(samples["wrench"].value).max() < 1e-3  # the tool's own weight is not felt


@pytest.mark.parametrize("axis", range(6))
def test_tool_arrives_at_a_reference_moved_along_each_axis(quiet, axis):
    plant, _ = quiet
    step = np.zeros(6)
    step[axis] = -0.01 if axis == 2 else 0.01  # up, away from the block
    wanted = lie.compose(plant.read()["tool_pose"].value, lie.exp(step))
    arrived = hold(plant, wanted, 30)["tool_pose"].value
    assert np.abs(lie.log(lie.between(arrived, wanted))).max() < 2e-3


def test_orientation_is_held_far_from_where_it_started(quiet):
    plant, _ = quiet
    reference = plant.read()["tool_pose"].value
    turn = lie.exp(np.array([0.0, 0.0, -0.002, 0.0, 0.0, 0.05]))
    for _ in range(12):  # 0.6 rad about the tool's axis, step by step
        reference = lie.compose(reference, turn)
        samples = hold(plant, reference, 4)
    assert np.abs(lie.log(lie.between(samples["tool_pose"].value, reference))[3:]).max() < 0.02


def test_pressing_down_is_felt_as_a_push_back_along_the_tools_axis():
    task, robot = catalog.task("peg_insert", start_low=0.01, start_high=0.01), catalog.robot("fr3")
    plant = TwinPlant(task, robot, noise=False)
    plant.reset(0)  # not above the hole
    pose = plant.read()["tool_pose"].value
    down = lie.compose(pose, lie.pose(np.array([0.0, 0.0, 0.016]), np.array([1.0, 0, 0, 0])))
    wrench = hold(plant, down, 20)["wrench"].value
    stretch = lie.between(plant.read()["tool_pose"].value, down)[2]
    assert wrench[2] == pytest.approx(-robot.impedance.stiffness[2] * stretch, rel=0.1)
    assert wrench[2] < -2.0  # tool z points down, so the block pushes against it


def test_samples_are_late_by_the_sensors_delay():
    plant = TwinPlant(catalog.task("reach"), catalog.robot("fr3"))
    plant.reset(0)
    plant.send(Command(0.0, plant.read()["tool_pose"].value))
    samples = plant.read()
    assert plant.now == pytest.approx(0.1)
    assert samples["tool_pose"].stamp == pytest.approx(0.1 - plant.cells.sensors.delay)
    assert samples["target"].stamp == pytest.approx(0.1)


def test_late_pose_is_the_pose_of_then():
    """What the sensors give after one period is where a perfect sensor saw the tool that much earlier."""
    task, robot = catalog.task("reach"), catalog.robot("fr3")
    late, exact = TwinPlant(task, robot), TwinPlant(task, robot, noise=False)
    late.cells.sensors = SensorModel(late.cells.sensors.delay, *[0.0] * 6)
    for plant in (late, exact):
        plant.reset(5)
    reference = lie.compose(exact.read()["tool_pose"].value, lie.exp(np.full(6, 0.01)))
    late.send(Command(0.0, reference))
    exact.follow(Command(0.0, reference))
    exact.advance(task.period - late.cells.sensors.delay)
    assert np.allclose(late.read()["tool_pose"].value, exact.read()["tool_pose"].value, atol=1e-12)


def test_noise_tells_nothing_about_what_was_drawn():
    """A seed draws the setup and the noise; the first noise must not be the same chance as the hole's bias."""
    task, robot = catalog.task("peg_insert"), catalog.robot("fr3")
    plant, pairs = TwinPlant(task, robot), []
    for seed in range(300):
        drawn = plant.reset(seed)
        bias = np.subtract(drawn["target_observed"], drawn["target"])[:3]
        noise = plant.read()["tool_pose"].value[:3] - plant.cells.tool_pose()[0, :3]
        pairs.append([*bias, *noise])
    table = np.array(pairs)
    signed = np.corrcoef(table.T)[:3, 3:]
    sizes = np.corrcoef(np.abs(table).T)[:3, 3:]
    assert np.abs([signed, sizes]).max() < 0.25  # 300 draws: chance alone stays below


def test_looking_more_often_changes_nothing():
    task, robot = catalog.task("peg_insert"), catalog.robot("fr3")
    seen = []
    for looks in (1, 2, 5):
        plant, moves = TwinPlant(task, robot, looks=looks), []
        plant.on_move = lambda moves=moves: moves.append(1)
        plant.reset(3)
        pose = plant.read()["tool_pose"].value
        for _ in range(10):
            plant.send(Command(plant.now, lie.compose(pose, lie.exp(np.full(6, 0.005)))))
        assert len(moves) == 10 * looks
        seen.append(np.concatenate([plant.read()["tool_pose"].value, plant.read()["wrench"].value]))
    assert np.array_equal(seen[0], seen[1]) and np.array_equal(seen[0], seen[2])


def test_advancing_by_less_than_the_delay_is_refused_with_both_numbers():
    plant = TwinPlant(catalog.task("reach"), catalog.robot("fr3"))
    plant.reset(0)
    with pytest.raises(BadValue, match="advance by 2 physics steps, but sensors are 4 steps late"):
        plant.advance(0.004)


@pytest.mark.parametrize("robot", ROBOTS)
@pytest.mark.parametrize("name", catalog.tasks())
def test_same_seed_gives_the_same_samples_bit_for_bit(robot, name):
    task = catalog.task(name)

    def play(plant, seed):
        plant.reset(seed)
        rng, seen = np.random.default_rng(1), []
        for _ in range(20):
            samples = plant.read()
            seen.append(np.concatenate([s.value for s in samples.values()]))
            step = lie.exp(rng.uniform(-1, 1, 6) * task.action_scale)
            plant.send(Command(plant.now, lie.compose(samples["tool_pose"].value, step), 0.3))
        return np.stack(seen)

    plant = TwinPlant(task, catalog.robot(robot))
    first = play(plant, 7)
    other = play(plant, 8)  # what happened in between leaves no trace
    assert np.array_equal(first, play(plant, 7))
    assert np.array_equal(first, play(TwinPlant(task, catalog.robot(robot)), 7))
    assert not np.array_equal(first, other)


def test_reading_twice_gives_the_same_measurement():
    plant = TwinPlant(catalog.task("reach"), catalog.robot("fr3"))
    plant.reset(0)
    assert np.array_equal(plant.read()["wrench"].value, plant.read()["wrench"].value)


def test_gripper_opens_and_closes_as_told():
    plant = TwinPlant(catalog.task("reach"), catalog.robot("fr3"), noise=False)
    plant.reset(0)
    pose = plant.read()["tool_pose"].value
    for opening in (1.0, 0.0, 0.5):
        for _ in range(20):
            plant.send(Command(plant.now, pose, opening))
        assert plant.read()["gripper"].value[0] == pytest.approx(opening, abs=0.02)


def test_cameras_are_read_with_the_other_signals():
    names = ("wrist_camera", "front_camera")
    plant = TwinPlant(catalog.task("peg_insert"), catalog.robot("fr3"), cameras=names)
    plant.reset(0)
    for name in names:
        picture = plant.read()[name].value
        assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8 and picture.std() > 5
    plant.close()
    plant.close()


def test_start_out_of_reach_says_so():
    task = catalog.task("peg_insert")
    plant = TwinPlant(task, catalog.robot("ur5e"))
    setup = task.draw(task.options, np.random.default_rng(0))
    far = setup.start + np.array([2.0, 0, 0, 0, 0, 0, 0])
    with pytest.raises(BadValue, match="ur5e cannot bring its tool to"):
        plant.cells.reset(np.array([0]), [type(setup)(far, setup.target, setup.target_observed)])
