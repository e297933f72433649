"""A thread that dies takes its process down: each kind that we have is made to die for real."""

import subprocess
import sys
from pathlib import Path

import pytest

from robostack.core import clock

ROOT = Path(__file__).parents[2]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


READER = """
import sys
from robostack.core import clock
from robostack.ros import threads
from robostack.ros.processes import ProcessGroup
threads.end_with_any()
def write(line): raise RuntimeError("nobody can write this")
try:
    with ProcessGroup(write) as group:
        group.start("talker", [sys.executable, "-c", "print(1); import time; time.sleep(60)"])
        clock.sleep(60)
finally:
    print("in order", flush=True)
"""
HANGS = """
import signal, threading, time
from robostack.ros import threads
threads.GRACE_S = 1.0
threads.end_with_any()
signal.signal(signal.SIGTERM, lambda *_: None)
threading.Thread(target=lambda: 1 / 0, name="maths").start()
while True: time.sleep(60)
"""
POLITE_AT_LAST = """
import signal, sys, threading, time
from robostack.ros import threads
stop = []
threads.end_with_any()
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
threading.Thread(target=lambda: 1 / 0, name="maths", daemon=True).start()
while not stop: time.sleep(0.01)
sys.exit(threads.status_of(0))
"""


@pytest.mark.parametrize(
    ("code", "said", "status"),
    [
        (READER, "thread words-of-talker died: RuntimeError: nobody can write this", -15),
        (HANGS, "thread maths died: ZeroDivisionError: division by zero (<string>:7)", 1),
        (POLITE_AT_LAST, "thread maths died: ZeroDivisionError", 1),
    ],
    ids=["reader of a process's words", "main loop hangs", "main thread ends in order"],
)
def test_thread_that_dies_takes_its_process_down_with_one_line(code, said, status):
    begun = clock.now()
    done = subprocess.run(python(code), cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert clock.now() - begun < 10.0
    assert done.returncode == status and done.stderr.startswith(said), done.stderr
    assert done.stderr.count("\n") == 1


SESSION = """
import signal, sys
from std_msgs.msg import String
from std_srvs.srv import Trigger
from robostack.core import clock
from robostack.ros import messages, threads, topics
from robostack.ros.runtime import Session
threads.GRACE_S = 2.0
threads.end_with_any()
if sys.argv[2] == "hangs": signal.signal(signal.SIGTERM, lambda *_: None)
def die(*_): raise ValueError("it is bad")
session = Session("somebody")
session.subscribe(String, "words", topics.REASONS, die)
session.node.create_service(Trigger, "ask", die)
words = session.node.create_publisher(String, "words", topics.REASONS)
client = session.node.create_client(Trigger, "ask")
session.serve()
session.loop_in_background()
while not (words.get_subscription_count() and client.service_is_ready()): clock.sleep(0.01)
if sys.argv[1] == "topics": words.publish(messages.to_text("x"))
else: client.call_async(Trigger.Request())
while True: clock.sleep(60)
"""


@pytest.mark.ros
@pytest.mark.parametrize(("end", "status"), [("politely", -15), ("hangs", 1)])
@pytest.mark.parametrize("thread", ["topics", "services"])
def test_thread_of_a_ros_session_that_dies_takes_its_process_down(thread, end, status):
    begun = clock.now()
    command = [*python(SESSION), thread, end]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=40)
    assert clock.now() - begun < 20.0
    said = f"thread somebody-{thread} died: ValueError: it is bad"
    assert done.returncode == status and said in done.stderr, done.stderr


PROGRAM = """
import sys, threading
from robostack import cli
from robostack.ros import threads
sys.argv = ["robostack", "list"]
cli.main()
print(threading.excepthook is threads._end)
"""


def test_the_program_sees_to_it():
    done = subprocess.run(python(PROGRAM), cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("True\n")
