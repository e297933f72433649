"""Door `pretrain`: learns the mirror's trunk on randomized pictures of all tasks on all robots, and shows how well."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from flax import traverse_util
from rich.progress import track

from robostack.core import catalog
from robostack.core.errors import Unavailable, require
from robostack.learn import pretraining, trunks
from robostack.learn.mirror_net import ARCHITECTURE, SIZE
from robostack.learn.pretraining import Batch, Pretrainer
from robostack.store.disk import explained, write_whole
from robostack.twin.sights import LABELS, Sights

CAMERAS = ("wrist_camera", "front_camera")  # of every task
PLAIN = 0.3  # share of pictures that look as the cell was built: policies run there
OFF_PATH = 0.4  # share with arm and target where no episode has them
HELD_OUT = 0.05  # share of pictures that nothing is learned from
SHOWN = 8  # pictures in the figure


def main(argv: list[str] | None = None) -> int:
    """Writes mirror.safetensors, pretrain.json and pretrain.png into --out."""
    parser = argparse.ArgumentParser(prog="robostack pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pretrain"), help="where everything goes")
    parser.add_argument("--pictures", type=int, default=64_000, help="of all tasks together")
    parser.add_argument("--steps", type=int, default=16_000, help="of learning, a batch each")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--start", type=Path, metavar="FILE", help="go on from these weights of the mirror's trunk"
    )
    parser.add_argument("--tasks", nargs="+", default=catalog.tasks(), metavar="TASK")
    parser.add_argument("--robots", nargs="+", default=catalog.robots(), metavar="ROBOT")
    given = parser.parse_args(argv)
    for task in given.tasks:
        catalog.task(task)
    for robot in given.robots:
        catalog.robot(robot)
    cells = [(task, robot) for task in given.tasks for robot in given.robots]
    least = 20 * len(cells) * len(CAMERAS)
    require(given.pictures >= least, "--pictures", given.pictures, f"at least {least} for these")
    require(given.steps >= 1, "--steps", given.steps, "at least 1")
    require(given.batch >= 1, "--batch", given.batch, "at least 1")
    start = weights_in(given.start) if given.start else None
    with explained("make", given.out):
        given.out.mkdir(parents=True, exist_ok=True)
    data = gather(given.out, cells, given.pictures, given.seed)
    learn, held = split(len(data["pictures"]), given.seed)
    trainer = fit(data, learn, given.steps, given.batch, given.seed, start)
    errors = measured(trainer, data, held, given.tasks)
    command = f"robostack pretrain --pictures {given.pictures} --steps {given.steps} "
    command += f"--batch {given.batch} --seed {given.seed}"
    command += f" --start {given.start.name}" if given.start else ""
    write(given.out, trainer, errors, command)
    draw(given.out / "pretrain.png", trainer, data, held)
    print(json.dumps(errors, indent=1))
    print(f"{given.out / 'mirror.safetensors'}; put it into robostack/learn/weights/ to use it")
    return 0


def weights_in(path: Path) -> dict[str, Any]:
    """The network's tree in a file of trunks.save. Raises RobostackError for any other file."""
    _, arrays = trunks.read(path)
    trunks.check("mirror", arrays, str(path))
    return traverse_util.unflatten_dict(arrays, sep="/")


def gather(
    folder: Path, cells: list[tuple[str, str]], count: int, seed: int
) -> dict[str, np.ndarray]:
    """`count` pictures and their labels, as arrays that lie on the disk; made once for the same choices."""
    choices = {"cells": [list(cell) for cell in cells], "count": count, "seed": seed}
    told, names = folder / "data.json", ("pictures", "labels", "depth", "head", "plain")
    paths = {name: folder / f"{name}.npy" for name in names}
    if not (told.is_file() and json.loads(told.read_text()) == choices):
        told.unlink(missing_ok=True)
        per_cell = count // (len(cells) * len(CAMERAS))  # moments, each seen by all cameras
        made = _arrays(paths, per_cell * len(cells) * len(CAMERAS))
        shots = _shots(cells, per_cell, seed)
        total = len(made["head"])
        for i, shot in enumerate(track(shots, f"{total} pictures", total)):
            for name, value in shot.items():
                made[name][i] = value
        for array in made.values():
            array.flush()
        write_whole(told, json.dumps(choices).encode())
    return {name: np.load(path, mmap_mode="r") for name, path in paths.items()}


def _arrays(paths: dict[str, Path], count: int) -> dict[str, np.memmap]:
    shapes: dict[str, Any] = {
        "pictures": (np.uint8, (count, SIZE, SIZE, 3)),
        "labels": (np.float32, (count, pretraining.KNOWN)),
        "depth": (np.float16, (count, pretraining.DEPTH, pretraining.DEPTH)),
        "head": (np.int32, (count,)),
        "plain": (bool, (count,)),
    }
    with explained("write", paths["pictures"]):
        return {
            name: np.lib.format.open_memmap(paths[name], "w+", dtype=dtype, shape=shape)
            for name, (dtype, shape) in shapes.items()
        }


def _shots(cells: list[tuple[str, str]], per_cell: int, seed: int) -> Iterator[dict[str, Any]]:
    """One dict a picture, cell after cell; each cell has its own chance, so none depends on those before it."""
    tasks = list(dict.fromkeys(task for task, _ in cells))
    for number, (task, robot) in enumerate(cells):
        rng, head = np.random.default_rng([seed, number]), tasks.index(task) * len(CAMERAS)
        yield from _of_cell(task, robot, head, per_cell, rng)


def _of_cell(
    task: str, robot: str, head: int, count: int, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    sights = Sights(catalog.task(task), catalog.robot(robot), SIZE, int(rng.integers(2**31)))
    try:
        for camera in CAMERAS:
            if camera not in sights.cameras:
                raise Unavailable(f"task {task} has no {camera}; pretraining needs both cameras")
        for _, cell in zip(range(count), sights.moments(), strict=False):
            plain, off_path = rng.random() < PLAIN, rng.random() < OFF_PATH
            for place, camera in enumerate(CAMERAS):
                sight = sights.look(cell, camera, changed=not plain, off_path=off_path)
                yield {
                    "pictures": sight.picture,
                    "labels": np.concatenate([sight.labels[name] for name in LABELS]),
                    "depth": sight.depth,
                    "head": head + place,
                    "plain": plain,
                }
    finally:
        sights.close()


def split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of pictures to learn from, and of those held out."""
    order = np.random.default_rng([seed, 1]).permutation(count)
    held = max(1, int(HELD_OUT * count))
    return np.sort(order[held:]), np.sort(order[:held])


def batch_of(data: dict[str, np.ndarray], rows: np.ndarray) -> Batch:
    rows = np.sort(rows)  # in the order in which they lie on the disk
    depth = data["depth"][rows].astype(np.float32)
    return Batch(data["pictures"][rows], data["labels"][rows], depth, data["head"][rows])


def fit(
    data: dict[str, np.ndarray],
    rows: np.ndarray,
    steps: int,
    batch: int,
    seed: int,
    start: dict[str, Any] | None = None,
) -> Pretrainer:
    """`steps` batches, each picture as often as any other; from the network's weights `start`, or from none."""
    trainer = Pretrainer(int(data["head"].max()) + 1, steps, seed, start=start)
    rng, left = np.random.default_rng([seed, 2]), np.zeros(0, int)
    for _ in track(range(steps), f"{steps} steps of learning"):
        while len(left) < batch:
            left = np.concatenate([left, rng.permutation(rows)])
        trainer.step(batch_of(data, left[:batch]))
        left = left[batch:]
    return trainer


def measured(
    trainer: Pretrainer, data: dict[str, np.ndarray], rows: np.ndarray, tasks: list[str]
) -> dict:
    """By task and camera, held-out pictures with the target in them: errors of position (mm) and keypoint (px)."""
    read, depth = readings(trainer, data, rows)
    labels, heads, plain = (data[name][rows] for name in ("labels", "head", "plain"))
    things = []  # of target and object: mm, px, and whether it is in the picture
    for told, said in ((0, 0), (pretraining.EACH, pretraining.READ_EACH)):
        miss = read[:, said : said + 3] * pretraining.WIDE - labels[:, told : told + 3]
        aside = read[:, said + 8 : said + 10] - labels[:, told + 5 : told + 7]
        seen = labels[:, told + 8] > 0.5
        things.append((norm(miss) * 1e3, norm(aside) * SIZE / 2, seen))
    found: dict[str, Any] = {"depth_log_mae": float(np.abs(depth - data["depth"][rows]).mean())}
    for head in np.unique(heads):
        task, camera = divmod(int(head), len(CAMERAS))
        for thing, (miss, aside, seen) in zip(("target", "object"), things, strict=True):
            for look, looks_so in (("plain", plain), ("random", ~plain)):
                if not (chosen := (heads == head) & seen & looks_so).any():
                    continue
                found[f"{tasks[task]} {CAMERAS[camera]} {thing} {look}"] = {
                    "pictures": int(chosen.sum()),
                    "position_median_mm": round(float(np.median(miss[chosen])), 3),
                    "position_p90_mm": round(float(np.percentile(miss[chosen], 90)), 3),
                    "median_px": round(float(np.median(aside[chosen])), 3),
                }
    return found


def norm(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x, axis=1)


def readings(
    trainer: Pretrainer, data: dict[str, np.ndarray], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the heads read of these pictures as they are: (n, READ), and log depth (n, DEPTH, DEPTH)."""
    parts = [
        trainer.read(batch_of(data, some)) for some in np.array_split(rows, len(rows) // 64 + 1)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def write(folder: Path, trainer: Pretrainer, errors: dict, command: str) -> None:
    """The weights, and beside them what they were made with and how good they are."""
    flat: Any = traverse_util.flatten_dict(trainer.weights["net"], sep="/")
    arrays = {name: np.asarray(value) for name, value in flat.items()}
    sha256 = trunks.save(folder / "mirror.safetensors", "mirror", arrays, source=command)
    told = {"command": command, "architecture": ARCHITECTURE, "sha256": sha256, "held_out": errors}
    write_whole(folder / "pretrain.json", (json.dumps(told, indent=1) + "\n").encode())


def draw(path: Path, trainer: Pretrainer, data: dict[str, np.ndarray], rows: np.ndarray) -> None:
    """Held-out pictures with keypoints, true (ring) and read (cross), over depth true and read."""
    import matplotlib.pyplot as plt

    matplotlib.use("agg")
    rows = np.sort(np.random.default_rng(0).choice(rows, min(SHOWN, len(rows)), replace=False))
    read, depth = readings(trainer, data, rows)
    figure, axes = plt.subplots(3, len(rows), figsize=(1.4 * len(rows), 4.2), squeeze=False)
    half = SIZE / 2
    for i, row in enumerate(rows):
        axes[0, i].imshow(data["pictures"][row])
        true, got = data["labels"][row], read[i]
        each, said = pretraining.EACH, pretraining.READ_EACH
        for told, at, colour in (
            (5, 8, "red"),
            (each + 5, said + 8, "gold"),
            (2 * each, 2 * said, "lime"),
        ):
            for (u, v), sign in ((true[told : told + 2], "o"), (got[at : at + 2], "x")):
                face = {"markerfacecolor": "none"} if sign == "o" else {}
                axes[0, i].plot((u + 1) * half, (v + 1) * half, sign, color=colour, ms=6, **face)
        axes[0, i].set_xlim(0, 2 * half)
        axes[0, i].set_ylim(2 * half, 0)
        for k, map in ((1, data["depth"][row]), (2, depth[i])):
            axes[k, i].imshow(map.astype(float), vmin=-2.5, vmax=1.0)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    for k, name in enumerate(("picture", "log depth", "read")):
        axes[k, 0].set_ylabel(name)
    figure.tight_layout(pad=0.3)
    figure.savefig(path, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    raise SystemExit(main())
