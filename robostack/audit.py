"""The frames that a success classifier gets most wrong, for a person to look at and to label again."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robostack import contact, judging
from robostack.contact import Tile
from robostack.core.errors import BadValue
from robostack.judging import Labelled, Recorded
from robostack.learn.judge import Classifier
from robostack.store import labels
from robostack.store.disk import explained, write_whole
from robostack.store.labels import NO, UNSURE, YES

WORDS = {YES: "success", NO: "no", UNSURE: "unsure"}
KINDS = {word: kind for kind, word in WORDS.items()}
COLUMNS = ["tile", "episode", "frame", "score", "label"]
SHEETS = {
    NO: "false.png",
    YES: "missed.png",
}  # frames without success that score high; the other way
APART = 3  # frames, at least, between two of the same episode


class Hard(NamedTuple):
    """One frame whose score speaks against its label."""

    wrong: float  # the higher the more
    score: float  # logit
    path: Path
    frame: int
    tile: Tile


def write(classifier: Classifier, chosen: Iterable[Labelled], out: Path, count: int) -> list[str]:
    """Scores labelled episodes; leaves two contact sheets and relabel.csv in `out`, `count` frames of each kind.

    Returns a line about each file.
    """
    hardest: dict[int, list[Hard]] = {NO: [], YES: []}
    for episode in chosen:
        recorded = judging.read(episode, print)
        scores = judging.judge(classifier, recorded).scores
        for kind, found in hardest.items():
            found += hard_of(recorded, scores, kind)
            found.sort(key=lambda hard: -hard.wrong)
            del found[count:]
    with explained("make", out):
        out.mkdir(parents=True, exist_ok=True)
    table, lines = io.StringIO(), []
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(COLUMNS)
    number = 0
    for kind, found in hardest.items():
        tiles = []
        for number, hard in enumerate(found, number + 1):  # noqa: B020 - counts on over both sheets
            rows.writerow([number, hard.path, hard.frame, f"{hard.score:.2f}", WORDS[kind]])
            caption = (
                f"{number}: ep {hard.path.stem[:6]} f{hard.frame} {probability(hard.score):.3f}"
            )
            tiles.append(hard.tile._replace(caption=caption))
        if tiles:
            write_whole(out / SHEETS[kind], contact.png(tiles, 4), is_durable=False)
            end = "highest" if kind == NO else "lowest"
            lines.append(
                f'{out / SHEETS[kind]}: frames labelled "{WORDS[kind]}", {end} score first'
            )
    write_whole(out / "relabel.csv", table.getvalue().encode())
    lines.append(
        f"{out / 'relabel.csv'}: put {', '.join(KINDS)} into its last column where it is wrong, then "
        f"robostack success label FOLDER --from {out / 'relabel.csv'}"
    )
    return lines


def hard_of(recorded: Recorded, scores: np.ndarray, kind: int) -> list[Hard]:
    """The frames of one kind, most wrong first, not too near each other; of (T,) scores of the frames 1 to T."""
    wrong = scores if kind == NO else -scores
    found: list[Hard] = []
    for i in np.argsort(-wrong, kind="stable"):
        frame = int(i) + 1
        if recorded.labels[frame] != kind or any(abs(frame - h.frame) < APART for h in found):
            continue
        tile = tile_of(recorded, frame, "")
        found.append(Hard(float(wrong[i]), float(scores[i]), recorded.path, frame, tile))
    return found


def take_back(here: Path, source: Path) -> tuple[int, int]:
    """Puts the labels of an edited relabel.csv into those of the folder `here`; rows of other folders are left.

    Returns how many frames changed, and how many rows were its own. Raises BadValue with the line.
    """
    marks = labels.load(here)
    with explained("read", source):
        text = source.read_text(encoding="utf-8-sig", errors="replace")
    rows = list(csv.DictReader(text.splitlines()))
    if not rows or set(COLUMNS) - set(rows[0]):
        raise BadValue(f"{source} is no file of an audit: expected columns {','.join(COLUMNS)}")
    changed = mine = 0
    for number, row in enumerate(rows, 2):
        path, frame = Path(row["episode"] or ""), row["frame"] or ""
        if path.parent.resolve() != here.resolve():
            continue
        frames = marks.frames.get(path.name) if marks else None
        if frames is None:
            raise BadValue(f"{source}, line {number}: {path.name} has no labels in {here}")
        label = (row["label"] or "").strip().lower()
        if label not in KINDS or not frame.isdecimal() or int(frame) >= len(frames):
            raise BadValue(
                f'{source}, line {number}: label "{label}" of frame "{frame}", expected one of '
                f"{', '.join(KINDS)} and a frame from 0 to {len(frames) - 1}"
            )
        mine += 1
        changed += int(frames[int(frame)] != KINDS[label])
        frames[int(frame)] = KINDS[label]
    if marks is not None and mine:
        marks.by = "person"
        labels.save(here, marks)
    return changed, mine


def tile_of(recorded: Recorded, frame: int, caption: str) -> Tile:
    """A copy: a view would keep the whole episode in memory."""
    pictures = {name: values[frame].copy() for name, values in recorded.episode.pictures.items()}
    return Tile(pictures, caption, int(recorded.labels[frame]))


def probability(logit: float) -> float:
    return float(1.0 / (1.0 + np.exp(-logit)))
