"""The link when one of its ends dies or hangs: nothing acknowledged is lost, nothing comes twice, files end equal."""

import asyncio
import signal
from pathlib import Path

import numpy as np
import pytest

from robostack.core import clock
from robostack.store.episode import episode_paths
from robostack.store.follow import EpisodeFollower
from robostack.store.link.keys import Address
from tests.store.conftest import SPEC
from tests.store.link.rig import (
    Program,
    acting,
    eventually,
    free_port,
    is_same,
    joining,
    prefix_of,
    serving,
)

SILENCE_S = 1.5  # s, for tests; the real one is 8
KILLS = pytest.mark.parametrize(
    "kills",
    [8, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])],
)


def started(runs: Path, port: int) -> Program:
    program = Program("serve", runs, "--listen", f"127.0.0.1:{port}")
    program.wait_for("listening")
    return program


@KILLS
def test_a_learner_killed_at_any_moment_has_everything_it_acknowledged(run, tmp_path, there, kills):
    rng, port = np.random.default_rng(kills), free_port()
    lost = 0

    async def main():
        nonlocal lost
        serve = await asyncio.to_thread(started, tmp_path / "runs", port)
        try:
            async with joining(run, Address("127.0.0.1", port)) as (courier, _):
                with acting(run.episodes, length=20, side=64, pause=0.005):
                    for _ in range(kills):
                        before = len(courier.acknowledged)
                        await eventually(lambda n=before: len(courier.acknowledged) > n)
                        await asyncio.sleep(rng.uniform(0.0, 0.5))
                        serve.kill()
                        await asyncio.sleep(0)
                        for ack in list(courier.acknowledged.values()):
                            found = prefix_of(there / ack.episode)
                            lost += max(0, ack.steps - found.steps)
                            assert found.size >= ack.durable
                        serve = await asyncio.to_thread(started, tmp_path / "runs", port)
                await eventually(lambda: is_same(run.episodes, there), 30)
        finally:
            serve.kill()

    asyncio.run(main())
    assert lost == 0
    assert_every_episode_once(run, there)


@KILLS
def test_a_courier_killed_at_any_moment_goes_on_where_it_was(run, tmp_path, there, kills):
    rng, port = np.random.default_rng(kills), free_port()
    with started(tmp_path / "runs", port):
        join = Program("join", run.path, "--learner", f"127.0.0.1:{port}")
        try:
            with acting(run.episodes, length=20, side=64, pause=0.01):
                for _ in range(kills):
                    join.wait_for("connected")
                    clock.sleep(rng.uniform(0.0, 0.3))
                    join.kill()
                    join = Program("join", run.path, "--learner", f"127.0.0.1:{port}")
            asyncio.run(eventually(lambda: is_same(run.episodes, there), 30))
        finally:
            join.kill()
    assert_every_episode_once(run, there)


def assert_every_episode_once(run, there) -> None:
    ours, theirs = (EpisodeFollower(folder, SPEC).poll() for folder in (run.episodes, there))
    assert [e.header.index for e in theirs] == list(range(len(episode_paths(run.episodes))))
    for one, other in zip(ours, theirs, strict=True):
        assert one.observations.tobytes() == other.observations.tobytes()
        for camera, pictures in one.pictures.items():
            assert pictures.tobytes() == other.pictures[camera].tobytes()


def test_a_hung_courier_loses_its_place_and_takes_it_again(run, tmp_path, there):
    async def main():
        async with serving(tmp_path / "runs", silence=SILENCE_S) as (address, heard):
            with Program("join", run.path, "--learner", address) as join:
                await asyncio.to_thread(join.wait_for, "connected")
                join.process.send_signal(signal.SIGSTOP)
                began = clock.now()
                with acting(run.episodes, pause=0.02):
                    await eventually(lambda: any("is gone" in line for line in heard))
                assert clock.now() - began < SILENCE_S + 3.0
                await eventually(lambda: any("is gone (silent for" in line for line in heard))
                join.process.send_signal(signal.SIGCONT)
                await eventually(lambda: is_same(run.episodes, there))

    asyncio.run(main())


def test_a_hung_learner_is_noticed_and_gets_everything_when_it_goes_on(run, tmp_path, there):
    async def main():
        async with joining(run, Address("127.0.0.1", port), silence=SILENCE_S) as (courier, said):
            await eventually(lambda: courier.is_connected)
            serve.process.send_signal(signal.SIGSTOP)
            began = clock.now()
            with acting(run.episodes, pause=0.02):
                await eventually(lambda: any("is lost (silent for" in line for line in said))
            assert clock.now() - began < SILENCE_S + 3.0
            serve.process.send_signal(signal.SIGCONT)
            await eventually(lambda: is_same(run.episodes, there), 30)

    port = free_port()
    with started(tmp_path / "runs", port) as serve:
        asyncio.run(main())
