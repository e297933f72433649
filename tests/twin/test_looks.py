"""A look changes every picture and nothing that moves; taken back, pictures are bit-equal."""

import mujoco
import numpy as np
import pytest

from robostack.core import catalog, lie
from robostack.twin import looks, scene, sights
from robostack.twin.looks import FIELDS, Looks
from robostack.twin.render import Camera
from robostack.twin.sights import LABELS, Sights

PIXELS = 32
CELLS = [("peg_insert", "fr3"), ("reach", "ur5e")]


@pytest.fixture(scope="module", params=CELLS, ids="-".join)
def cell(request) -> scene.Scene:
    task, robot = request.param
    return scene.build(catalog.robot(robot), catalog.task(task))


@pytest.fixture(scope="module", params=CELLS, ids="-".join)
def seen(request):
    task, robot = request.param
    made = Sights(catalog.task(task), catalog.robot(robot), PIXELS, seed=3)
    yield made
    made.close()


def state_of(model: mujoco.MjModel) -> mujoco.MjData:
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return data


def pictures(cell: scene.Scene) -> dict[str, np.ndarray]:
    data, found = state_of(cell.model), {}
    for name in cell.cameras:
        camera = Camera(cell, name, PIXELS, PIXELS)
        found[name] = camera.render(data)
        camera.close()
    return found


def fields(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    """All arrays of a model."""
    names = (name for name in dir(model) if not name.startswith("_"))
    found = {name: getattr(model, name) for name in names}
    return {name: v.copy() for name, v in found.items() if isinstance(v, np.ndarray)}


def test_a_look_changes_every_picture_and_restoring_gives_the_same_bits(cell):
    looks_of_it, before = Looks(cell), pictures(cell)
    for seed in range(3):
        looks_of_it.draw(np.random.default_rng(seed))
        for name, picture in pictures(cell).items():
            assert np.abs(picture.astype(int) - before[name]).mean() > 3.0, name
    looks_of_it.restore()
    after = pictures(cell)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_look_changes_no_field_that_physics_reads(cell):
    before, looks_of_it = fields(cell.model), Looks(cell)
    looks_of_it.draw(np.random.default_rng(0))
    after = fields(cell.model)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed <= set(FIELDS) and {"geom_rgba", "cam_pos", "cam_fovy"} <= changed
    looks_of_it.restore()
    after = fields(cell.model)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_hundred_steps_are_the_same_whatever_the_look(cell):
    looks_of_it, ends = Looks(cell), []
    for seed in (None, 0):
        if seed is not None:
            looks_of_it.draw(np.random.default_rng(seed))
        data = mujoco.MjData(cell.model)
        data.qpos[cell.joints] = cell.robot.home
        mujoco.mj_step(cell.model, data, 100)
        ends.append(np.concatenate([data.qpos, data.qvel, data.sensordata]))
    looks_of_it.restore()
    assert np.array_equal(*ends)


def test_a_look_repeats_itself_by_seed_and_forgets_the_last(cell):
    looks_of_it, found = Looks(cell), []
    for before in (7, 8):
        looks_of_it.draw(np.random.default_rng(before))
        looks_of_it.draw(np.random.default_rng(1))
        found.append(fields(cell.model))
    looks_of_it.restore()
    assert all(np.array_equal(found[0][name], found[1][name]) for name in FIELDS)


def test_clutter_is_drawn_and_is_in_no_model(cell):
    renderer = mujoco.Renderer(cell.model, PIXELS, PIXELS)
    try:
        renderer.update_scene(state_of(cell.model), camera="task/front_camera")
        before, things = renderer.render().copy(), cell.model.ngeom
        count = renderer.scene.ngeom
        for seed in range(10):
            Looks(cell).clutter(np.random.default_rng(seed), np.full((1, 3), 9.0), renderer.scene)
        assert renderer.scene.ngeom > count and cell.model.ngeom == things
        assert np.abs(renderer.render().astype(int) - before).max() > 20
    finally:
        renderer.close()


def test_clutter_keeps_away_from_the_work(cell):
    renderer = mujoco.Renderer(cell.model, PIXELS, PIXELS)
    try:
        renderer.update_scene(state_of(cell.model), camera="task/front_camera")
        count, work = renderer.scene.ngeom, np.array([[0.5, 0.0, 0.1]])
        for seed in range(20):
            Looks(cell).clutter(np.random.default_rng(seed), work, renderer.scene)
        added = renderer.scene.geoms[count : renderer.scene.ngeom]
        aside = [np.linalg.norm(geom.pos[:2] - work[0, :2]) for geom in added]
        assert len(added) > 10 and min(aside) >= 0.12
    finally:
        renderer.close()


def test_exposure_keeps_shape_and_type_and_repeats_itself_by_seed():
    grey = np.full((8, 8, 3), 128, np.uint8)
    shots = [looks.expose(grey, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert shots[0].shape == grey.shape and shots[0].dtype == np.uint8
    assert np.array_equal(shots[0], shots[1]) and not np.array_equal(shots[0], shots[2])


def test_sights_are_the_same_for_a_seed():
    made = []
    for _ in range(2):
        sights_of_it = Sights(catalog.task("reach"), catalog.robot("fr3"), PIXELS, seed=5)
        moments = sights_of_it.moments()
        made.append([sights_of_it.look(next(moments), "front_camera") for _ in range(20)])
        sights_of_it.close()
    for one, other in zip(*made, strict=True):
        assert np.array_equal(one.picture, other.picture)
        assert (one.depth != other.depth).mean() < 0.06  # edges; see Sights
        assert all(np.array_equal(one.labels[name], other.labels[name]) for name in LABELS)


def test_a_plain_sight_is_what_the_camera_of_the_cell_gives(seen):
    for camera in seen.cameras:
        seen.look(0, camera, changed=True)
        got = seen.look(0, camera, changed=False, off_path=False)
        own = Camera(seen.scene, camera, PIXELS, PIXELS)
        expected = own.render(seen._twin.cells.data(0))
        own.close()
        # Kinematics are computed anew from the same joints: a pixel on an edge may fall to the other side.
        assert (got.picture != expected).mean() < 0.01


def test_labels_have_their_sizes_and_agree_with_each_other(seen):
    moments = seen.moments()
    for _ in range(40):
        sight = seen.look(next(moments), "wrist_camera")
        assert {name: len(value) for name, value in sight.labels.items()} == LABELS
        assert sight.depth.shape == (sights.DEPTH, sights.DEPTH)
        np.testing.assert_allclose(np.sum(sight.labels["target_yaw"] ** 2), 1.0, atol=1e-5)
        inside = np.abs(sight.labels["target_pixel"]).max() < 1.0
        assert not sight.labels["target_seen"][0] or inside


def test_the_tool_is_drawn_where_its_label_says():
    """With the tool's geom alone in red, red is around the label: the peg hangs from its tip upwards."""
    made = Sights(catalog.task("peg_insert"), catalog.robot("fr3"), 128, seed=1)
    try:
        peg = made.scene.model.geom("task/peg").id
        made._looks._pristine["geom_rgba"][:, :3] = 0.2
        made._looks._pristine["geom_rgba"][peg] = [1.0, 0.0, 0.0, 1.0]
        for _ in range(5):
            sight = made.look(0, "front_camera", changed=False)
            red = sight.picture[..., 0].astype(int) - sight.picture[..., 1] > 60
            u, v = (sight.labels["tool_pixel"] + 1.0) * 64
            rows, columns = np.nonzero(red)
            assert abs(rows.max() - v) < 4 and abs(columns[rows > rows.max() - 3].mean() - u) < 4
    finally:
        made.close()


def test_where_nothing_is_loose_the_object_is_the_target(seen):
    labels = seen.look(1, "front_camera").labels
    for name in ("position", "yaw", "pixel", "far", "seen"):
        assert np.array_equal(labels[f"object_{name}"], labels[f"target_{name}"])


def test_the_position_is_that_of_the_target_in_the_tool_frame(seen):
    sight = seen.look(2, "wrist_camera", changed=False, off_path=False)
    T_tool_target = lie.between(seen._twin.cells.tool_pose()[2], seen._twin.cells.target[2])
    np.testing.assert_allclose(sight.labels["target_position"], T_tool_target[:3], atol=1e-6)
