"""Processes that live and die together, without ROS 2."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robostack.core import clock
from robostack.core.errors import Unavailable
from robostack.ros import processes
from robostack.ros.processes import Ended, ProcessGroup
from robostack.store.pulse import Patience, Pulse

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
    deadline = clock.now() + 60.0
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
    deadline = clock.now() + 60.0
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


BEATS = """
import os, sys, threading, time
from robostack.store.pulse import beat
def every(stop):
    while time.monotonic() < stop:
        beat(); time.sleep(0.05)
print('here', flush=True)
every(time.monotonic() + float(sys.argv[1]))
threading.Thread(target=every, args=(time.monotonic() + 60,), daemon=True).start()
print('main hangs', flush=True); time.sleep(60)
"""
SHORT = Patience(first=20.0, later=1.0)


def until_ended(group: ProcessGroup, seconds: float = 60.0) -> Ended:
    deadline = clock.now() + seconds
    while (ended := group.poll()) is None and clock.now() < deadline:
        clock.sleep(0.02)
    assert ended
    return ended


def test_main_loop_that_hangs_is_ended_and_told_though_its_threads_beat_on(lines):
    with ProcessGroup(lines.append) as group:
        group.start("hung", [*python(BEATS), "1.5"], patience=SHORT)
        ended = until_ended(group)
        assert "[hung] main hangs" in lines, "it was ended while it beat"
    assert (ended.name, ended.status) == ("hung", -signal.SIGKILL) and 1.0 < ended.silence < 10.0
    assert re.fullmatch("hung gave no sign of life for [0-9] s and was ended", str(ended))


def test_stopped_process_is_ended(lines):
    with ProcessGroup(lines.append) as group:
        group.start("stopped", [*python(BEATS), "60"], patience=SHORT)
        wait_for(lines, "here")
        assert group.poll() is None
        clock.sleep(0.3)
        assert group.poll() is None
        os.kill(group.pid("stopped"), signal.SIGSTOP)
        assert "no sign of life" in str(until_ended(group))


def test_process_may_take_long_to_begin_and_unwatched_ones_are_left_alone(lines):
    with ProcessGroup(lines.append) as group:
        slow = "import time; time.sleep(2.5)\n" + BEATS
        group.start("slow", [*python(slow), "60"], patience=SHORT)
        group.start("somebody else's", python("import time; time.sleep(60)"))
        deadline = clock.now() + 4.0
        while clock.now() < deadline:
            assert group.poll() is None
            clock.sleep(0.02)


def test_supervisor_that_slept_itself_blames_nobody():
    pulse = Pulse(Patience(first=2.0, later=2.0))
    try:
        clock.sleep(2.5)  # as when the whole machine was suspended
        assert pulse.overdue() == 0.0
        deadline = clock.now() + 10.0
        while not (silence := pulse.overdue()) and clock.now() < deadline:
            clock.sleep(0.05)
        assert 2.0 < silence < 4.0
    finally:
        pulse.close()
        pulse.close()


def test_beat_reaches_no_file_that_only_has_the_pipes_number(tmp_path):
    """A grandchild inherits the environment; its descriptor of that number may be anything."""
    code = (
        "import os, sys; os.environ['ROBOSTACK_PULSE'] = f'{os.open(sys.argv[1], os.O_RDWR)}:1'\n"
    )
    path = tmp_path / "precious"
    path.write_bytes(b"data")
    subprocess.run(
        [*python(code + "from robostack.store.pulse import beat; beat()"), str(path)],
        cwd=ROOT,
        check=True,
    )
    assert path.read_bytes() == b"data"


def test_beat_costs_less_than_20_us():
    code = (
        "import timeit; from robostack.store.pulse import beat; beat()\n"
        "print(min(timeit.repeat(beat, number=1000, repeat=5)) / 1000)"
    )
    done = subprocess.run(python(code), cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 20e-6


def test_process_that_may_is_started_again_three_times_and_no_more(lines, monkeypatch):
    monkeypatch.setattr(processes, "PAUSES_S", (0.1, 0.5, 0.6))
    with ProcessGroup(lines.append) as group:
        group.start("learner", python("raise SystemExit(1)"), may_restart=True)
        begun = clock.now()
        assert until_ended(group) == Ended("learner", 1)
        assert clock.now() - begun > 1.2
        assert group.poll() == Ended("learner", 1), "it stays ended"
    assert lines == [
        f"[supervisor] learner exited with status 1; it is started again in {pause} s ({i} of 3 in 10 minutes)"
        for i, pause in ((1, "0.1"), (2, "0.5"), (3, "0.6"))
    ]


def test_restarts_long_ago_do_not_count(lines, monkeypatch):
    monkeypatch.setattr(processes, "PAUSES_S", (0.05,))
    monkeypatch.setattr(processes, "WINDOW_S", 0.5)
    with ProcessGroup(lines.append) as group:
        group.start("learner", python("import time; time.sleep(1)"), may_restart=True)
        deadline = clock.now() + 60.0
        while sum("supervisor" in line for line in lines) < 3 and clock.now() < deadline:
            assert group.poll() is None
            clock.sleep(0.02)
    assert sum("(1 of 1" in line for line in lines) == 3


@pytest.mark.parametrize(("status", "may_restart"), [(2, True), (1, False)])
def test_mistakes_and_those_that_may_not_are_never_started_again(lines, status, may_restart):
    with ProcessGroup(lines.append) as group:
        group.start("x", python(f"raise SystemExit({status})"), may_restart=may_restart)
        assert until_ended(group) == Ended("x", status)
    assert lines == []
