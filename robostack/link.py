"""Door `link`: actor and learner on two machines: `keygen` for both, `serve` at the learner, `join` at the cell."""

import argparse
import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

from robostack.store import pulse
from robostack.store.link import keys
from robostack.store.link.courier import Courier
from robostack.store.link.keys import Address
from robostack.store.link.server import LinkServer
from robostack.store.run import Run

EXAMPLES = """
on the learner's machine; then copy keys/cell to the cell:
  robostack link keygen keys --host learner.local 192.168.1.5
  robostack link serve runs --listen 0.0.0.0:7447 --keys keys
on the cell:
  robostack link join runs/RUN --learner learner.local:7447 --keys keys
"""


def serve(runs: Path, listen: str = f"127.0.0.1:{keys.PORT}", folder: Path | None = None) -> None:
    """Receives runs into `runs` until a signal. Raises RobostackError."""
    asyncio.run(
        _served(LinkServer(runs, keys.load(folder, "learner")), Address.parse(listen), runs)
    )


def join(run: Path, learner: str, folder: Path | None = None, actor: str = "") -> None:
    """Ships the run's episodes and fetches its parameters until a signal. Raises RobostackError."""
    found = keys.load(folder, "cell")
    asyncio.run(_until_told(Courier(Run.open(run), Address.parse(learner), found, actor).run))


async def _served(server: LinkServer, listen: Address, runs: Path) -> None:
    bound = await server.start(listen)
    print(f"listening at {bound}; runs go to {runs}", flush=True)
    try:
        await _until_told(asyncio.Event.wait)
    finally:
        await server.stop()


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
    verb = verbs.add_parser("join", help="the actor's end")
    verb.add_argument("run", type=Path, help="run folder of the actor")
    verb.add_argument("--learner", required=True, help="host:port")
    verb.add_argument("--keys", type=Path, help="folder of keygen, its cell/ at least")
    verb.add_argument("--name", default="", help="of this actor, where a run has several")
    given = parser.parse_args(argv)
    match given.verb:
        case "keygen":
            keys.make(given.folder, given.host, given.days)
            print(
                f"keys are in {given.folder}; copy {given.folder / 'cell'} to each cell's computer"
            )
        case "serve":
            serve(given.runs, given.listen, given.keys)
        case "join":
            join(given.run, given.learner, given.keys, given.name)
    return 0
