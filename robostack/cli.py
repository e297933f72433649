"""`robostack <verb>`: finds the door, and turns errors a user can mend into one line."""

import signal
import sys
from importlib import import_module

from robostack import interrupts
from robostack.core.errors import RobostackError
from robostack.ros import threads

VERBS = {  # verb -> (module with main(argv) -> exit status, what it does)
    "demo": ("demo", "the whole loop on this machine: demonstrate, practise, examine, report"),
    "train": ("train", "the same with your choices, on the mirror or on a cell"),
    "act": ("act", "only the actor of a run"),
    "learn": ("learner", "only the learner of a run"),
    "link": ("link", "actor and learner on different machines: keygen, serve, join"),
    "twin": (
        "show",
        "look at a task's mirror: the scripted expert at work, as film or in a viewer",
    ),
    "report": ("retell", "make a run's curve, film and page again"),
    "evaluate": ("evaluate", "examine a run's best policy on fresh seeds"),
    "episodes": ("episodes", "recorded episodes: list, show, verify, export, import"),
    "offline": (
        "offline",
        "a policy of recorded episodes alone, for `train --start` to go on from",
    ),
    "weights": ("weights", "networks that see, for policies with cameras: list, import"),
    "success": ("success", "a classifier that sees when a task is done, with its rates"),
    "list": ("listing", "robots and tasks, with their options and terms"),
    "check": ("check", "is this robot with this task sound? scene, reach, periods, expert"),
    "pretrain": ("pretrain", "learn the mirror's trunk anew, on randomized pictures of all tasks"),
    "up": ("up", "start a launch file, with ROS 2's launch or without"),
    "doctor": ("doctor", "what this machine has, what is missing, and the command that mends it"),
}


LISTENING = {"act", "learn"}  # take signals by themselves, once they have begun something


def usage() -> str:
    verbs = "\n".join(f"  {verb:<10}{what}" for verb, (_, what) in VERBS.items())
    return f"usage: robostack <verb> [options]      robostack <verb> --help tells more\n\n{verbs}\n"


def main(argv: list[str] | None = None) -> int:
    """Runs a verb and returns its exit status: 0 done, 1 failed, 2 a mistake to mend, 130 interrupted.

    Without `argv` we are the program, and the end of any of its threads is its end.
    """
    if argv is not None:
        return _run(argv)
    threads.end_with_any()
    interrupts.leave_at_once(signal.SIGINT, signal.SIGTERM)
    return threads.status_of(_run(sys.argv[1:], is_program=True))


def _run(arguments: list[str], is_program: bool = False) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage(), end="")
        return 0
    verb, *rest = arguments
    if verb in ("-V", "--version"):
        from robostack import __version__

        print(__version__)
        return 0
    if verb not in VERBS:
        print(f'robostack: no verb "{verb}"; there are: {", ".join(VERBS)}', file=sys.stderr)
        return 2
    try:
        door = import_module(f"robostack.{VERBS[verb][0]}")
        if is_program and verb not in LISTENING:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            interrupts.raise_interrupt(signal.SIGINT)
        return door.main(rest)
    except RobostackError as error:
        print(f"robostack {verb}: {error}", file=sys.stderr)
        return 2
    except ImportError as error:  # a missing package, or a library of the system that it needs
        if (error.name or "").split(".")[0] == "robostack":
            raise
        is_absent = isinstance(error, ModuleNotFoundError)
        what = f"no Python package {error.name}" if is_absent else str(error)
        print(f"robostack {verb}: {what}; `robostack doctor` tells how to get it", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of our output left, `robostack list | head`
        return 0


if __name__ == "__main__":
    sys.exit(main())
