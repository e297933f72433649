"""`robostack up FILE name:=value …`: starts what a launch file describes and keeps it together."""

import os
import signal
import sys
import threading
from importlib.util import find_spec
from pathlib import Path

from robostack.core.errors import BadValue, RobostackError
from robostack.ros import environment, launch_file, threads
from robostack.ros.processes import NODE, ProcessGroup

USAGE = """usage: robostack up FILE [name:=value ...]

Starts the nodes of a ROS 2 launch file, and stops them all on Ctrl-C or as soon as one ends.
FILE is a path, or the name of one of ours: {names}. Without values: robostack up FILE --show-args
"""
GUARD = "guard"  # stopped last: it holds what the others leave
POLL_S = 0.05


def main(argv: list[str] | None = None) -> int:
    """0 after Ctrl-C, 1 when a node ended by itself, 2 when something could not start."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(names=", ".join(_names())), end="")
        return 0 if words else 2
    try:
        path = find(words[0])
        if "--show-args" in words[1:]:
            _show(path)
            return 0
        given = _values(words[1:])
        environment.prepare()
        if find_spec("launch_ros") and find_spec("launch_xml"):
            return _hand_over(path, given)
        return run(launch_file.load(path, given))
    except KeyboardInterrupt:  # before anything was started
        return 0
    except RobostackError as error:
        print(f"up: {error}", file=sys.stderr)
        return 2


def run(nodes: list[launch_file.NodeStart]) -> int:
    """Runs the nodes until a signal or until one of them ends. Main thread only."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    commands = [node.command() for node in nodes]  # all found before one starts
    with ProcessGroup() as group:
        for node, command in zip(nodes, commands, strict=True):
            patience = NODE if node.package == "robostack" else None  # others do not beat
            group.start(node.name, command, stops_last=node.name == GUARD, patience=patience)
        domain, names = environment.domain(), ", ".join(node.name for node in nodes)
        print(f"up: {names} in ROS domain {domain}; Ctrl-C ends them", flush=True)
        ended = None
        while not stop.is_set() and not (ended := group.poll()):
            stop.wait(POLL_S)
    if ended:
        print(f"up: {ended}, so the others were stopped", file=sys.stderr)
        return 1
    return 0


def find(name: str) -> Path:
    """A launch file by path, or one of ours by name."""
    if (path := Path(name)).is_file():
        return path
    if path := environment.share(f"launch/{name.removesuffix('.launch.xml')}.launch.xml"):
        return path
    raise BadValue(f'no launch file "{name}"; ours are: {", ".join(_names())}')


def _names() -> list[str]:
    folders = [
        environment.CHECKOUT,
        *(prefix / "share/robostack" for prefix in environment.prefixes()),
    ]
    files = [file for folder in folders for file in (folder / "launch").glob("*.launch.xml")]
    return sorted({file.name.removesuffix(".launch.xml") for file in files})


def _values(words: list[str]) -> dict[str, str]:
    values = {}
    for word in words:
        name, sign, value = word.partition(":=")
        if not sign or not name:
            raise BadValue(f'argument "{word}", expected name:=value')
        values[name] = value
    return values


def _show(path: Path) -> None:
    for argument in launch_file.arguments(path):
        default = "(needed)" if argument.default is None else f'"{argument.default}"'
        print(f"{argument.name}:={default}  {argument.description}")


def _hand_over(path: Path, given: dict[str, str]) -> int:
    """The same through ROS 2's own launch, where it is installed."""
    from launch.actions import (  # pyright: ignore
        IncludeLaunchDescription,
        RegisterEventHandler,
        Shutdown,
    )
    from launch.event_handlers import OnProcessExit  # pyright: ignore
    from launch.launch_description_sources import (  # pyright: ignore
        AnyLaunchDescriptionSource,
    )

    from launch import LaunchDescription, LaunchService  # pyright: ignore

    include = IncludeLaunchDescription(
        AnyLaunchDescriptionSource(os.fspath(path)), launch_arguments=list(given.items())
    )
    together = RegisterEventHandler(OnProcessExit(on_exit=[Shutdown(reason="a node ended")]))
    service = LaunchService()
    service.include_launch_description(LaunchDescription([together, include]))
    return service.run()


if __name__ == "__main__":
    threads.end_with_any()
    raise SystemExit(threads.status_of(main()))
