"""A.3: control steps/s of 64 simulated cells, against gym-hil, and against mj_step alone on the same states."""

import argparse
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import mujoco
import numpy as np

from benchmarks import common
from benchmarks.peer import GymHil
from benchmarks.rows import Row, row
from robostack.core import catalog
from robostack.twin.batch import BatchTwin

COUNT = 64


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument(
        "--steps", type=int, default=20, help="control steps per repeat, of each cell"
    )
    parser.add_argument("--peer-steps", type=int, default=100, help="gym-hil's steps per repeat")


def measure(given: argparse.Namespace) -> list[Row]:
    threads = os.cpu_count() or 1
    twin = BatchTwin(catalog.task("peg_insert"), catalog.robot("fr3"), COUNT, threads=threads)
    substeps = round(twin.task.period / twin.cells.scene.model.opt.timestep)
    twin.reset()
    ours, bare, peer, contacts = [], [], [], []
    with GymHil(images=False) as gym_hil, ThreadPoolExecutor(threads) as pool:
        beside = Bare(twin, pool, threads, substeps)
        driver = Driver(twin)
        for _ in range(100):  # spreads the cells over their episodes
            driver.step()
        for _ in range(given.repeats):
            seconds = np.zeros(2)
            for _ in range(given.steps):
                beside.copy_states()
                seconds[0] += driver.step()
                seconds[1] += beside.step()
                contacts.append(beside.contacts())
            ours.append(COUNT * given.steps / seconds[0])
            bare.append(COUNT * given.steps / seconds[1])
            peer.append(gym_hil.rate(given.peer_steps))
        facts = gym_hil.facts
    print(f"gym-hil {common.median(peer):.1f} control steps/s: {facts}")
    print(
        f"bare mj_step {common.median(bare):.0f} control steps/s of {substeps} physics steps on {threads} threads"
    )
    print(f"contacts per cell {np.mean(contacts):.2f}")
    against_peer = common.ratios(list(zip(ours, peer, strict=True)))
    against_bare = common.ratios(list(zip(ours, bare, strict=True)))
    return [
        row("A.3", common.median(against_peer), against_peer),
        row("A.3b", common.median(against_bare), against_bare),
        row("A.3c", common.median(ours), ours),
    ]


class Driver:
    """Owns the actions: each cell's hand wanders while pressing down, so that pegs meet the block."""

    def __init__(self, twin: BatchTwin):
        self._twin, self._rng = twin, np.random.default_rng(0)
        self._wander = np.zeros((twin.count, twin.spec.action_size))

    def step(self) -> float:
        """Seconds that one control step of all cells took, ended episodes started anew within it."""
        self._wander = 0.9 * self._wander + self._rng.normal(0.0, 0.15, self._wander.shape)
        action = np.clip(self._wander, -1.0, 1.0)
        action[:, 2] = 0.3  # the tool's z points down
        start = time.perf_counter()
        self._twin.step(action)
        return time.perf_counter() - start


class Bare:
    """Owns one MjData a cell, brought to the cells' states and references, and stepped by nothing but mj_step."""

    def __init__(self, twin: BatchTwin, pool: ThreadPoolExecutor, threads: int, substeps: int):
        self._cells, self._pool, self._threads = twin.cells, pool, threads
        self._substeps = substeps
        self._model = twin.cells.scene.model
        self._data = [mujoco.MjData(self._model) for _ in range(twin.count)]

    def copy_states(self) -> None:
        for i, data in enumerate(self._data):
            self._cells.data(i, data)

    def step(self) -> float:
        """Seconds for one control step of all, under the references that the cells were just given."""
        slot, reference = self._cells.scene.reference, self._cells.reference()
        for i in np.flatnonzero(
            self._cells.time > 0.0
        ):  # else the cell began anew: its old one stays
            self._data[i].mocap_pos[slot], self._data[i].mocap_quat[slot] = np.split(
                reference[i], [3]
            )
        start = time.perf_counter()
        left = iter(self._data)  # shared: a thread takes the next one when it is done
        list(self._pool.map(self._work, [left] * self._threads))
        return time.perf_counter() - start

    def _work(self, left: Iterator[mujoco.MjData]) -> None:
        for data in left:
            mujoco.mj_step(self._model, data, self._substeps)  # type: ignore[attr-defined]

    def contacts(self) -> float:
        return float(np.mean([data.ncon for data in self._data]))


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, measure, arguments))
