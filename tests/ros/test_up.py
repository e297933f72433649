"""`robostack up` and the nodes' own doors: started as a user starts them, ended as a user ends them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robostack.core import clock
from robostack.core.errors import BadValue, Unavailable
from robostack.ros import environment

ROOT = Path(__file__).parents[2]
NO_ROS = "import sys; sys.modules['rclpy'] = None; import {door} as door; sys.exit(door.main([]))"

# Told first, so that the moments below are the node's and not those of Python's own start.
NODE = "import runpy, sys; print(1, flush=True); runpy.run_path(sys.argv[1], run_name='__main__')"
MOMENTS = (0.03, 0.15, 0.3, 0.6, 1.0)  # s

ASK = """
from robostack.core import catalog
from robostack.ros.plant import RosPlant
plant = RosPlant(catalog.task("reach"), catalog.robot("fr3"), lockstep=False, namespace="left")
print(sorted(plant.reset(1)))
"""


def run(*words: str, **environ: str) -> subprocess.CompletedProcess:
    command = [sys.executable, *words]
    environ = os.environ | {"PYTHONPATH": str(ROOT)} | environ
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


class Up:
    """A running `robostack up`."""

    def __init__(self, *words: str):
        environ = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.domain = environ["ROS_DOMAIN_ID"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "robostack.up", *words],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        self.lines: list[str] = []

    def read_until(self, *texts: str) -> None:
        wanted = set(texts)
        assert self.process.stdout
        while wanted:
            line = self.process.stdout.readline()
            assert line, self.lines
            self.lines.append(line)
            wanted -= {text for text in wanted if text in line}

    def end(self) -> float:
        """s that it took to end."""
        begun = clock.now()
        self.lines += self.process.communicate(timeout=10)[0].splitlines()
        return clock.now() - begun


@pytest.fixture
def up():
    up = Up("mirror", "task:=reach", "plant:=mock", "namespace:=left")
    yield up
    if up.process.poll() is None:
        up.process.kill()
        up.process.communicate()


@pytest.mark.ros
def test_up_starts_a_cell_and_ctrl_c_ends_it(up):
    up.read_until("[mirror] mirror: ready", "[guard] guard: ready")
    ask = run("-c", ASK, ROS_DOMAIN_ID=up.domain)
    assert ask.stdout == "['start', 'target', 'target_observed']\n", ask.stderr
    assert ask.returncode == 0, "an actor that forgets close() must still end well"
    up.process.send_signal(signal.SIGINT)
    assert up.end() < 8.0
    assert up.process.returncode == 0


@pytest.mark.ros
def test_ctrl_c_while_a_cell_starts_is_no_traceback():
    ups = [Up("mirror", f"namespace:=left{i}") for i in range(3)]
    for up, pause in zip(ups, (0.0, 0.3, 0.7), strict=True):
        up.read_until("Ctrl-C ends them")
        clock.sleep(pause)
        up.process.send_signal(signal.SIGINT)
    for up in ups:
        assert up.end() < 8.0
        assert up.process.returncode == 0
        assert not any("Traceback" in line or "KeyboardInterrupt" in line for line in up.lines)


@pytest.mark.ros
def test_ctrl_c_while_a_node_starts_is_no_traceback():
    """From its first line to the moment when it is ready."""
    nodes = []
    for i, moment in enumerate(MOMENTS):
        for name in ("guard", "mirror"):
            words = [str(ROOT / "libexec" / name), "--ros-args", "-r", f"__ns:=/n{i}"]
            process = subprocess.Popen(
                [sys.executable, "-c", NODE, *words],
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            nodes.append((name, process))
            assert process.stdout and process.stdout.readline() == "1\n"
        clock.sleep(moment)
        for _, process in nodes[-2:]:
            process.send_signal(signal.SIGINT)
    for name, process in nodes:
        output = process.communicate(timeout=60.0)[0]
        assert output in ("", f"{name}: ready, domain {os.environ['ROS_DOMAIN_ID']}\n")
        assert process.returncode in (0, -signal.SIGINT)


@pytest.mark.ros
def test_a_node_that_ends_ends_the_others_and_is_named():
    up = Up("mirror", "task:=reach", "plant:=nonsense")
    up.end()
    assert up.process.returncode == 1
    text = "\n".join(up.lines)
    assert '[mirror] mirror: no plant "nonsense"; there are: mock, twin' in text
    assert "up: mirror exited with status 2, so the others were stopped" in text


def test_up_tells_what_it_cannot_do():
    for words, complaint in (
        (["nothing"], 'up: no launch file "nothing"; ours are:'),
        (["mirror", "task"], 'up: argument "task", expected name:=value'),
        (["mirror", "tsk:=reach"], 'up: no argument "tsk"; there are:'),
    ):
        result = run("-m", "robostack.up", *words)
        assert result.returncode == 2
        assert complaint in result.stderr and result.stderr.count("\n") == 1
    assert "task:=" in run("-m", "robostack.up", "mirror", "--show-args").stdout


@pytest.mark.ros
@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["-p", "task:=nothing"], 'guard: no task "nothing"; there are:'),
        (["-p", "robot:=nothing"], 'guard: no robot "nothing"; there are:'),
        (["-p", "task:=reach", "-p", "task_options:=spread"], 'guard: task option "spread", expected name=number'),
        (["-p", "lockstep:=3"], "guard: parameter lockstep is 3, expected bool"),
        (["-p", "rate:=1000"], "guard: parameter rate is 1000.0 Hz, expected 1 to 500 Hz"),
        (["-p", "nonsense"], "guard: ROS 2 refuses its arguments"),
        (["-r", "__ns:=/a b"], "guard: ROS 2 refuses"),
    ],
)  # fmt: skip
def test_node_tells_a_mistake_in_one_line(words, complaint):
    result = run("-m", "robostack.guard_node", "--ros-args", *words)
    assert result.returncode == 2, result.stderr
    ours = [line for line in result.stderr.splitlines() if "[rcl]" not in line]
    assert len(ours) == 1 and ours[0].startswith(complaint), result.stderr


@pytest.mark.ros
@pytest.mark.parametrize(
    ("rate", "complaint"),
    [
        ("300.0", "parameter rate is 300.0 Hz: time to advance 0.0033"),
        ("500.0", "parameter rate is 500.0 Hz: advance by 1 physics steps, but sensors are 4"),
    ],
)
def test_rate_that_the_cell_cannot_keep_is_told_before_it_is_ready(rate, complaint):
    words = ("-p", "task:=reach", "-p", f"rate:={rate}")
    result = run("-m", "robostack.mirror", "--ros-args", *words)
    assert result.returncode == 2 and not result.stdout
    assert result.stderr.startswith(f"mirror: {complaint}") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("door", ["robostack.mirror", "robostack.guard_node"])
def test_without_ros_the_door_says_how_to_get_it(door):
    result = run("-c", NO_ROS.format(door=door))
    assert result.returncode == 2
    assert 'mend it with `pip install "robostack[ros]"`' in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("value", ["102", "-1", "seven"])
def test_domain_outside_its_range_is_one_line(value, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", value)
    with pytest.raises(BadValue, match=f'ROS_DOMAIN_ID is "{value}", expected 0 to 101'):
        environment.domain()


CLAIM = (
    "from robostack.ros.environment import free_domain; print([free_domain() for _ in range(40)])"
)


def test_domains_differ_and_are_not_met_by_another_process():
    with environment.claimed_domain() as one, environment.claimed_domain() as two:
        three, others = environment.free_domain(), eval(run("-c", CLAIM).stdout)
        assert len({one, two, three, *others}) == 43


def test_a_claimed_domain_is_free_again(monkeypatch):
    with environment.claimed_domain() as number:
        monkeypatch.setattr(environment, "_is_quiet", lambda other: other == number)
        with pytest.raises(Unavailable, match="all ROS domains from 1 to 101 are in use"):
            environment.free_domain()
    with environment.claimed_domain() as again:
        assert again == number


def test_the_launch_file_of_a_cell_is_found_or_missed_by_name(monkeypatch):
    assert environment.mirror_launch_file().name == "mirror.launch.xml"
    monkeypatch.setattr(environment, "share", lambda path: None)
    with pytest.raises(Unavailable, match="mirror.launch.xml is not installed; `pip install"):
        environment.mirror_launch_file()


def test_defaults_do_not_override_what_the_user_set(monkeypatch):
    names = ("ROS_AUTOMATIC_DISCOVERY_RANGE", "FASTRTPS_DEFAULT_PROFILES_FILE", "AMENT_PREFIX_PATH")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    environment.prepare()
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    assert Path(os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"]).name == "fastdds_local.xml"
    assert os.environ["AMENT_PREFIX_PATH"] == sys.prefix
