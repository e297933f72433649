"""The link when what comes is not what it should be: garbage, fuzzed and oversized messages, a full disk.

In each case another actor goes on working, and one line says what happened.
"""

import asyncio
import os

import grpc
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robostack.store.follow import EpisodeFollower
from robostack.store.link import connection as at
from robostack.store.link import keys
from robostack.store.link import message as m
from robostack.store.link.keys import Keys
from tests.faults.network import small_disk
from tests.store.conftest import SPEC
from tests.store.link.rig import (
    Actor,
    acting,
    contents,
    eventually,
    is_same,
    joining,
    make_run,
    serving,
)
from tests.store.link.test_message import MESSAGES

HELLO = m.Hello("stranger", "1", "", "0" * 64, "{}", False)


@pytest.mark.parametrize("has_tls", [False, True])
def test_garbage_at_the_port_does_not_disturb_an_actor(run, tmp_path, there, has_tls):
    rng = np.random.default_rng(0)
    keys.make(tmp_path / "keys", ["127.0.0.1"])
    ours = keys.load(tmp_path / "keys", "learner") if has_tls else Keys()
    theirs = keys.load(tmp_path / "keys", "cell") if has_tls else Keys()
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    openings = [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", preface, b"\x16\x03\x01\x02\x00\x01"]

    async def main():
        async with (
            serving(tmp_path / "runs", ours) as (address, heard),
            joining(run, address, theirs) as (courier, said),
        ):
            await eventually(lambda: courier.is_connected)
            with acting(run.episodes, pause=0.005):
                for number in range(60):
                    await call(
                        address, openings[number % 4] + rng.bytes(int(rng.integers(0, 5000)))
                    )
            await eventually(lambda: is_same(run.episodes, there))
            assert len(said) == 1 and len(heard) == 1

    async def call(address, data):
        _, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(data)
        await asyncio.sleep(0.01)
        writer.transport.abort()

    asyncio.run(main())


async def converse(address, messages: list[bytes]) -> str:
    """How a call ends that says all this, whatever the answers are."""
    async with at.channel(address, Keys()) as channel:
        call = channel.stream_stream(at.SHIP)()
        try:
            for data in messages:
                await call.write(data)
            await call.done_writing()
            while (data := await asyncio.wait_for(call.read(), 10)) is not at.EOF:
                assert isinstance(data, bytes)
                if isinstance(found := m.parse(data, *m.KINDS), m.Bye):
                    return found.reason
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass
        return await call.details() or ""


EPISODE = st.sampled_from(["000000-practice.mcap", "000001-practice.mcap"])
MEANT = st.one_of(
    st.builds(m.Offer, EPISODE, st.integers(0, 100), st.just("")),
    st.builds(m.Retire, EPISODE),
    st.builds(m.Piece, EPISODE, st.integers(0, 50), st.binary(max_size=60)),
    MESSAGES,
).map(m.encode)
SPOKEN = st.lists(MEANT | st.binary(max_size=40), max_size=8)


def test_fuzzed_conversations_end_in_a_line_and_do_not_disturb_an_actor(
    run, tmp_path, there, capsys
):
    """Good messages out of order, good ones with wrong values, and bytes that are none."""
    talks: list[list[bytes]] = []

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(SPOKEN, st.booleans())
    def collect(spoken, is_polite):
        talks.append([m.encode(HELLO), *spoken] if is_polite else spoken)

    collect()

    async def main():
        async with (
            serving(tmp_path / "runs") as (address, heard),
            joining(run, address) as (courier, said),
        ):
            await eventually(lambda: courier.is_connected)
            with acting(run.episodes, pause=0.005):
                for talk in talks:
                    assert (await converse(address, talk)).isprintable()
            await eventually(lambda: is_same(run.episodes, there))
            assert len(said) == 1
            assert len(heard) > 20
            assert all(line.isprintable() for line in heard)
            assert not any("link failed" in line for line in heard), capsys.readouterr()

    asyncio.run(main())
    folders = {str(path.relative_to(tmp_path)) for path in tmp_path.iterdir()}
    assert folders == {"cell", "runs"}
    assert EpisodeFollower(tmp_path / "runs/stranger/episodes", SPEC).poll() == []


def test_an_oversized_message_is_one_line_at_both_ends(run, tmp_path, there):
    async def main():
        async with (
            serving(tmp_path / "runs") as (address, heard),
            joining(run, address) as (courier, said),
        ):
            await eventually(lambda: courier.is_connected)
            options = [("grpc.max_send_message_length", -1)]
            async with grpc.aio.insecure_channel(str(address), options=options) as channel:
                call = channel.stream_stream(at.SHIP)()
                await call.write(m.encode(HELLO))
                await call.read()
                await call.write(bytes(m.LARGEST_MESSAGE + 1))
                code, details = await call.code(), await call.details()
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details
            await eventually(lambda: any("stranger is gone" in line for line in heard))
            Actor(run.episodes).episode(0)
            await eventually(lambda: is_same(run.episodes, there))
            assert len(said) == 1

    asyncio.run(main())


def test_a_full_disk_at_the_learner_stops_one_run_until_there_is_room(tmp_path):
    full, other = make_run(tmp_path / "a", "full"), make_run(tmp_path / "b", "other")
    runs, disk = tmp_path / "runs", tmp_path / "disk"
    disk.mkdir()
    runs.mkdir()
    with small_disk(disk, "12m"):
        (runs / "full").symlink_to(disk, target_is_directory=True)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(7_000_000))
        actor = Actor(full.episodes, side=128)
        for index in range(4):
            actor.episode(index, 40)  # 2 MB each

        async def main():
            async with (
                serving(runs) as (address, heard),
                joining(full, address) as (courier, said),
                joining(other, address) as (neighbour, theirs),
            ):
                await eventually(lambda: any("no space left" in line for line in said))
                before = {name: ack.durable for name, ack in courier.acknowledged.items()}
                assert before
                Actor(other.episodes).episode(0)
                await eventually(lambda: is_same(other.episodes, runs / "other/episodes"))
                assert len(theirs) == 1 and neighbour.is_connected
                await asyncio.sleep(2.0)
                assert len(said) < 6 and len(heard) < 8, (said, heard)
                for name, size in before.items():
                    assert os.path.getsize(disk / "episodes" / name) >= size
                ballast.unlink()
                await eventually(lambda: is_same(full.episodes, disk / "episodes"))

        asyncio.run(main())
        assert len(contents(disk / "episodes")) == 4
