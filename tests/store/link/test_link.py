"""What is true of a link while nothing is broken: files are equal, parameters fresh, several actors apart."""

import asyncio
import json

import pytest

from robostack.core.errors import RobostackError
from robostack.store import params
from robostack.store.episode import CUT, episode_paths
from robostack.store.follow import EpisodeFollower
from robostack.store.link.folders import RunFolders
from robostack.store.run import read_json, write_json
from tests.store.conftest import SPEC
from tests.store.link.rig import (
    Actor,
    acting,
    contents,
    eventually,
    is_same,
    join,
    joining,
    make_run,
    prefix_of,
    publish,
    serving,
)


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path / "cell")


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "learner"


def test_files_arrive_byte_for_byte_while_they_grow(run, runs):
    async def main():
        async with serving(runs) as (address, _), joining(run, address):
            with acting(run.episodes, side=64):
                await asyncio.sleep(1.0)
            await eventually(lambda: is_same(run.episodes, runs / "run" / "episodes"))

    asyncio.run(main())
    assert len(episode_paths(run.episodes)) > 3


def test_a_step_is_durable_at_the_learner_long_before_its_episode_ends(run, runs):
    async def main():
        async with serving(runs) as (address, _), joining(run, address) as (courier, _):
            actor = Actor(run.episodes)
            actor.begin(0)
            for count in range(1, 6):
                actor.step()
                await eventually(lambda count=count: steps(courier) == count)
            there = prefix_of(runs / "run" / "episodes" / "000000-practice.mcap")
            assert (there.steps, there.is_finished) == (5, False)
            assert EpisodeFollower(runs / "run" / "episodes", SPEC).poll() == []
            actor.end()
            await eventually(lambda: courier.acknowledged["000000-practice.mcap"].is_finished)
            assert len(EpisodeFollower(runs / "run" / "episodes", SPEC).poll()) == 1

    def steps(courier):
        ack = courier.acknowledged.get("000000-practice.mcap")
        return ack.steps if ack else 0

    asyncio.run(main())


def test_what_was_recorded_while_the_learner_was_absent_arrives_when_it_is_back(run, runs):
    actor = Actor(run.episodes, side=128)
    for index in range(4):
        actor.episode(index, 20)

    async def main():
        async with serving(runs) as (address, _), joining(run, address) as (_, said):
            await eventually(lambda: is_same(run.episodes, runs / "run" / "episodes"))
            await eventually(lambda: len(said) == 2)
            assert "connected" in said[0] and "caught up: 4." in said[1]
        actor.episode(4, 20)
        async with serving(runs, listen=address) as (address, _), joining(run, address):
            await eventually(lambda: is_same(run.episodes, runs / "run" / "episodes"))

    asyncio.run(main())


def test_readers_at_the_learner_get_every_episode_once_and_in_order(run, runs):
    follower = EpisodeFollower(runs / "run" / "episodes", SPEC)
    found = []

    async def main():
        async with serving(runs) as (address, _), joining(run, address):
            with acting(run.episodes, length=5):
                end = asyncio.get_running_loop().time() + 1.0
                while asyncio.get_running_loop().time() < end:
                    found.extend(follower.poll())
                    await asyncio.sleep(0.005)
            await eventually(lambda: is_same(run.episodes, runs / "run" / "episodes"))
            found.extend(follower.poll())

    asyncio.run(main())
    assert [episode.header.index for episode in found] == list(
        range(len(episode_paths(run.episodes)))
    )
    assert all(len(episode.steps) == 5 for episode in found)


def test_an_episode_cut_and_played_again_replaces_the_cut_one_which_is_kept(run, runs):
    there = runs / "run" / "episodes"

    async def main():
        async with serving(runs) as (address, said):
            async with joining(run, address):
                actor = Actor(run.episodes)
                actor.begin(0, "10:00")
                actor.step(6)
                await eventually(lambda: is_same(run.episodes, there))
                again("11:00")
                await eventually(lambda: is_same(run.episodes, there))
            again("12:00")  # while nobody was looking
            async with joining(run, address):
                await eventually(lambda: is_same(run.episodes, there))
            assert sum("played again" in line for line in said) == 2

    def again(started):
        (run.episodes / CUT).mkdir(exist_ok=True)
        [path] = episode_paths(run.episodes)
        path.rename(run.episodes / CUT / f"{len(list((run.episodes / CUT).iterdir()))}.mcap")
        actor = Actor(run.episodes)
        actor.begin(0, started)
        actor.step(4)

    asyncio.run(main())
    assert len(list((there / CUT).iterdir())) == 2


def test_a_finished_file_that_differs_is_refused_in_one_line_and_others_go_on(run, runs):
    there = runs / "run" / "episodes"
    there.mkdir(parents=True)
    (Actor(there)).episode(0, 3)
    before = contents(there)
    actor = Actor(run.episodes)
    actor.episode(0, 4)

    async def main():
        async with serving(runs) as (address, _), joining(run, address) as (_, said):
            actor.episode(1, 4)
            await eventually(lambda: len(episode_paths(there)) == 2)
            await eventually(lambda: any("differs from the finished file" in line for line in said))

    asyncio.run(main())
    assert contents(there).items() >= before.items()


def test_a_damaged_file_is_kept_up_to_its_last_whole_step_and_others_go_on(run, runs):
    actor = Actor(run.episodes)
    actor.episode(0, 10)
    [path] = episode_paths(run.episodes)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    actor.episode(1, 3)

    async def main():
        async with serving(runs) as (address, heard), joining(run, address) as (_, said):
            there = runs / "run" / "episodes"
            await eventually(lambda: (there / "000001-practice.mcap").exists())
            await eventually(lambda: prefix_of(there / "000001-practice.mcap").is_finished)
            kept = prefix_of(there / path.name)
            assert 0 < kept.steps < 10
            assert data.startswith((there / path.name).read_bytes())
            for lines in (said, heard):
                assert sum("is damaged after step" in line for line in lines) == 1

    asyncio.run(main())


def test_parameters_are_whole_and_equal_at_the_actor(run, runs):
    async def main():
        async with serving(runs) as (address, _), joining(run, address) as (courier, _):
            await eventually(lambda: courier.is_connected)
            learner = type(run)(runs / "run")
            for version in range(3):
                path = publish(learner, version, 1_000_000, version)
                await eventually(lambda v=version: params.path_of(run.params, v).exists())
                here = params.path_of(run.params, version)
                assert here.read_bytes() == path.read_bytes()
                assert params.load(here, SPEC).version == version

    asyncio.run(main())


def test_parameters_that_changed_on_the_way_are_never_seen(run, runs, monkeypatch):
    async def main():
        async with serving(runs) as (address, _), joining(run, address) as (courier, _):
            await eventually(lambda: courier.is_connected)
            with monkeypatch.context() as patch:
                patch.setattr(RunFolders, "part", lambda self, wanted: bytes(wanted.length))
                publish(type(run)(runs / "run"), 0)
                await asyncio.sleep(0.5)
                assert params.versions(run.params) == []
            publish(type(run)(runs / "run"), 1)
            await eventually(lambda: params.versions(run.params) == [1])

    asyncio.run(main())


@pytest.mark.parametrize("lockstep", [True, False])
def test_lockstep_gets_every_version_and_real_time_the_newest(tmp_path, runs, lockstep):
    run = make_run(tmp_path / "cell", lockstep=lockstep)
    learner = make_run(runs, lockstep=lockstep)
    for version in range(7):
        publish(learner, version)

    async def main():
        async with serving(runs) as (address, _), joining(run, address):
            await eventually(lambda: params.latest_version(run.params) == 6)

    asyncio.run(main())
    assert params.versions(run.params) == (list(range(7)) if lockstep else [6])


def test_names_of_versions_and_signs_of_life_cross(run, runs):
    async def main():
        async with serving(runs) as (address, _), joining(run, address) as (courier, _):
            await eventually(lambda: courier.is_connected)
            write_json(run.path / "actor.json", {"phase": "practice"})
            publish(run, 3)
            params.pin(run.params, "check-000", 3)
            write_json(runs / "run" / "learner.json", {"version": 1})
            await eventually(lambda: params.pinned_version(runs / "run/params", "check-000") == 3)
            await eventually(lambda: read_json(run.path / "learner.json") == {"version": 1})
            write_json(runs / "run" / "learner.json", {"version": 2})
            await eventually(lambda: read_json(run.path / "learner.json") == {"version": 2})
            await eventually(
                lambda: read_json(runs / "run" / "actor.json") == {"phase": "practice"}
            )

    asyncio.run(main())


def test_named_actors_have_folders_of_their_own_in_one_run(tmp_path, runs):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    (second.path / "run.json").write_text(json.dumps({"id": first.id}))
    Actor(first.episodes).episode(0, 3)
    Actor(second.episodes).episode(0, 4)
    there = runs / "run" / "episodes"

    async def main():
        async with (
            serving(runs) as (address, _),
            joining(first, address, actor="left"),
            joining(second, address, actor="right"),
        ):
            await eventually(lambda: is_same(first.episodes, there / "left"))
            await eventually(lambda: is_same(second.episodes, there / "right"))

    asyncio.run(main())
    found = EpisodeFollower(there, SPEC).poll()
    assert sorted(len(episode.steps) for episode in found) == [3, 4]


def test_a_second_actor_of_one_name_is_refused_while_the_first_lives(tmp_path, runs):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    (second.path / "run.json").write_text(json.dumps({"id": first.id}))

    async def main():
        async with serving(runs) as (address, _):
            async with joining(first, address) as (courier, _):
                await eventually(lambda: courier.is_connected)
                with pytest.raises(RobostackError, match="an actor without a name already.*--name"):
                    await join(second, address)
                assert courier.is_connected
                Actor(first.episodes).episode(0)
                await eventually(lambda: is_same(first.episodes, runs / "run" / "episodes"))
            async with joining(second, address) as (courier, _):
                await eventually(lambda: courier.is_connected)

    asyncio.run(main())


def test_two_couriers_of_one_folder_are_one_too_many(run, runs):
    async def main():
        async with serving(runs) as (address, _), joining(run, address):
            await asyncio.sleep(0.1)
            with pytest.raises(RobostackError, match="joined already"):
                await join(run, address)

    asyncio.run(main())


def test_a_run_set_up_differently_is_refused_with_the_fields(tmp_path, run, runs):
    other = make_run(tmp_path / "other", steps=5, learner={"batch": 3})
    (other.path / "run.json").write_text(json.dumps({"id": run.id}))
    stranger = make_run(tmp_path / "stranger")

    async def main():
        async with serving(runs) as (address, _):
            async with joining(run, address) as (courier, _):
                await eventually(lambda: courier.is_connected)
            with pytest.raises(RobostackError) as caught:
                await join(other, address)
            assert "learner.batch is None here and 3 at the actor; steps is None" in str(
                caught.value
            )
            with pytest.raises(RobostackError, match="another run here"):
                await join(stranger, address)

    asyncio.run(main())
    assert read_json(runs / "run" / "config.json") == run.config
