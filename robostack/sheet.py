"""One picture of an episode: what the cameras saw, what was done, by whom, and when the guard stepped in."""

import io
from pathlib import Path

import matplotlib
import numpy as np

from robostack.core.spec import Spec
from robostack.core.types import Episode, Who
from robostack.store.disk import write_whole

matplotlib.use("Agg")  # no display needed
from matplotlib import pyplot as plt

PICTURES = 8  # of each camera, from the first frame to the last
ORANGE, RED, GREY = "#dd6b20", "#c53030", "#718096"


def draw(path: Path, episode: Episode, spec: Spec) -> None:
    """Writes a contact sheet as PNG. Raises Unavailable where it cannot be written."""
    steps, cameras = episode.steps, list(episode.pictures)
    rows = [*[1.3] * len(cameras), *[1.0] * len(spec.action), 1.0]
    figure = plt.figure(figsize=(11, 1.2 * sum(rows) + 0.8), dpi=100, layout="constrained")
    header = episode.header
    end = "success" if episode.is_success else "no success"
    figure.suptitle(
        f"episode {header.index}, {header.kind}: {header.task} on {header.robot}, "
        f"{len(steps)} steps, {end}",
        fontsize=10,
    )
    grid = figure.add_gridspec(len(rows), PICTURES, height_ratios=rows)
    shown = np.linspace(0, len(steps), PICTURES).round().astype(int)
    for row, camera in enumerate(cameras):
        for column, frame in enumerate(shown):
            axes = figure.add_subplot(grid[row, column])
            axes.imshow(episode.pictures[camera][frame])
            axes.set(xticks=[], yticks=[])
            axes.set_title(f"{frame * spec.period:.1f} s", fontsize=7, pad=2)
            if not column:
                axes.set_ylabel(camera, fontsize=8)
    time = np.arange(len(steps)) * spec.period
    actions = np.array([step.action for step in steps]).reshape(len(steps), spec.action_size)
    start = 0
    for row, term in enumerate(spec.action, start=len(cameras)):
        axes = figure.add_subplot(grid[row, :])
        part = actions[:, start : start + term.size]
        held = np.concatenate([part, part[-1:]])  # until the next command
        lines = axes.plot([*time, len(steps) * spec.period], held, lw=1, drawstyle="steps-post")
        numbers = [str(number) for number in range(1, term.size + 1)]
        axes.legend(lines, numbers, fontsize=6, loc="upper right", ncols=term.size)
        axes.set_ylabel(f"{term.name}\nas executed", fontsize=8)
        _mark(axes, episode, time, spec.period)
        start += term.size
    axes = figure.add_subplot(grid[-1, :])
    axes.plot(time, [1e3 * step.age for step in steps], lw=1, label="age of the oldest sample")
    axes.plot(time, [1e3 * step.lateness for step in steps], lw=1, label="tick late")
    axes.set_ylabel("ms", fontsize=8)
    axes.set_xlabel(
        "s  (orange: the person acts; grey: a guide does; red: the guard stepped in)", fontsize=8
    )
    axes.legend(fontsize=7, loc="upper right")
    _mark(axes, episode, time, spec.period)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    plt.close(figure)
    write_whole(path, drawn.getvalue())


def _mark(axes: plt.Axes, episode: Episode, time: np.ndarray, period: float) -> None:
    for at, step in zip(time, episode.steps, strict=True):
        if step.who != Who.POLICY:
            color = ORANGE if step.who == Who.PERSON else GREY
            axes.axvspan(at, at + period, color=color, alpha=0.15, lw=0)
        if step.guard:
            axes.axvspan(at, at + period, ymax=0.06, color=RED, lw=0)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.005)
    axes.grid(alpha=0.25)
