"""Door `episodes`: lists, shows, verifies, exports and imports recorded episodes."""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, track
from rich.table import Table

from robostack.core.errors import RobostackError, Unavailable, require
from robostack.core.types import Episode
from robostack.store import verify
from robostack.store.episode import outcome, recover
from robostack.store.exchange import hil_serl
from robostack.store.verify import CUT, DAMAGED, NEWER, OK, Check, check, episode_files

WIDE = 160  # columns where nobody looks: a pipe has no width


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 when `verify` found damage."""
    parser = argparse.ArgumentParser(prog="robostack episodes", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, do: Callable[[argparse.Namespace], int], help: str) -> Any:
        made = verbs.add_parser(name, help=help, description=help)
        made.set_defaults(do=do)
        return made

    where = "a run folder, an episodes folder, or one file"
    found = verb("list", _list, "one line for each episode")
    found.add_argument("folder", type=Path, help=where)
    found.add_argument("--json", action="store_true", help="for programs")
    shown = verb("show", _show, "all about one episode")
    shown.add_argument("file", type=Path)
    shown.add_argument(
        "--picture", "--plot", type=Path, metavar="OUT.png", help="what was seen and done"
    )
    read = verb("verify", _verify, "reads everything, with every checksum; exit status 1 on damage")
    read.add_argument("paths", type=Path, nargs="+", metavar="PATH", help=where)
    read.add_argument("--json", action="store_true", help="for programs")
    read.add_argument(
        "--repair",
        type=Path,
        metavar="FOLDER",
        help="copies the whole steps of cut and damaged files there; changes nothing in place",
    )
    out = verb("export", _export, "writes episodes as a dataset of another project")
    out.add_argument("folder", type=Path, help=where)
    out.add_argument("out", type=Path, help="a new folder; it appears whole or not at all")
    out.add_argument("--format", choices=["lerobot"], default="lerobot", help="LeRobotDataset v3.0")
    out.add_argument(
        "--images",
        choices=["video", "lossless"],
        default="video",
        help="video: H.264, small. lossless: PNG, and an import gives equal episodes back",
    )
    into = verb("import", _import, "makes episodes of another project's recordings")
    into.add_argument("source", type=Path, help="a dataset's folder, or a pickle of HIL-SERL")
    into.add_argument("folder", type=Path, help="a new folder; it appears whole or not at all")
    into.add_argument("--format", choices=["lerobot", "hil-serl"], required=True)
    into.add_argument("--robot", default="", help="name in the episodes, where the source has none")
    into.add_argument("--task", default="", help="name in the episodes, where the source has none")
    into.add_argument(
        "--hz", type=float, default=1 / hil_serl.PERIOD, help="of HIL-SERL, whose files do not say"
    )
    arguments = parser.parse_args(argv)
    return arguments.do(arguments)


def _list(arguments: argparse.Namespace) -> int:
    lines = [_line(path) for path in _tracked(episode_files(arguments.folder), "reading")]
    if arguments.json:
        print(json.dumps(lines, indent=2))
        return 0
    names = "index kind robot task steps success person seconds MB cameras state"
    table = Table(*names.split(), box=None, pad_edge=False)
    for name in ("index", "steps", "person", "seconds", "MB"):
        next(column for column in table.columns if column.header == name).justify = "right"
    for line in lines:
        cameras = ", ".join(f"{n} {w}×{h}" for n, (h, w) in line["cameras"].items())
        success = {True: "yes", False: "no", None: ""}[line["is_success"]]
        person = "" if line["person_share"] is None else f"{100 * line['person_share']:.0f} %"
        seconds = "" if line["seconds"] is None else f"{line['seconds']:.1f}"
        facts = [line["kind"], line["robot"], line["task"], str(line["steps"]), success, person]
        megabytes = f"{line['bytes'] / 1e6:.2f}"
        table.add_row(str(line["index"]), *facts, seconds, megabytes, cameras or "–", line["state"])
    _console().print(table)
    whole = sum(line["is_complete"] for line in lines)
    steps, size = sum(line["steps"] for line in lines), sum(line["bytes"] for line in lines)
    print(f"{len(lines)} episodes, {whole} of them complete; {steps} steps, {size / 1e6:.1f} MB")
    return 0


def _line(path: Path) -> dict[str, Any]:
    """What the table says of a file, all of which is read."""
    found = check(path)
    line: dict[str, Any] = {"path": str(path), "index": int(path.name.partition("-")[0])}
    line |= {"kind": path.stem.partition("-")[2], "robot": "", "task": "", "cameras": {}}
    line |= {"steps": found.steps, "is_success": None, "person_share": None, "seconds": None}
    line |= {"bytes": found.size, "is_complete": found.state == OK, "state": found.line}
    begun = verify.opening(path) if found.whole else None
    if begun is None:
        return line
    header, spec = begun
    line |= {"kind": header.kind, "robot": header.robot, "task": header.task}
    ended = outcome(path) if found.state == OK else None
    if ended is None:
        episode = recover(path, has_pictures=False).episode
        line |= _counts(found.steps, episode.person_steps, episode.is_success, spec.period)
    else:
        line |= _counts(ended.steps, ended.person_steps, ended.is_success, spec.period)
    state = "complete" if found.state == OK else f"{found.state} after step {found.steps}"
    return line | {"cameras": header.cameras, "state": state}


def _counts(steps: int, person: int, is_success: bool, period: float) -> dict[str, Any]:
    share = person / max(1, steps)
    return {"steps": steps, "is_success": is_success, "person_share": share} | {
        "seconds": round(steps * period, 6)
    }


def _show(arguments: argparse.Namespace) -> int:
    require(arguments.file.is_file(), "FILE", arguments.file, "an episode file")
    recording = recover(arguments.file)
    episode, spec = recording.episode, recording.spec
    header = asdict(episode.header)
    drawn = header.pop("drawn")
    state = check(arguments.file).line
    end = "success" if episode.is_success else "no success"
    print(f"{arguments.file}\n  {state}; {end}")
    for name, value in header.items():
        if value not in ("", {}):
            print(f"  {name:<10}{value}")
    print("drawn")
    for name, value in drawn.items():
        print(f"  {name:<16}{_short(value)}")
    table = Table("term", "unit", "frame", "lowest", "highest", box=None, pad_edge=False)
    actions = np.array([step.action for step in episode.steps]).reshape(-1, spec.action_size)
    for terms, values in ((spec.observation, episode.observations), (spec.action, actions)):
        start = 0
        for term in terms:
            part = values[:, start : start + term.size] * np.asarray(term.scale)
            start += term.size
            ranges = [f(part, 0) if len(part) else [] for f in (np.min, np.max)]
            table.add_row(term.name, term.unit, term.frame or "–", *map(_numbers, ranges))
    _console().print(table)
    _say_steps(episode)
    if arguments.picture:
        from robostack import sheet  # matplotlib takes a second to come

        sheet.draw(arguments.picture, episode, spec)
        print(f"Look at {arguments.picture}")
    return 0


def _say_steps(episode: Episode) -> None:
    """Timing, who acted, the guard."""
    steps = episode.steps
    if not steps:
        print("no step")
        return
    for name, values in (
        ("age of the oldest sample", [step.age for step in steps]),
        ("tick late", [step.lateness for step in steps]),
    ):
        middle, high, most = 1e3 * np.percentile(values, [50, 99, 100])
        print(f"{name}: median {middle:.1f} ms, 99 % {high:.1f} ms, most {most:.1f} ms")
    versions = sorted({step.parameters for step in steps})
    print(f"the person acted in {episode.person_steps} of {len(steps)} steps", end="; ")
    if episode.guide_steps:
        print(f"a guide in {episode.guide_steps}", end="; ")
    print(f"parameters {', '.join(map(str, versions))}")
    reasons = Counter(step.guard for step in steps if step.guard)
    print(f"the guard stepped in {sum(reasons.values())} times")
    for reason, count in reasons.most_common():
        print(f"  {count:>5}  {reason}")


def _verify(arguments: argparse.Namespace) -> int:
    paths = [file for path in arguments.paths for file in episode_files(path)]
    if arguments.repair and arguments.repair.resolve() in {p.resolve().parent for p in paths}:
        raise RobostackError(f"{arguments.repair} holds what is to be repaired; name a new folder")
    checks = [check(path) for path in _tracked(paths, "reading")]
    if arguments.json:
        told = [{**asdict(found), "path": str(found.path)} for found in checks]
        print(json.dumps(told, indent=2))
    else:
        for found in checks:
            if found.state != "ok" or len(checks) <= 20:
                print(f"{found.path}  {found.line}")
        print(_count(checks))
    if arguments.repair:
        for found in checks:
            if found.state in (CUT, DAMAGED) and found.whole:
                print(f"{verify.rescue(found, arguments.repair)}  {found.steps} whole steps")
    return int(any(found.state in (DAMAGED, NEWER) for found in checks))


def _count(checks: list[Check]) -> str:
    counts = Counter(found.state for found in checks)
    said = ", ".join(f"{count} {state}" for state, count in sorted(counts.items(), reverse=True))
    return f"{len(checks)} files: {said}; {sum(found.steps for found in checks)} whole steps"


def _export(arguments: argparse.Namespace) -> int:
    lerobot_export = _lerobot("lerobot_export")
    paths, cut = episode_files(arguments.folder), 0
    for path in paths:
        found = check(path)
        cut += found.state == CUT
        if found.state in (DAMAGED, NEWER):
            raise RobostackError(
                f"{path} is {found.line}; nothing is exported. `robostack episodes verify --repair` "
                "saves its whole steps; move it away"
            )
    written = lerobot_export.export(
        _tracked(paths, "exporting"), arguments.out, arguments.images == "video"
    )
    _say_notes(written.notes)
    if cut:
        print(f"note: {cut} episodes are cut; their whole steps are there, without an end")
    print(
        f"{arguments.out}: LeRobotDataset v3.0, {written.episodes} episodes, {written.frames} frames"
    )
    return 0


def _import(arguments: argparse.Namespace) -> int:
    require(arguments.hz > 0, "--hz", arguments.hz, "more than 0")
    source, folder, names = arguments.source, arguments.folder, (arguments.robot, arguments.task)
    with _counting() as count:
        if arguments.format == "lerobot":
            found = _lerobot("lerobot_import").bring(source, folder, *names, on_progress=count)
        else:
            found = hil_serl.bring(source, folder, *names, 1 / arguments.hz, on_progress=count)
    _say_notes(found.notes)
    print(f"{folder}: {found.episodes} episodes, {found.steps} steps")
    return 0


def _lerobot(module: str) -> Any:
    """A module that needs the extra `lerobot`. Raises Unavailable where that is missing."""
    from importlib import import_module

    try:
        return import_module(f"robostack.store.exchange.{module}")
    except ModuleNotFoundError as error:
        if error.name not in ("av", "pyarrow"):
            raise
        raise Unavailable(
            f"no Python package {error.name}: python -m pip install 'robostack[lerobot]'"
        ) from None


def _tracked(paths: list[Path], what: str) -> Iterator[Path]:
    console = Console(stderr=True)
    yield from track(paths, what, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def _counting() -> Iterator[Callable[[int], None]]:
    columns = SpinnerColumn(), TextColumn("importing, {task.completed:.0f} steps")
    console = Console(stderr=True)
    is_quiet = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=is_quiet) as progress:
        task = progress.add_task("", total=None)
        yield lambda steps: progress.update(task, completed=steps)


def _say_notes(notes: list[str]) -> None:
    for note in notes:
        print(f"note: {note}")


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


def _numbers(values: Any) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 110 else text[:107] + "…"
