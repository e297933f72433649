"""Door `success`: a classifier that sees from pictures when a task is done, and says how often it is wrong.

collect: episodes for it in the mirror   label: which frames show success   train   audit: the frames it finds hardest
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import track

from robostack import audit, contact, flags, judging, label_page, probe
from robostack.act import make_plant
from robostack.core.errors import BadValue, RobostackError, require
from robostack.core.success import Condition
from robostack.judging import Choices, Made, Recorded
from robostack.learn import judge, trunks
from robostack.learn.success import Look
from robostack.learn.success import Training as HowTrained
from robostack.store import labels
from robostack.store.disk import explained, write_whole
from robostack.store.episode import recover
from robostack.store.labels import Labels
from robostack.store.verify import episode_files
from robostack.study import verdicts
from robostack.study.conformal import true_rate
from robostack.study.verdicts import Report

_LOOK = re.compile(r"(\w+)(?:=(\d+),(\d+),(\d+),(\d+))?(?:@(\d+)x(\d+))?")


def main(argv: list[str] | None = None) -> int:
    """Exit status 0."""
    parser = argparse.ArgumentParser(prog="robostack success", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    where = "a run folder or an episodes folder"
    help = "plays episodes that are done, almost done and not done, and records them with pictures"
    verb = verbs.add_parser("collect", help=help, description=help)
    verb.add_argument("folder", type=Path, help="for the episodes; new ones come after old ones")
    verb.add_argument("--episodes", type=int, default=80)
    help = "on the cell of the topics, not in a mirror in this process"
    verb.add_argument("--cell", action="store_true", help=help)
    flags.add_choices(verb)
    verb.set_defaults(do=_collect)
    help = "says which frames show success: by the task's geometry, or by a person who watches"
    verb = verbs.add_parser("label", help=help, description=help)
    verb.add_argument("folder", type=Path, help=where)
    way = verb.add_mutually_exclusive_group(required=True)
    way.add_argument(
        "--by", choices=["geometry", "person"], help="person: on a page of this machine"
    )
    way.add_argument(
        "--from", dest="source", type=Path, metavar="CSV", help="as `audit` writes it, edited"
    )
    way.add_argument(
        "--sheets", type=Path, metavar="FOLDER", help="draws the labels that are there"
    )
    verb.add_argument("--port", type=int, default=0, help="of the page; default: any that is free")
    verb.set_defaults(do=_label)
    help = "makes a classifier of labelled episodes and says how often it is wrong"
    verb = verbs.add_parser("train", help=help, description=help)
    verb.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help=where)
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="the classifier")
    verb.add_argument("--trunk", default="mirror", help=f"one of {', '.join(trunks.NETS)}")
    verb.add_argument(
        "--camera",
        action="append",
        default=[],
        metavar="NAME[=TOP,LEFT,HEIGHT,WIDTH][@HxW]",
        help="to look through: part of its picture, and the size that is scaled to, px; default: all, whole",
    )
    verb.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="CONDITION",
        help='must hold in a frame for it to count: "tool_in_base.z <= 0.04"',
    )
    verb.add_argument("--agree", default="2/3", metavar="M/N", help="so many of the last frames")
    verb.add_argument(
        "--alpha",
        type=float,
        default=Choices.alpha,
        help="most episodes called done before they are",
    )
    verb.add_argument(
        "--at-least",
        type=float,
        default=Choices.at_least,
        help="lowest probability that is called done",
    )
    verb.add_argument("--steps", type=int, default=HowTrained.steps, help="of training")
    verb.add_argument("--seed", type=int, default=0, help="of the split and of training")
    verb.set_defaults(do=_train)
    help = "draws the frames that a classifier gets most wrong, and a file to relabel them"
    verb = verbs.add_parser("audit", help=help, description=help)
    verb.add_argument("classifier", type=Path)
    verb.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help=where)
    verb.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    verb.add_argument("--count", type=int, default=24, help="frames of each kind")
    verb.set_defaults(do=_audit)
    arguments = parser.parse_args(argv)
    return arguments.do(arguments)


def _collect(arguments: argparse.Namespace) -> int:
    require(arguments.episodes >= 1, "--episodes", arguments.episodes, "at least 1")
    config = replace(flags.chosen(arguments), plant="ros" if arguments.cell else "twin")
    require(len(config.cameras) > 0, "cameras", list(config.cameras), "at least one")
    task, robot, folder = config.load_task(), config.load_robot(), arguments.folder
    _make(folder)
    plant = make_plant(config)
    try:
        plant.look_through(config.cameras)
        played = probe.play(plant, task, robot, folder, arguments.episodes, config.seed)
        steps = sum(
            len(episode.steps) for episode in _tracked(played, "playing", arguments.episodes)
        )
    finally:
        plant.close()
    print(f"{folder}: {arguments.episodes} more episodes of {task.name}, {steps} steps")
    return 0


def _label(arguments: argparse.Namespace) -> int:
    paths, here = episode_files(arguments.folder), judging.home(arguments.folder)
    if arguments.by == "person":
        desk = label_page.Desk(here, paths)
        label_page.serve(
            desk, arguments.port, lambda url: print(f"open {url}   Ctrl-C ends", flush=True)
        )
    elif arguments.by == "geometry":
        _label_by_geometry(here, paths)
    elif arguments.sheets is not None:
        return _draw_labels(here, paths, arguments.sheets)
    else:
        changed, rows = audit.take_back(here, arguments.source)
        print(f"{changed} of {rows} frames have another label now")
    if (made := labels.load(here)) is None:
        print("nothing was labelled")
        return 0
    print(f"{here / labels.FILE}: {_told(made.counts())}")
    return 0


def _label_by_geometry(here: Path, paths: list[Path]) -> None:
    """Those that have no labels yet: what a person said stays."""
    found = labels.load(here) or Labels("geometry")
    new = [path for path in paths if path.name not in found.frames]
    for path in _tracked(new, "labelling"):
        episode, spec, _ = recover(path, has_pictures=False)
        found.frames[path.name] = judging.by_geometry(path, spec, episode)
    labels.save(here, found)
    if len(new) < len(paths):
        kept = len(paths) - len(new)
        print(
            f"{kept} episodes had labels, which stay; remove {here / labels.FILE} to label all anew"
        )


def _draw_labels(here: Path, paths: list[Path], out: Path) -> int:
    marks = labels.load(here)
    if marks is None:
        raise RobostackError(f"{here} has no labels; make them with --by geometry or --by person")
    _make(out)
    drawn = 0
    for path in _tracked([path for path in paths if path.name in marks.frames], "drawing"):
        recorded = judging.read((path, marks.frames[path.name]), print)
        _require_pictures(recorded)
        stride = -(-len(recorded.labels) // contact.MOST)
        tiles = [audit.tile_of(recorded, t, f"{t}") for t in range(0, len(recorded.labels), stride)]
        write_whole(out / f"{path.stem}.png", contact.png(tiles, 8), is_durable=False)
        drawn += 1
    print(f"{out}: {drawn} sheets; green is success, yellow unsure. Edit {here / labels.FILE}")
    return 0


def _train(arguments: argparse.Namespace) -> int:
    needed, of = _agree(arguments.agree)
    conditions = tuple(map(Condition.parse, arguments.where))
    chosen = judging.labelled(arguments.folders)
    looks = _looks(arguments.camera, chosen[0][0]) if arguments.camera else None
    _make(arguments.out.parent)
    made = judging.train(
        chosen,
        trunks.load(arguments.trunk),
        Choices(
            looks=looks,
            conditions=conditions,
            needed=needed,
            of=of,
            alpha=arguments.alpha,
            at_least=arguments.at_least,
            seed=arguments.seed,
            training=HowTrained(steps=arguments.steps),
        ),
        track=_tracked,
    )
    judge.save(arguments.out, made.classifier)
    _print(made)
    print(f"{arguments.out}: use it with --set success={arguments.out}")
    return 0


def _print(made: Made) -> None:
    about = made.classifier.about
    threshold = about.threshold
    assert threshold is not None
    print(f"labels in training: {_told(about.counts)}")
    calibrated = len(made.split["calibrate"])
    _, high = true_rate(calibrated, about.alpha)
    print(
        f"threshold {audit.probability(threshold):.4f} (logit {threshold:.2f}): a false success in at most "
        f"{100 * about.alpha:g} % of new episodes of this kind, on average over sets of {calibrated} to calibrate "
        f"on; at most {100 * high:.1f} % with 97.5 % of such sets"
    )
    print(f"on {len(made.examined)} episodes that nothing was chosen by:")
    ways = {f"{about.needed} of {about.of} frames": (about.needed, about.of), "one frame": (1, 1)}
    for is_with, suffix in ((True, "conditions"), (False, "no conditions")):
        for name, agree in ways.items():
            if about.conditions:
                name += f", {suffix}"
            elif not is_with:
                continue
            _print_report(name, verdicts.report(made.examined, threshold, *agree, is_with))


def _print_report(name: str, found: Report) -> None:
    print(f"  {name}")
    print(f"    false success in   {found.false_episodes.text} of episodes")
    print(
        f"    success missed in  {found.missed_episodes.text} of episodes; found {found.delay:.1f} steps late"
    )
    print(
        f"    frames             {found.false_frames.text} false, {found.missed_frames.text} missed"
    )


def _require_pictures(recorded: Recorded) -> None:
    if not recorded.episode.pictures:
        raise RobostackError(f"{recorded.path} has no pictures to draw")


def _audit(arguments: argparse.Namespace) -> int:
    require(arguments.count >= 1, "--count", arguments.count, "at least 1")
    classifier = judge.load(arguments.classifier, trunks.load)
    chosen = judging.labelled(arguments.folders)
    found = audit.write(classifier, _tracked(chosen, "scoring"), arguments.out, arguments.count)
    print("\n".join(found))
    return 0


def _looks(texts: Sequence[str], path: Path) -> dict[str, Look]:
    """Of the --camera flags and the pictures of an episode. Raises BadValue."""
    sizes = recover(path, has_pictures=False).episode.header.cameras
    found = {}
    for text in texts:
        match = _LOOK.fullmatch(text)
        if not match:
            raise BadValue(f"got --camera {text}, expected NAME[=TOP,LEFT,HEIGHT,WIDTH][@HxW]")
        name = match[1]
        if name not in sizes:
            raise BadValue(
                f"{path} has no pictures of {name}; it has: {', '.join(sizes) or 'none'}"
            )
        height, width = sizes[name]
        top, left, crop_height, crop_width = (
            (int(match[i]) for i in range(2, 6)) if match[2] else (0, 0, height, width)
        )
        size = (int(match[6]), int(match[7])) if match[6] else (crop_height, crop_width)
        found[name] = Look(height, width, (top, left, crop_height, crop_width), size)
    return found


def _agree(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,3})/(\d{1,3})", text)
    require(match is not None, "--agree", text, "m/n, as in 2/3")
    assert match is not None
    return int(match[1]), int(match[2])


def _make(folder: Path) -> None:
    with explained("make", folder):
        folder.mkdir(parents=True, exist_ok=True)


def _told(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _tracked(items: Iterable, what: str, total: int | None = None) -> Iterable:
    console = Console(stderr=True)
    return track(
        items, what, total=total, console=console, transient=True, disable=not console.is_terminal
    )
