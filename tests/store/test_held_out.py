"""Episodes that are held out lie in the memory like others, and nothing that is drawn is theirs."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from robostack.store.replay import Label, Replay

PLANS = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(["demonstration", "practice"]), st.booleans()),
    max_size=25,
)


def add_planned(replay: Replay, make_episode, plan) -> dict[int, bool]:
    """Adds these episodes; by index, whether each was held out."""
    for index, (length, kind, is_held_out) in enumerate(plan):
        kind = kind if index < 4 else "practice"
        people = tuple(range(0, length, 2))
        replay.add(make_episode(index, length=length, kind=kind, people=people), is_held_out)
    return {
        index: out for index, (_, kind, out) in enumerate(plan) if kind == "practice" or index > 3
    }


@given(PLANS, st.integers(0, 10**6))
def test_what_is_held_out_is_never_drawn(spec, make_episode, plan, seed):
    replay = Replay(spec, 60)
    practice = add_planned(replay, make_episode, plan)
    held = {index for index, is_held_out in practice.items() if is_held_out}
    again = Replay(spec, 60)
    for name in ("all", "person", "prior", "practice"):
        assert not held & set(replay.episode[getattr(replay, name)])
    if len(replay):
        drawn = replay.draw(np.random.default_rng(seed), 64, {Label.PERSON: 5.0})
        assert not held & set(replay.episode[drawn])
    seen = replay.held_out(1000)
    assert set(replay.episode[seen]) == held & set(replay.episode)
    assert len(seen) + len(replay) == np.count_nonzero(replay.label & Label.STEP)
    # Also after a restart.
    layout = json.loads(json.dumps(replay.layout()))
    kinds = {i: "practice" if i in practice else "demonstration" for i in range(len(plan))}
    lengths = [length for length, *_ in plan]
    again.restore(
        layout,
        lambda _, i: make_episode(
            i, length=lengths[i], kind=kinds[i], people=tuple(range(0, lengths[i], 2))
        ),
    )
    for name in ("label", "all", "person", "prior", "practice"):
        np.testing.assert_array_equal(getattr(again, name), getattr(replay, name))
    np.testing.assert_array_equal(again.held_out(1000), seen)


def test_of_what_is_held_out_the_newest_is_looked_at_and_a_demonstration_never_is(
    spec, make_episode
):
    replay = Replay(spec, 60)
    replay.add(make_episode(0, length=9, kind="demonstration"), is_held_out=True)
    assert len(replay) == 9 and not len(replay.held_out(10))
    for index in range(1, 9):
        replay.add(make_episode(index, length=9), is_held_out=index % 2 == 0)
    # The ring went around: rows of episode 6 on lie before those of episode 4.
    assert list(replay.episode[replay.held_out(12)]) == [6] * 3 + [8] * 9
    assert replay.held_out(12).dtype == np.int32
