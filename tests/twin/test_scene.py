"""The compiled cell: composed right, and refused where it cannot be."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from robostack.core import catalog
from robostack.core.errors import BadValue, UnknownName
from robostack.twin import scene as scenes
from robostack.twin.plant import TwinPlant

CELLS = [(robot, task) for robot in catalog.robots() for task in catalog.tasks()]


@pytest.fixture(params=CELLS, ids=lambda cell: "-".join(cell))
def scene(request):
    robot, task = request.param
    return scenes.build(catalog.robot(robot), catalog.task(task))


def test_joints_stand_in_the_robots_order(scene):
    names = [scene.model.joint(i).name for i in range(scene.model.njnt)]
    wanted = [joint.name for joint in scene.robot.joints]
    assert [
        names[list(scene.model.jnt_qposadr).index(address)] for address in scene.joints
    ] == wanted


def test_springs_have_the_robots_stiffness_and_damping(scene):
    for axis in range(6):
        spring = scene.model.actuator(f"impedance_{axis}")
        assert spring.gainprm[0] == scene.robot.impedance.stiffness[axis]
        assert spring.biasprm[2] == -scene.robot.impedance.damping[axis]


def test_joint_torque_cannot_exceed_the_makers_limit(scene):
    for joint in scene.robot.joints:
        assert scene.model.jnt_actfrcrange[scene.model.joint(joint.name).id, 1] == pytest.approx(
            joint.torque
        )


def test_scene_has_the_roles_of_cameras(scene):
    assert set(scene.cameras) == {"wrist_camera", "front_camera"}


def test_software_rendering_is_not_slowed_by_shadows(scene):
    quality = scene.model.vis.quality
    assert quality.shadowsize == 0 and quality.offsamples == 0


def test_period_that_is_no_whole_number_of_steps_names_both_numbers():
    task = replace(catalog.task("reach"), period=0.0999)
    with pytest.raises(
        BadValue, match=r"0\.0999 s is not a whole multiple of the physics step 0\.002 s"
    ):
        scenes.build(catalog.robot("fr3"), task)


@pytest.mark.parametrize("period", [0.06, 0.1, 0.14, 0.02])
def test_whole_periods_are_not_lost_to_floating_point(period):
    assert scenes.whole_steps(period, 0.002, "period") == round(
        period / 0.002
    )  # 0.06 // 0.002 is 29


def test_clearance_is_the_gap_between_peg_and_wall():
    for clearance in (0.0002, 0.001, 0.002):
        scene = scenes.build(catalog.robot("fr3"), catalog.task("peg_insert", clearance=clearance))
        peg = scene.model.geom(scenes.PREFIX + "peg")
        for wall, axis in (("wall_px", 0), ("wall_nx", 0), ("wall_py", 1), ("wall_ny", 1)):
            geom = scene.model.geom(scenes.PREFIX + wall)
            gap = abs(geom.pos[axis]) - geom.size[axis] - peg.size[axis]
            assert gap == pytest.approx(clearance, abs=1e-9)


def test_unknown_camera_lists_the_valid_ones():
    with pytest.raises(UnknownName, match="front_camera, wrist_camera"):
        TwinPlant(catalog.task("reach"), catalog.robot("fr3"), cameras=("wrst",))


def test_model_steps_without_warnings(scene):
    data = mujoco.MjData(scene.model)
    data.qpos[scene.joints] = scene.robot.home
    for _ in range(200):
        mujoco.mj_step(scene.model, data)
    assert not any(warning.number for warning in data.warning)
    assert np.isfinite(data.qpos).all()


def test_named_pairs_touch_as_mujoco_would_mix_their_geoms(scene):
    """The same two geoms, once as a named pair and once found by MuJoCo's own search: equal contacts."""
    model = scene.model
    for pair in range(model.npair):
        one, other = model.pair_geom1[pair], model.pair_geom2[pair]
        if (order := model.geom_priority[one] - model.geom_priority[other]) != 0:
            one = other = one if order > 0 else other
        friction = np.maximum(model.geom_friction[one], model.geom_friction[other])
        assert model.pair_friction[pair] == pytest.approx(friction[[0, 0, 1, 2, 2]])
        assert model.pair_solref[pair] == pytest.approx(
            (model.geom_solref[one] + model.geom_solref[other]) / 2
        )
        assert model.pair_dim[pair] == max(model.geom_condim[one], model.geom_condim[other])


LOOSE = """<mujoco><worldbody>
  <body name="tool" gravcomp="1"><geom size=".01" mass=".1" contype="2"/><site name="tool"/></body>
  <body name="target" mocap="true"/>
  <body name="box" pos=".5 .2 .1"><freejoint/><geom name="box" type="box" size=".02 .02 .02" {bits}/></body>
</worldbody></mujoco>"""


@pytest.mark.parametrize("bits", ["", 'contype="1" conaffinity="3"', 'contype="3" conaffinity="3"'])
def test_loose_part_of_a_task_falls_and_rests_on_the_table(tmp_path, bits):
    path = tmp_path / "scene.xml"
    path.write_text(LOOSE.format(bits=bits))
    task = replace(catalog.task("reach"), scene=path)
    scene = scenes.build(catalog.robot("fr3"), task)
    data = mujoco.MjData(scene.model)
    data.qpos[scene.joints] = scene.robot.home
    mujoco.mj_step(scene.model, data, 1000)
    assert data.geom(scenes.PREFIX + "box").xpos[2] == pytest.approx(0.02, abs=0.002)


def test_gravity_is_off_only_where_every_weight_is_compensated(scene, tmp_path):
    assert scene.model.opt.gravity.any() == scene.task.object
    path = tmp_path / "scene.xml"
    path.write_text(LOOSE.format(bits=""))
    task = replace(scene.task, scene=path, geoms=lambda options: {}, object=False)
    assert scenes.build(scene.robot, task).model.opt.gravity[2] < -9.0


def test_object_that_is_not_loose_is_refused(tmp_path):
    path = tmp_path / "scene.xml"
    path.write_text(LOOSE.format(bits=""))  # its loose part has another name
    task = replace(catalog.task("reach"), scene=path, object=True)
    with pytest.raises(BadValue, match="has an object: .*needs a body `object` on a free joint"):
        scenes.build(catalog.robot("fr3"), task)


def test_loose_part_touches_tool_table_and_target_by_name():
    scene = scenes.build(catalog.robot("fr3"), catalog.task("pick_place"))
    model = scene.model
    names = [model.geom(i).name.removeprefix(scenes.PREFIX) for i in range(model.ngeom)]
    pairs = zip(model.pair_geom1, model.pair_geom2, strict=True)
    touching = {frozenset((names[one], names[other])) for one, other in pairs}
    for name in ("finger_left", "finger_right", "palm", "pad", "table"):
        assert {"cube", name} in touching
    assert not model.geom_contype.any()  # and nothing is searched for


def test_tool_and_wrist_can_touch_the_table_and_the_target(scene):
    geoms = [*scene.model.pair_geom1, *scene.model.pair_geom2]
    bodies = {scene.model.body(scene.model.geom_bodyid[geom]).name for geom in geoms}
    last = scene.model.joint(scene.robot.joints[-1].name).bodyid[0]
    assert {scenes.PREFIX + "tool", scene.model.body(last).name} <= bodies
