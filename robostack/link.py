"""Door `link`: actor and learner on two machines: `keygen` for both, `serve` at the learner, `join` at the cell."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from robostack.ros.processes import ProcessGroup
from robostack.store import pulse
from robostack.store.link import keys
from robostack.store.link.connection import together
from robostack.store.link.courier import Courier
from robostack.store.link.keys import Address, require_may_call
from robostack.store.link.server import LinkServer
from robostack.store.pulse import LEARNER
from robostack.store.run import Run, read_json

LOOK_S = 0.2  # s between two looks at learners
EXAMPLES = """
on the learner's machine; then copy keys/cell to the cell:
  robostack link keygen keys --host learner.local 192.168.1.5
  robostack link serve runs --learn --listen 0.0.0.0:7447 --keys keys
on the cell:
  robostack train --task peg_insert --learner learner.local:7447 --keys keys
"""


def serve(
    runs: Path,
    listen: str = f"127.0.0.1:{keys.PORT}",
    folder: Path | None = None,
    learns: bool = False,
) -> None:
    """Receives runs into `runs` until a signal; with `learns` each gets a learner. Raises RobostackError."""
    server = LinkServer(runs, keys.load(folder, "learner"))
    with ExitStack() as stack:

        async def teach() -> None:
            await (_teach(server, stack) if learns else _nothing())

        asyncio.run(_served(server, Address.parse(listen), runs, teach))


def require(learner: str, folder: Path | None) -> None:
    """Raises the RobostackError that `join` would end with at once."""
    require_may_call(Address.parse(learner), keys.load(folder, "cell"))


def join(
    run: Path,
    learner: str,
    folder: Path | None = None,
    actor: str = "",
    until_done: bool = False,
) -> None:
    """Ships the run's episodes and fetches its parameters until a signal. Raises RobostackError.

    `until_done`: or until the actor is done and the learner has everything.
    """
    found = Run.open(run)
    courier = Courier(found, Address.parse(learner), keys.load(folder, "cell"), actor)
    asyncio.run(_until_told(lambda stop: _joined(courier, found, stop, until_done)))


async def _joined(courier: Courier, run: Run, stop: asyncio.Event, until_done: bool) -> None:
    done = _when_done(courier, run, stop) if until_done else _nothing()
    await together(courier.run(stop), done)


async def _when_done(courier: Courier, run: Run, stop: asyncio.Event) -> None:
    """Two looks in a row: the last episode may just have come."""
    times = 0
    while times < 2:
        await asyncio.sleep(LOOK_S)
        is_over = read_json(run.path / "actor.json", {}).get("phase") == "done"
        times = times + 1 if is_over and courier.is_even else 0
    stop.set()
    await _nothing()


async def _served(
    server: LinkServer, listen: Address, runs: Path, work: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    bound = await server.start(listen)
    print(f"listening at {bound}; runs go to {runs}", flush=True)
    try:
        await _until_told(lambda stop: together(_wait(stop), work()))
    finally:
        await server.stop()


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


async def _nothing() -> None:
    await asyncio.Event().wait()


async def _teach(server: LinkServer, stack: ExitStack) -> None:
    """A learner for each run that comes, started again as `train` does; one that ends for good is told."""
    learners: dict[Path, ProcessGroup | None] = {}
    while True:
        for path in {run.path for run in server.runs} - learners.keys():
            learners[path] = group = stack.enter_context(ProcessGroup())
            words = [sys.executable, "-m", "robostack", "learn", str(path)]
            group.start(f"learner of {path.name}", words, patience=LEARNER, may_restart=True)
        for path, group in learners.items():
            if group and (ended := group.poll()):
                print(f"{ended}; go on with: robostack learn {path}", flush=True)
                learners[path] = None
        await asyncio.sleep(LOOK_S)


async def _until_told(work: Callable[[asyncio.Event], Awaitable[object]]) -> None:
    """Runs `work` with an event that Ctrl-C and SIGTERM set."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    beating = asyncio.create_task(_beat())
    try:
        await work(stop)
    finally:
        beating.cancel()


async def _beat() -> None:
    """For a supervisor: the event loop turns."""
    while True:
        pulse.beat()
        await asyncio.sleep(pulse.PERIOD_S / 2)


def main(argv: list[str] | None = None) -> int:
    """Runs one of the three until it is done, or told to end."""
    parser = argparse.ArgumentParser(
        prog="robostack link",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("keygen", help="certificates and a token, for both ends")
    verb.add_argument("folder", type=Path)
    verb.add_argument("--host", nargs="+", required=True, help="names of the learner's machine")
    verb.add_argument("--days", type=int, default=365, help="how long they are valid")
    verb = verbs.add_parser("serve", help="the learner's end")
    verb.add_argument("runs", type=Path, help="where run folders go")
    verb.add_argument("--listen", default=f"127.0.0.1:{keys.PORT}", help="host:port")
    verb.add_argument("--keys", type=Path, help="folder of keygen; needed beyond loopback")
    verb.add_argument("--learn", action="store_true", help="and learns: a learner for each run")
    verb = verbs.add_parser("join", help="the actor's end")
    verb.add_argument("run", type=Path, help="run folder of the actor")
    verb.add_argument("--learner", required=True, help="host:port")
    verb.add_argument("--keys", type=Path, help="folder of keygen, its cell/ at least")
    verb.add_argument("--name", default="", help="of this actor, where a run has several")
    verb.add_argument(
        "--until-done", action="store_true", help="ends when the learner has the whole run"
    )
    given = parser.parse_args(argv)
    match given.verb:
        case "keygen":
            keys.make(given.folder, given.host, given.days)
            print(
                f"keys are in {given.folder}; copy {given.folder / 'cell'} to each cell's computer"
            )
        case "serve":
            serve(given.runs, given.listen, given.keys, given.learn)
        case "join":
            join(given.run, given.learner, given.keys, given.name, given.until_done)
    return 0
