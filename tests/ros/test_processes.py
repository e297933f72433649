"""Processes that live and die together, without ROS 2."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robostack.core import clock
from robostack.core.errors import Unavailable
from robostack.ros.processes import Ended, ProcessGroup

ROOT = Path(__file__).parents[2]
STUBBORN = (
    "import signal, time\n"
    "for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
    "print('here', flush=True); time.sleep(60)"
)
POLITE = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.default_int_handler)\n"
    "try: print('here', flush=True); time.sleep(60)\n"
    "except KeyboardInterrupt: print('bye', time.monotonic())"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_for(lines: list[str], text: str, count: int = 1) -> None:
    deadline = clock.now() + 10.0
    while sum(text in line for line in lines) < count and clock.now() < deadline:
        clock.sleep(0.01)
    assert sum(text in line for line in lines) >= count, lines


@pytest.fixture
def lines() -> list[str]:
    return []


def test_output_has_its_name_and_the_first_end_is_told(lines):
    with ProcessGroup(lines.append) as group:
        group.start("polite", python(POLITE))
        group.start(
            "brief", python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
        )
        wait_for(lines, "[brief] err")
        while not (ended := group.poll()):
            clock.sleep(0.01)
    assert ended == Ended("brief", 3) and str(ended) == "brief exited with status 3"
    assert "[brief] out" in lines and lines[-1].startswith("[polite] bye")
    assert str(Ended("x", -9)) == "x was ended by SIGKILL"


def test_the_guard_is_stopped_last(lines):
    with ProcessGroup(lines.append) as group:
        group.start("guard", python(POLITE), stops_last=True)
        group.start("mirror", python(POLITE))
        wait_for(lines, "here", 2)
    times = {line.split()[0]: float(line.split()[2]) for line in lines if "bye" in line}
    assert times["[guard]"] > times["[mirror]"]


def test_all_end_within_three_seconds_even_the_stubborn(lines):
    with ProcessGroup(lines.append) as group:
        for name in ("mirror", "guard"):
            group.start(name, python(STUBBORN), stops_last=name == "guard")
        wait_for(lines, "here", 2)
        begun = clock.now()
        statuses = group.stop()
        assert clock.now() - begun < 3.0
    assert statuses == {"mirror": -signal.SIGKILL, "guard": -signal.SIGKILL}
    assert group.stop() == statuses


def test_a_process_that_has_just_begun_ends_without_a_word(lines):
    with ProcessGroup(lines.append) as group:
        for pause in (0.0, 0.002, 0.005, 0.01):
            clock.sleep(pause)
            group.start(f"after {pause}", python("import numpy, time; time.sleep(60)"))
    assert lines == []


PARENT = """
import sys
from robostack.core import clock
from robostack.ros.processes import ProcessGroup
try:
    with ProcessGroup() as group:
        for name in ("guard", "mirror"):
            group.start(name, [sys.executable, "-c", sys.argv[1]], stops_last=name == "guard")
        clock.sleep(60)
except KeyboardInterrupt:
    print(group.status("mirror"), group.status("guard"))
"""


def test_a_second_ctrl_c_changes_nothing():
    parent = subprocess.Popen(
        [*python(PARENT), STUBBORN],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=ROOT,
        text=True,
    )
    assert parent.stdout
    assert [parent.stdout.readline()[-5:] for _ in range(2)] == ["here\n"] * 2
    begun = clock.now()
    for _ in range(3):
        parent.send_signal(signal.SIGINT)
        clock.sleep(0.3)
    assert parent.communicate(timeout=10)[0] == "-9 -9\n"
    assert clock.now() - begun < 3.5


def test_children_end_with_a_killed_parent(lines):
    code = (
        "import sys, time; from robostack.ros.processes import ProcessGroup\n"
        "group = ProcessGroup(); group.start('child', [sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(group.pid('child'), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen(python(code), stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert parent.stdout
    child = int(parent.stdout.readline())
    os.kill(child, 0)
    parent.kill()
    parent.communicate()
    deadline = clock.now() + 3.0
    while is_running(child) and clock.now() < deadline:
        clock.sleep(0.01)
    assert not is_running(child)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[-1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_cannot_start_is_named():
    with ProcessGroup() as group, pytest.raises(Unavailable, match="cannot start mirror"):
        group.start("mirror", ["/nowhere/mirror"])


def test_learner_may_be_nicer(lines):
    with ProcessGroup(lines.append) as group:
        group.start("learner", python("import os; print('nice', os.nice(0))"), nice=5)
        wait_for(lines, "nice")
    assert f"[learner] nice {os.nice(0) + 5}" in lines
