"""What every test stands on: one thread, no display, its own ROS domain, a reason for a skip."""

import os
import signal
import sys

# Before anything is imported: these libraries read the environment once.
for name, value in {
    "MUJOCO_GL": "egl",
    "OMP_NUM_THREADS": "1",  # On small arrays a thread pool costs more than it gives.
    "OPENBLAS_NUM_THREADS": "1",
    # Most of the time of a test that learns goes to LLVM; small networks do not repay its optimizations.
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0",
    "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
    "ROS_PYTHON_CHECK_FIELDS": "1",  # Jazzy sends an int in a float field as 5e-324, silently.
    "AMENT_PREFIX_PATH": sys.prefix,  # The wheels do not set it, and ament_index needs it.
}.items():
    os.environ.setdefault(name, value)

from collections.abc import Iterator
from importlib.util import find_spec

import hypothesis
import pytest

from robostack.ros.environment import claimed_domain

# Whoever starts us in the background, or with nohup, has us ignore these, and our children would inherit that.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)

# Compiling inside an example takes longer than hypothesis' 0.2 s, and machines differ.
hypothesis.settings.register_profile("robostack", deadline=None)
hypothesis.settings.load_profile("robostack")


@pytest.fixture
def ros_domain(monkeypatch) -> Iterator[int]:
    """This test's own ROS_DOMAIN_ID, set in the environment for it and for what it starts.

    Tests marked `ros` or `launch` have it unasked. A fixture of wider scope starts its nodes before
    this one runs: it uses environment.claimed_domain() itself.
    """
    with claimed_domain() as number:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(number))
        yield number


@pytest.fixture(autouse=True)
def _own_domain(request) -> None:
    if {"ros", "launch"} & {mark.name for mark in request.node.iter_markers()}:
        request.getfixturevalue("ros_domain")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what this machine cannot run, and says what would let it."""
    marked = {mark.name for mark in item.iter_markers()}
    if "ros" in marked and find_spec("rclpy") is None:
        pytest.skip("no rclpy: source ROS 2 Jazzy, or pip install 'robostack[ros]' (extra `ros`)")
    if "launch" in marked and find_spec("launch_testing") is None:
        pytest.skip("no launch_testing: it comes only with a sourced ROS 2")
    if "gpu" in marked:
        import jax

        if jax.default_backend() == "cpu":
            pytest.skip("no accelerator that JAX can see")
