"""The link when the network fails: cut, half-open, slow, lossy, narrow. Files end equal, and nobody waits for it."""

import asyncio
import time

import numpy as np
import pytest

from robostack.core import clock
from robostack.store import params
from robostack.store.episode import episode_paths
from robostack.store.link import keys
from robostack.store.run import Run
from tests.faults.network import network
from tests.faults.proxy import proxied
from tests.store.link.rig import (
    Actor,
    Program,
    acting,
    eventually,
    is_same,
    joining,
    publish,
    serving,
)

SILENCE_S = 1.5  # s, for tests; the real one is 8


def test_connections_cut_within_any_message_lose_and_repeat_nothing(run, tmp_path, there):
    rng = np.random.default_rng(0)

    async def main():
        async with (
            serving(tmp_path / "runs") as (address, _),
            proxied(address) as (proxy, outside),
            joining(run, outside) as (_, said),
        ):
            with acting(run.episodes, length=10, side=64, pause=0.01):
                for _ in range(12):
                    proxy.cut_after = proxy.passed + int(rng.integers(1, 500_000))
                    await eventually(lambda: proxy.cut_after is None)
            await eventually(lambda: is_same(run.episodes, there))
            return said

    said = asyncio.run(main())
    assert sum("connected" in line for line in said) >= 12
    assert len(said) < 50


def test_a_half_open_connection_is_noticed_by_both_ends_and_replaced(run, tmp_path, there):
    async def main():
        async with (
            serving(tmp_path / "runs", silence=SILENCE_S) as (address, heard),
            proxied(address) as (proxy, outside),
            joining(run, outside, silence=SILENCE_S) as (_, said),
        ):
            actor = Actor(run.episodes)
            actor.episode(0)
            await eventually(lambda: is_same(run.episodes, there))
            for index in (1, 2):
                proxy.stall()
                actor.episode(index)
                began = clock.now()
                await eventually(lambda: is_same(run.episodes, there))
                assert clock.now() - began < SILENCE_S + 2.0
            assert sum("silent for" in line for line in said) == 2
            # Another actor of this name would have to wait no longer than that either.
            proxy.stall()
            proxy.is_dead = True
            await eventually(
                lambda: "the actor of run is gone (silent for" in heard[-1], SILENCE_S + 2.0
            )

    asyncio.run(main())


def test_the_first_line_says_that_there_is_no_learner_and_then_it_is_found(run, tmp_path, there):
    async def main():
        async with (
            proxied(keys.Address("127.0.0.1", 1)) as (proxy, outside),
            joining(run, outside) as (_, said),
        ):
            Actor(run.episodes).episode(0)
            await asyncio.sleep(1.0)
            assert len(said) == 1 and "no learner at" in said[0]
            async with serving(tmp_path / "runs") as (address, _):
                proxy.to = address
                await eventually(lambda: is_same(run.episodes, there))

    asyncio.run(main())


def test_a_slow_actor_always_gets_the_newest_version_whole(run, tmp_path):
    seen: list[int] = []

    async def main():
        async with (
            serving(tmp_path / "runs") as (address, _),
            proxied(address) as (proxy, outside),
            joining(run, outside) as (courier, _),
        ):
            await eventually(lambda: courier.is_connected)
            proxy.delay = 0.05
            learner = Run(tmp_path / "runs" / "run")
            for version in range(30):
                await asyncio.to_thread(publish, learner, version, 250_000, version)
                await asyncio.sleep(0.05)
                note()
            proxy.delay = 0.0
            await eventually(lambda: note() or seen[-1:] == [29])

    def note() -> None:
        newest = params.latest_version(run.params)
        if newest >= 0 and newest not in seen:
            seen.append(newest)
            params.load(params.path_of(run.params, newest))  # whole

    asyncio.run(main())
    assert seen == sorted(seen)
    assert len(params.versions(run.params)) < 25  # the others were passed over, not brought late


@pytest.mark.parametrize(
    ("rules", "least"),
    [
        ({"delay": 0.2, "jitter": 0.1}, 20),
        ({"loss": 0.05}, 40),
        ({"rate": 1e6}, 40),
        ({"delay": 0.2, "jitter": 0.1, "loss": 0.05, "rate": 1e6}, 4),
    ],
    ids=["200 ms +- 100 ms", "5 % lost", "1 Mbit/s", "all three"],
)
def test_a_bad_network_slows_the_link_and_breaks_nothing(run, tmp_path, there, rules, least):
    """Small episodes at 20 steps a second; the connection stays, and once the network is well the files are equal."""
    with network() as cable:
        keys.make(tmp_path / "keys", [cable.far_address])
        with Ends(cable, run, tmp_path) as (_, join):
            join.wait_for("connected")
            learner = Run(tmp_path / "runs" / "run")
            cable.shape(**rules)
            with acting(run.episodes, length=20, pause=0.05):
                publish(learner, 0, 10_000)
                time.sleep(2.5)
            arrived = sum(path.stat().st_size for path in episode_paths(there))
            ours = sum(path.stat().st_size for path in episode_paths(run.episodes))
            assert arrived >= ours * least / 100
            cable.shape()
            asyncio.run(eventually(lambda: is_same(run.episodes, there), 20))
            asyncio.run(eventually(lambda: params.latest_version(run.params) == 0))
            assert not any("lost" in line for line in join.said), join.said


def test_a_pulled_cable_is_noticed_and_survived(run, tmp_path, there):
    with network() as cable:
        keys.make(tmp_path / "keys", [cable.far_address])
        with Ends(cable, run, tmp_path) as (_, join):
            join.wait_for("connected")
            cable.cut()
            with acting(run.episodes, pause=0.02):
                began = clock.now()
                join.wait_for("is lost (silent for 8 s)")
                assert clock.now() - began < 12.0  # 8, and what a busy machine adds
                cable.shape()
            asyncio.run(eventually(lambda: is_same(run.episodes, there), 20))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_learner_absent_for_ten_minutes_gets_everything_when_it_is_back(run, tmp_path, there):
    async def main():
        async with serving(tmp_path / "runs") as (address, _):
            pass
        async with joining(run, address) as (_, said):
            with acting(run.episodes, length=100, pause=0.1, side=128):
                await asyncio.sleep(600)
            async with serving(tmp_path / "runs", listen=address):
                await eventually(lambda: is_same(run.episodes, there), 60)
        assert len(said) <= 3

    asyncio.run(main())


class Ends:
    """Both programs, each at its end of the cable, with TLS and token as the network asks."""

    def __init__(self, cable, run, folder):
        port = 7447
        self._serve = Program(
            *("serve", folder / "runs", "--listen", f"{cable.far_address}:{port}"),
            *("--keys", folder / "keys"),
            prefix=cable.inside(cable.far),
        )
        self._serve.wait_for("listening")
        self._join = Program(
            *("join", run.path, "--learner", f"{cable.far_address}:{port}"),
            *("--keys", folder / "keys"),
            prefix=cable.inside(cable.near),
        )

    def __enter__(self):
        return self._serve, self._join

    def __exit__(self, *_):
        self._join.__exit__()
        self._serve.__exit__()
