"""Observation: what each term means, and that it comes back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core import lie, observe
from robostack.core.errors import StaleSample
from robostack.core.spec import View
from robostack.core.types import Sample

LEFT = np.array([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)])  # a quarter turn about z: x becomes y
AHEAD = np.array([1.0, 0.0, 0.0, 0.0])


def samples(stamp: float = 0.0, **values) -> dict[str, Sample]:
    """A tool that stands still at (0.5, 0, 0.3), turned to the left."""
    still = {
        "tool_pose": lie.pose([0.5, 0.0, 0.3], LEFT),
        "tool_twist": np.zeros(6),
        "wrench": np.zeros(6),
        "gripper": np.array([0.25]),
        "target": lie.pose([0.5, 0.0, 0.3], LEFT),
        "reference": lie.pose([0.5, 0.0, 0.3], LEFT),
    }
    return {name: Sample(stamp, np.asarray(value)) for name, value in {**still, **values}.items()}


@given(st.integers(0, 2**32 - 1))
def test_terms_come_back_from_the_vector(task, seed):
    spec, rng = observe.spec_of(task), np.random.default_rng(seed)
    terms = {term.name: rng.normal(size=(2, 3, term.size)) for term in spec.observation}
    packed = observe.pack(spec, terms)
    assert packed.shape == (2, 3, spec.observation_size)
    assert packed.dtype == np.float32
    back = observe.unpack(spec, packed)
    assert list(back) == [term.name for term in spec.observation]
    for name, value in terms.items():
        np.testing.assert_allclose(back[name], value, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(observe.pack(spec, back), packed)


def test_the_vector_holds_value_over_scale_in_the_order_of_the_spec(task):
    spec = observe.spec_of(task)
    scales = {term.name: np.array(term.scale) for term in spec.observation}
    packed = observe.pack(spec, scales)
    np.testing.assert_array_equal(packed, np.ones(spec.observation_size))
    for term in spec.observation:
        zeros = {name: np.zeros_like(scale) for name, scale in scales.items()}
        packed = observe.pack(spec, {**zeros, term.name: scales[term.name]})
        assert packed[spec.observation_slice(term.name)].all()
        assert packed.sum() == term.size


def test_tool_pose_is_seen_from_the_tool_at_reset():
    # Reset: turned left at the origin. The tool has gone 10 cm along base y: ahead, in its own eyes.
    reset = lie.pose(np.zeros(3), LEFT)
    now = lie.pose([0.0, 0.1, 0.0], lie.quat_multiply(LEFT, LEFT))
    terms = observe.observe(reset, samples(tool_pose=now))
    np.testing.assert_allclose(terms["tool_pose"], [0.1, 0, 0, 0, 0, np.pi / 2], atol=1e-12)


def test_tool_twist_is_turned_from_base_to_tool():
    # Base y is ahead for a tool that is turned left; turning about base x is turning about its -y.
    terms = observe.observe(lie.IDENTITY, samples(tool_twist=[0, 0.2, 0, 0.5, 0, 0]))
    np.testing.assert_allclose(terms["tool_twist"], [0.2, 0, 0, 0, -0.5, 0], atol=1e-12)


def test_wrench_and_gripper_pass_as_they_are():
    wrench = np.arange(6.0)
    terms = observe.observe(lie.IDENTITY, samples(wrench=wrench))
    np.testing.assert_array_equal(terms["wrench"], wrench)
    np.testing.assert_array_equal(terms["gripper"], [0.25])


def test_target_error_is_where_the_target_is_seen_from_the_tool():
    # 5 cm along base y is 5 cm ahead; the target looks ahead in base, so a quarter turn to the right.
    target = lie.pose([0.5, 0.05, 0.3], AHEAD)
    terms = observe.observe(lie.IDENTITY, samples(target=target))
    np.testing.assert_allclose(terms["target_error"], [0.05, 0, 0, 0, 0, -np.pi / 2], atol=1e-12)


def test_object_error_is_where_the_loose_thing_is_seen_from_the_tool(task):
    thing = lie.pose([0.45, 0.0, 0.2], AHEAD)  # back along base x, so to the left, and 10 cm lower
    terms = observe.observe(lie.IDENTITY, samples(object=thing))
    expected = [0, 0.05, -0.1, 0, 0, -np.pi / 2]
    np.testing.assert_allclose(terms["object_error"], expected, atol=1e-12)
    assert "object_error" not in observe.observe(lie.IDENTITY, samples())
    for has_object in (False, True):
        names = [t.name for t in observe.spec_of(replace(task, object=has_object)).observation]
        assert ("object_error" in names) == has_object
    seeing = observe.spec_of(replace(task, object=True), (View("wrist_camera", 64, 64),))
    assert "object_error" not in [term.name for term in seeing.observation]


def test_a_loose_thing_must_be_seen_where_the_task_has_one(task):
    signals = observe.signals_of(replace(task, object=True))
    assert observe.require_fresh(samples(), 0.0, 0.1, observe.signals_of(task)) == 0.0
    with pytest.raises(StaleSample, match='no sample of "object" yet'):
        observe.require_fresh(samples(), 0.0, 0.1, signals)
    seen = samples(object=lie.IDENTITY)
    with pytest.raises(StaleSample, match='"object" is 300 ms old'):
        observe.require_fresh({**seen, "object": Sample(-0.3, lie.IDENTITY)}, 0.0, 0.1, signals)


def test_reference_error_is_where_the_tool_was_sent_seen_from_the_tool(task):
    reference = lie.pose([0.45, 0.0, 0.3], LEFT)  # back along base x: to the left of the tool
    terms = observe.observe(lie.IDENTITY, samples(reference=reference))
    np.testing.assert_allclose(terms["reference_error"], [0, 0.05, 0, 0, 0, 0], atol=1e-12)
    for kind in ("measured", "commanded"):
        names = [term.name for term in observe.spec_of(replace(task, reference=kind)).observation]
        assert ("reference_error" in names) == (kind == "commanded")


def test_a_batch_gives_what_its_members_give():
    rng = np.random.default_rng(0)
    reset, tool, target, reference = (lie.exp(rng.normal(size=(4, 6))) for _ in range(4))
    twist, wrench, gripper = (rng.normal(size=(4, size)) for size in (6, 6, 1))
    arguments = (reset, tool, twist, wrench, gripper, target, reference)
    batch = observe.terms_of(*arguments)
    for i in range(4):
        one = observe.terms_of(*(argument[i] for argument in arguments))
        for name, value in one.items():
            np.testing.assert_allclose(batch[name][i], value, atol=1e-15)


def test_the_age_is_that_of_the_oldest_signal():
    found = {**samples(stamp=1.0), "wrench": Sample(0.95, np.zeros(6))}
    assert observe.require_fresh(found, now=1.02, limit=0.1) == pytest.approx(0.07)


def test_a_signal_at_its_age_limit_is_fresh():
    assert observe.require_fresh(samples(stamp=0.0), now=0.25, limit=0.25) == 0.25


@pytest.mark.parametrize("name", observe.SIGNALS)
def test_every_signal_must_be_there_fresh_and_finite(name):
    good = samples(stamp=1.0)
    rest = {key: sample for key, sample in good.items() if key != name}
    with pytest.raises(StaleSample, match=rf'no sample of "{name}" yet; the cell gives: '):
        observe.require_fresh(rest, now=1.0, limit=0.1)
    with pytest.raises(
        StaleSample, match=f'"{name}" is 300 ms old, limit 100 ms; is its node alive'
    ):
        observe.require_fresh({**rest, name: Sample(0.7, good[name].value)}, now=1.0, limit=0.1)
    with pytest.raises(StaleSample, match=f'"{name}" is nan ms old'):
        observe.require_fresh({**rest, name: Sample(np.nan, good[name].value)}, now=1.0, limit=0.1)
    with pytest.raises(StaleSample, match=f'"{name}" holds a value that is not finite'):
        broken = good[name].value * np.nan
        observe.require_fresh({**rest, name: Sample(1.0, broken)}, now=1.0, limit=0.1)


def test_a_silent_cell_is_said_to_give_nothing():
    with pytest.raises(StaleSample, match="the cell gives: nothing"):
        observe.require_fresh({}, now=0.0, limit=0.1)
