"""A learner's state as arrays and back: nothing changes, and what does not fit is said in one line."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from robostack.core.errors import RobostackError
from robostack.learn import trees
from robostack.learn.learner import Learner
from tests.learn.conftest import SMALL, make_episode


def begun(spec, steps, config=SMALL, capacity=200):
    """A learner whose small memory has let episodes go already."""
    learner = Learner(spec, config, 3, capacity)
    learner.add([make_episode(spec, 0, "demonstration", 20)])
    learner.add(make_episode(spec, index, "practice", 30, [1, 2]) for index in range(1, 12))
    learner.train(steps)
    return learner


def again(spec, learner):
    """Another learner that goes on where this one is."""
    other = Learner(spec, SMALL, 99, 200)
    other.restore(learner.arrays(), learner.steps, "state")
    other.refill(
        learner.replay.layout(),
        lambda _, i: (
            make_episode(spec, i, "demonstration", 20)
            if i == 0
            else make_episode(spec, i, "practice", 30, [1, 2])
        ),
    )
    return other


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].dtype == second[name].dtype, name
        assert first[name].tobytes() == second[name].tobytes(), name


def test_state_comes_back_bit_equal_with_random_key_and_optimizers(spec):
    learner = begun(spec, 5)
    arrays = learner.arrays()
    fresh = Learner(spec, SMALL, 99, 200)
    fresh.restore(arrays, 5, "state")
    assert_equal(arrays, fresh.arrays())
    assert jax.tree.structure(fresh.state) == jax.tree.structure(learner.state)
    assert jax.random.key_impl(fresh.state.key) == jax.random.key_impl(learner.state.key)
    assert any(
        name.startswith("critic_optimizer/") and array.any() for name, array in arrays.items()
    )


def test_arrays_are_copies_that_later_steps_leave_alone(spec):
    learner = begun(spec, 2)
    arrays = learner.arrays()
    before = {name: array.copy() for name, array in arrays.items()}
    learner.train(5)
    assert_equal(before, arrays)
    assert any((learner.arrays()[name] != arrays[name]).any() for name in arrays)


def test_training_goes_on_bit_equal_after_a_restart(spec):
    learner = begun(spec, 5)
    other = again(spec, learner)
    for part in (learner, other):
        part.train(3)
        part.add([make_episode(spec, 12, "practice", 25)])  # another one must go for it
        part.train(4)
    assert other.steps == learner.steps == 12
    assert_equal(learner.arrays(), other.arrays())


def test_memory_on_the_device_is_the_same_after_a_restart(spec):
    learner = begun(spec, 0)
    first, second = learner._device.memory, again(spec, learner)._device.memory
    for name in ("person", "practice", "counts"):
        assert np.array_equal(getattr(first, name), getattr(second, name)), name
    rows = np.flatnonzero(learner.replay.episode >= 0)  # the others hold what was let go
    for name in ("frames", "action", "reward", "mask"):
        mine, theirs = (np.asarray(getattr(memory, name))[rows] for memory in (first, second))
        assert np.array_equal(mine, theirs), name


def test_a_learner_step_keeps_the_types_of_its_state(spec):
    """Else the first step after a restart would be another program than the one that ran."""
    learner = Learner(spec, SMALL, 0, 200)

    def types():
        leaves = jax.tree.leaves(learner.state)
        return [(leaf.dtype, getattr(leaf, "weak_type", False)) for leaf in leaves]

    before = types()
    learner.add([make_episode(spec, 0, "demonstration", 20)])
    learner.train(1)
    assert types() == before and not any(is_weak for _, is_weak in before)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"widths": (16, 32)}, r"kernel is float32\[.*\], expected float32\[.*\]"),
        ({"widths": (16,)}, r"has .*Dense_1/.*and \d+ more; it was made with another"),
        ({"widths": (16, 16, 16)}, r"lacks .*Dense_2/.*and \d+ more; it was made with another"),
    ],
)
def test_state_of_other_networks_is_refused_in_one_line(spec, change, said):
    learner = Learner(spec, replace(SMALL, **change), 0, 200)
    with pytest.raises(RobostackError, match=rf"state/000.*{said}") as caught:
        learner.restore(Learner(spec, SMALL, 0, 200).arrays(), 5, "state/000.safetensors")
    assert "\n" not in str(caught.value)


def test_another_type_of_number_is_refused(spec):
    learner = Learner(spec, SMALL, 0, 200)
    arrays = trees.to_arrays(learner.state)
    arrays["steps"] = arrays["steps"].astype(np.int64)
    with pytest.raises(RobostackError, match=r"steps is int64\[\], expected int32\[\]"):
        learner.restore(arrays, 0, "state")
