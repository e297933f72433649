"""A cell in real time whose actor, clock, sensors or camera fail: the arm holds, and the reason can be read."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy")

from geometry_msgs.msg import WrenchStamped
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from robostack import config as configs
from robostack.core import catalog, clock, observe
from robostack.core.errors import StaleSample
from robostack.core.loop import Loop, StillPolicy
from robostack.core.types import Command
from robostack.ros import messages, runtime, topics
from robostack.ros.plant import RosPlant
from robostack.store.episode import episode_paths, recover
from robostack.store.run import Run
from tests.ros.wire import ROOT, Wire, connected, running_cell, wait_until

ROBOT, TASK = catalog.robot("fr3"), catalog.task("reach")
LIMIT = ROBOT.safety.command_age
BUSY_S = 2.0  # s that a busy machine may add to anything


@contextmanager
def acting(tmp_path):
    """A real-time cell of the mock with a real actor that shows episode after episode, and a wire to listen in."""
    config = configs.override(
        configs.RunConfig(task="reach"),
        ["plant=ros", "lockstep=false", "demonstrations=500", "pictures=[]"],
    )
    run = Run.create(tmp_path, "reach", configs.as_dict(config))
    with running_cell("task:=reach", "lockstep:=false") as cell:
        command = [sys.executable, "-m", "robostack", "act", str(run.path)]
        environ = {"PYTHONPATH": str(ROOT), "ROS_DOMAIN_ID": cell.domain}
        cell.group.start("actor", command, environ)
        with connected(cell, Wire) as wire:
            verdicts = wire.hear(Header, topics.VERDICT)
            states = wire.hear(String, topics.STATE, topics.LATCHED)
            wire.start()
            assert wait_until(lambda: len(verdicts) > 5), cell.lines
            yield cell, run, verdicts, states


def last(states: list) -> str:
    return states[-1].data if states else ""


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_guard_holds_when_the_actor_hangs_or_is_killed_and_says_so_to_who_comes_late(
    tmp_path, number
):
    with acting(tmp_path) as (cell, run, verdicts, states):
        heard = len(verdicts)
        assert wait_until(lambda: len(verdicts) > heard + 2)
        cell.signal("actor", number)
        begun = clock.now()
        assert wait_until(lambda: last(states).startswith("hold: no command for")), states
        assert clock.now() - begun < LIMIT + BUSY_S
        assert f"limit {LIMIT * 1e3:.0f} ms" in last(states)
        with connected(cell, Wire) as late:
            told = late.hear(String, topics.STATE, topics.LATCHED)
            late.start()
            assert wait_until(lambda: last(told) == last(states)), "the reason is latched"
        if number == signal.SIGSTOP:
            cell.signal("actor", signal.SIGCONT)
            assert wait_until(lambda: last(states) == "policy"), "it goes on"
            cell.group.kill("actor")
        wait_until(lambda: cell.group.status("actor") is not None)
        done = [recover(path) for path in episode_paths(run.episodes)[:-1]]
        assert sum(not recording.is_complete for recording in done) <= 1, "a stop may cut one"


def test_sensor_that_gives_no_number_is_held_and_ends_only_the_episode(tmp_path):
    with acting(tmp_path) as (cell, run, verdicts, _), connected(cell, Wire) as driver:
        wrench = driver.speak(WrenchStamped, topics.EXTERNAL_WRENCH)
        driver.start()
        assert wait_until(lambda: wrench.get_subscription_count() >= 2)
        bad = messages.to_wrench(np.zeros(6), 0.0, ROBOT.tool_frame)
        bad.wrench.force.x = float("nan")
        reasons = lambda: [v.frame_id for v in verdicts if "wrench" in v.frame_id]  # noqa: E731
        told, deadline = '"wrench" holds a value that is not finite', clock.now() + 20.0
        while not (reasons() and cell.said(told)) and clock.now() < deadline:
            bad.header.stamp = messages.to_time(runtime.system_now())
            wrench.publish(bad)
            clock.sleep(0.01)
        assert "hold: no finite wrench" in reasons()
        assert cell.said(f"was cut short: {told}"), cell.lines
        count = len(episode_paths(run.episodes))
        assert wait_until(lambda: len(episode_paths(run.episodes)) > count + 1), "it goes on"
        assert cell.group.poll() is None


def test_camera_that_stops_ends_the_episode_by_name_and_the_guard_holds():
    with (
        running_cell("task:=reach", "lockstep:=false") as cell,
        connected(cell, Wire) as driver,
        connected(cell, lambda: RosPlant(TASK, ROBOT, lockstep=False, cameras=("wrist",))) as plant,
    ):
        images = driver.speak(Image, topics.image("wrist"))
        states = driver.hear(String, topics.STATE, topics.LATCHED)
        driver.start()
        assert wait_until(lambda: images.get_subscription_count() == 1)
        pixels, seen = np.zeros((48, 64, 3), np.uint8), []

        def film(*_) -> None:
            """A picture a tick, for five ticks."""
            if len(seen) < 5:
                images.publish(messages.to_image(pixels, runtime.system_now(), "wrist"))
            seen.append(1)

        stop = threading.Event()

        def first() -> None:
            while not stop.wait(0.02) and not seen:
                images.publish(messages.to_image(pixels, runtime.system_now(), "wrist"))

        thread = threading.Thread(target=first)
        thread.start()
        try:
            with pytest.raises(StaleSample, match="wrist"):
                Loop(plant, TASK, ROBOT, on_tick=film).run(StillPolicy(7), "demonstration", 0, 1)
        finally:
            stop.set()
            thread.join()
        assert len(seen) >= 5
        assert wait_until(lambda: last(states).startswith("hold: no command for"), LIMIT + BUSY_S)


UP = """
import sys
from robostack import up
from robostack.store.pulse import Patience
up.NODE = Patience(60.0, 3.0)
sys.exit(up.main(["mirror", "task:=reach", "plant:=mock"]))
"""


@pytest.mark.parametrize("node", ["mirror", "guard"])
def test_node_of_a_started_cell_that_hangs_ends_the_cell_and_is_named(node):
    process = subprocess.Popen(
        [sys.executable, "-c", UP],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout
        ready = 0
        while ready < 2:
            ready += "ready" in process.stdout.readline()
        clock.sleep(1.0)  # its loop turns now
        words = ["pgrep", "-P", str(process.pid), "-f", f"/{node} "]
        os.kill(int(subprocess.run(words, capture_output=True, check=True).stdout), signal.SIGSTOP)
        err = process.communicate(timeout=40)[1]
    finally:
        process.kill()
    assert process.returncode == 1
    assert re.search(rf"up: {node} gave no sign of life for \d s and was ended", err), err


SHIFTED = """
import os, time
_time = time.time
def shifted():
    with open(os.environ["SHIFT"]) as file: return _time() + float(file.read() or 0)
time.time = shifted
"""


@pytest.mark.parametrize("jump", [pytest.param(3600.0, marks=pytest.mark.soak), -3600.0])
def test_clock_that_is_set_by_an_hour_neither_holds_the_arm_nor_blinds_the_guard(
    tmp_path, monkeypatch, jump
):
    """Date of every process set in the middle of an episode; the next one begins on the new date."""
    shift = tmp_path / "shift"
    shift.write_text("0")
    (tmp_path / "sitecustomize.py").write_text(SHIFTED)
    environ = {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "SHIFT": str(shift)}
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + float(shift.read_text()))
    monkeypatch.setattr(runtime, "_date", runtime._date)  # put back at the end
    with running_cell("task:=reach", "lockstep:=false", nodes=()) as cell:
        for node in ("guard", "mirror"):
            module = {"mirror": "robostack.mirror", "guard": "robostack.guard_node"}[node]
            words = ["-p", "task:=reach", "-p", "lockstep:=false", "-p", "plant:=mock"]
            command = [sys.executable, "-m", module, "--ros-args", *words]
            cell.group.start(node, command, {**environ, "ROS_DOMAIN_ID": cell.domain})
        cell.wait_ready("guard", "mirror")
        with connected(cell, lambda: RosPlant(TASK, ROBOT, lockstep=False)) as plant:
            plant.reset(1)
            follow(plant, 0.01)
            Path(shift).write_text(str(jump))
            follow(plant, 0.01)
            plant.reset(2)
            assert abs(plant.now - time.time()) < 1.0, "the new date counts from the next reset on"
            follow(plant, 0.01)
            cell.group.kill("mirror")
            assert wait_until(lambda: "hold: tool_pose is" in keep_asking(plant), LIMIT + BUSY_S), (
                "a sensor that falls silent after the jump is seen"
            )


def follow(plant, way: float) -> None:
    """Moves the tool up by `way`, m: every sample is fresh, nothing is held, and the arm gets there."""
    samples = plant.read()
    start = samples["tool_pose"].value
    goal = start + [0, 0, way, 0, 0, 0, 0]
    for tick in range(15):
        part = min(1.0, (tick + 1) / 10)
        plant.send(Command(plant.now, start + part * (goal - start), 0.5))
        clock.sleep(TASK.period)
        samples = plant.read()
        observe.require_fresh(samples, plant.now, 0.25)
        assert not str(samples["guard"].value).startswith("hold"), samples["guard"].value
    assert samples["tool_pose"].value[2] - start[2] > 0.7 * way


def keep_asking(plant) -> str:
    """What the guard says to one more command."""
    letter = plant._mail.get(topics.CURRENT_POSE).message
    plant.send(Command(plant.now, messages.from_pose(letter, ROBOT.base_frame), 0.5))
    clock.sleep(TASK.period)
    return plant._mail.get(topics.VERDICT).message.frame_id
