"""One MuJoCo model from a robot and a task, with the arm held by a native Cartesian impedance."""

from dataclasses import dataclass

import mujoco
import numpy as np

from robostack.core.errors import BadValue
from robostack.core.robot import Robot
from robostack.core.task import Task

TIMESTEP = 0.002  # s
PREFIX = "task/"  # what MuJoCo puts before the names of a task's parts
MOVING, FIXED = 2, 1  # contype of what moves with the arm, and of what it may touch
TOUCHING_LINKS = 2  # the arm's last bodies; the others stay out of reach of the table while the guard holds the tool
SENSORS = {  # name -> (type, size); all at the site `tool`
    "position": (mujoco.mjtSensor.mjSENS_FRAMEPOS, 3),
    "quaternion": (mujoco.mjtSensor.mjSENS_FRAMEQUAT, 4),
    "linear_velocity": (mujoco.mjtSensor.mjSENS_FRAMELINVEL, 3),
    "angular_velocity": (mujoco.mjtSensor.mjSENS_FRAMEANGVEL, 3),
    "force": (mujoco.mjtSensor.mjSENS_FORCE, 3),
    "torque": (mujoco.mjtSensor.mjSENS_TORQUE, 3),
}
OBJECT_SENSORS = {  # in the frame of the body `object`, where the task has one
    "object_position": (mujoco.mjtSensor.mjSENS_FRAMEPOS, 3),
    "object_quaternion": (mujoco.mjtSensor.mjSENS_FRAMEQUAT, 4),
}


@dataclass(frozen=True)
class Scene:
    """A compiled cell and where to find its parts."""

    model: mujoco.MjModel
    robot: Robot
    task: Task
    tool: int  # site id
    reference: int  # mocap id of the pose that the impedance follows
    target: int  # mocap id of the target
    joints: np.ndarray  # (n,) addresses of the arm's joints in qpos
    dofs: np.ndarray  # (n,) addresses of the arm's joints in qvel
    gripper: int | None  # actuator id
    gripper_opening: tuple[int, float]  # qpos address and what of it is fully open
    cameras: tuple[str, ...]
    object: int | None = None  # address of the loose thing's pose in qpos


def build(robot: Robot, task: Task, timestep: float = TIMESTEP) -> Scene:
    """Compiles the cell. Raises BadValue when the control period is not a whole number of physics steps."""
    whole_steps(task.period, timestep, "control period")
    spec = mujoco.MjSpec.from_file(str(robot.model))
    spec.modelname = f"{robot.name}_{task.name}"
    _set_options(spec, timestep)
    _dress(spec)
    _place(spec, task)
    _pair(spec, robot)
    _hold(spec, robot)
    if task.object:
        _watch(spec, task)
    model = spec.compile()
    moves = model.body_treeid >= 0
    if np.all(model.body_gravcomp[moves & (model.body_mass > 0)] == 1.0):
        # Every weight is compensated: the same motion for less. The wrench then holds no weight of the tool at any
        # tilt, as a driver's that knows its payload.
        model.opt.gravity[:] = 0.0
    return _index(model, robot, task)


def whole_steps(seconds: float, timestep: float, what: str) -> int:
    """How many physics steps `seconds` are. Raises BadValue with both numbers unless it is a whole number."""
    steps = round(seconds / timestep)
    if steps < 1 or abs(steps * timestep - seconds) > 1e-9:
        raise BadValue(
            f"{what} {seconds} s is not a whole multiple of the physics step {timestep} s "
            f"({seconds / timestep:.3f} steps); change one of the two"
        )
    return steps


def _set_options(spec: mujoco.MjSpec, timestep: float) -> None:
    spec.option.timestep = timestep
    # Dampers of springs and joints are a tenth of what Euler can take at this step (2 m / dt); to integrate them
    # implicitly costs 12 % more.
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_EULER
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_EULERDAMP
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0  # friction as stiff as contact, so that a held tool does not creep
    quality = spec.visual.quality
    quality.shadowsize, quality.offsamples = 0, 0  # 40 times faster in software rendering
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
    spec.visual.headlight.ambient[:] = 0.35
    spec.visual.headlight.diffuse[:] = 0.5
    spec.visual.map.znear = 0.005


def _dress(spec: mujoco.MjSpec) -> None:
    """Light, sky and a table whose top is z = 0 of the base frame."""
    world = spec.worldbody
    spec.add_texture(
        name="sky",
        type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.75, 0.8, 0.86],
        rgb2=[0.95, 0.96, 0.97],
        width=64,
        height=384,
    )
    world.add_light(pos=[0.3, -0.6, 1.8], dir=[0.1, 0.3, -1], diffuse=[0.5] * 3, castshadow=False)
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[1.2, 1.2, 0.1],
        rgba=[0.72, 0.69, 0.64, 1],
        contype=1,
        conaffinity=3,
    )


def _place(spec: mujoco.MjSpec, task: Task) -> None:
    """The task's tool on the flange; everything else of its scene into the world."""
    tool, rest = _load(task), _load(task)
    if tool.body("tool") is None or tool.site("tool") is None or tool.body("target") is None:
        raise BadValue(f"{task.scene} needs a body `tool` with a site `tool`, and a body `target`")
    rest.delete(rest.body("tool"))
    spec.site("flange").attach_body(tool.body("tool"), PREFIX, "")
    spec.attach(rest, frame=spec.worldbody.add_frame(), prefix=PREFIX)


def _load(task: Task) -> mujoco.MjSpec:
    """The task's scene with the geoms that its options shape."""
    scene = mujoco.MjSpec.from_file(str(task.scene))
    for name, geom in task.geoms(task.options).items():
        if (found := scene.geom(name)) is None:
            raise BadValue(
                f'task {task.name}: geoms() names "{name}", which is not in {task.scene}'
            )
        found.size = [*geom.size, *[0.0] * (3 - len(geom.size))]
        found.pos = geom.position
    return scene


def _pair(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Names what can touch what, instead of letting MuJoCo search in every step: 15 % faster as a whole.

    Only where that is all there is: loose parts that everything touches, and no bits of a task's own.
    """
    arm = _root(spec.site("base").parent)
    parts = {root for joint in spec.joints if (root := _root(joint.parent)) != arm}
    loose = [geom for geom in spec.geoms if geom.contype and _root(geom.parent) in parts]
    if any(geom.contype not in (0, FIXED, MOVING) for geom in spec.geoms) or any(
        (geom.contype, geom.conaffinity) != (FIXED, FIXED | MOVING) for geom in loose
    ):
        return
    bodies = {spec.joint(joint.name).parent.name for joint in robot.joints[-TOUCHING_LINKS:]}
    for number, geom in enumerate(spec.geoms):
        geom.name = geom.name or f"geom_{number}"
    touching = [geom for geom in spec.geoms if geom.contype == MOVING]
    touched = [geom for geom in spec.geoms if geom.contype == FIXED]
    for geom in touching:
        if geom.parent.name in bodies or geom.parent.name.startswith(PREFIX):
            for other in touched:
                _touch(spec, geom, other)
    done = set()
    for geom in loose:
        done.add(geom.name)
        for other in touched:
            if other.name not in done and _root(other.parent) != _root(geom.parent):
                _touch(spec, geom, other)
    for geom in spec.geoms:
        geom.contype, geom.conaffinity = 0, 0


def _root(body: mujoco.MjsBody) -> str:
    """Name of the first body after the world on the way to this one; the world's own for what stands in it."""
    while body.name != "world" and body.parent.name != "world":
        body = body.parent
    return body.name


def _touch(spec: mujoco.MjSpec, one: mujoco.MjsGeom, other: mujoco.MjsGeom) -> None:
    """A pair with what MuJoCo would mix from two geoms; by itself a pair knows only defaults."""
    first, second = (one, other) if one.priority >= other.priority else (other, one)
    if first.priority > second.priority:
        second = first  # it alone says how the two touch
    slide, spin, roll = np.maximum(first.friction, second.friction)
    spec.add_pair(
        geomname1=one.name,
        geomname2=other.name,
        condim=max(first.condim, second.condim),
        friction=[slide, slide, spin, roll, roll],
        solref=(first.solref + second.solref) / 2,
        solimp=(first.solimp + second.solimp) / 2,
        margin=max(one.margin, other.margin),
    )


def _hold(spec: mujoco.MjSpec, robot: Robot) -> None:
    """Six springs from the tool to a mocap frame that carries the reference; damping against the world.

    Lengths are the tool's pose in that frame, so the spring is the SO(3) logarithm whatever the orientation,
    and its axes are the reference tool's. Controls stay zero.
    """
    reference = spec.worldbody.add_body(name="reference", mocap=True)
    reference.add_site(name="reference", group=4)
    for axis, (stiffness, damping) in enumerate(
        zip(robot.impedance.stiffness, robot.impedance.damping, strict=True)
    ):
        spring = spec.add_actuator(
            name=f"impedance_{axis}",
            trntype=mujoco.mjtTrn.mjTRN_SITE,
            target=f"{PREFIX}tool",
            refsite="reference",
            gear=np.eye(6)[axis],
        )
        spring.set_to_position(kp=stiffness, kv=damping)
    for name, (kind, _) in SENSORS.items():
        spec.add_sensor(
            name=name, type=kind, objtype=mujoco.mjtObj.mjOBJ_SITE, objname=f"{PREFIX}tool"
        )


def _watch(spec: mujoco.MjSpec, task: Task) -> None:
    """Sensors for where the loose thing is."""
    body = spec.body(f"{PREFIX}object")
    if body is None or [joint.type for joint in body.joints] != [mujoco.mjtJoint.mjJNT_FREE]:
        raise BadValue(
            f"task {task.name} has an object: {task.scene} needs a body `object` on a free joint"
        )
    for name, (kind, _) in OBJECT_SENSORS.items():
        spec.add_sensor(name=name, type=kind, objtype=mujoco.mjtObj.mjOBJ_XBODY, objname=body.name)


def _index(model: mujoco.MjModel, robot: Robot, task: Task) -> Scene:
    joints = [model.joint(joint.name) for joint in robot.joints]
    names = [model.actuator(i).name for i in range(model.nu)]
    gripper = names.index(f"{PREFIX}gripper") if f"{PREFIX}gripper" in names else None
    opening = (0, 1.0)
    if gripper is not None:
        joint = int(model.actuator_trnid[gripper, 0])
        opening = (int(model.jnt_qposadr[joint]), float(model.jnt_range[joint, 1]))
    return Scene(
        model=model,
        robot=robot,
        task=task,
        tool=model.site(f"{PREFIX}tool").id,
        reference=int(model.body("reference").mocapid[0]),
        target=int(model.body(f"{PREFIX}target").mocapid[0]),
        joints=np.array([joint.qposadr[0] for joint in joints]),
        dofs=np.array([joint.dofadr[0] for joint in joints]),
        gripper=gripper,
        gripper_opening=opening,
        cameras=tuple(model.camera(i).name.removeprefix(PREFIX) for i in range(model.ncam)),
        object=int(model.joint(model.body(f"{PREFIX}object").jntadr[0]).qposadr[0])
        if task.object
        else None,
    )
