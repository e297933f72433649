"""Specs: what differs is named, what is equal has one digest."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import SpecMismatch, UnknownName
from robostack.core.spec import Spec, Term, differences, require_equal

scales = st.floats(1e-6, 1e6) | st.integers(1, 100)


@st.composite
def some_terms(draw) -> tuple[Term, ...]:
    names = draw(st.lists(st.text(min_size=1, max_size=4), unique=True, min_size=1, max_size=4))
    return tuple(
        Term(name, len(scale), draw(st.text(max_size=3)), draw(st.text(max_size=3)), tuple(scale))
        for name in names
        for scale in [draw(st.lists(scales, min_size=1, max_size=3))]
    )


specs = st.builds(Spec, some_terms(), some_terms(), st.floats(1e-3, 1.0))
POSE = Term("tool_pose", 3, "m", "base", (0.1, 0.1, 0.1))
WRENCH = Term("wrench", 2, "N", "tool", (10.0, 5.0))
STEP = Term("tool_step", 2, "m", "tool", (0.01, 0.02))
SPEC = Spec((POSE, WRENCH), (STEP,), 0.1)


@given(specs, specs)
def test_equal_specs_and_only_those_have_no_differences_and_one_digest(a, b):
    assert (a == b) == (not differences(a, b)) == (a.digest == b.digest)
    assert not differences(a, a)


@given(specs)
def test_a_spec_comes_back_from_json(spec):
    back = Spec.from_dict(json.loads(json.dumps(spec.as_dict())))
    assert back == spec
    assert back.digest == spec.digest


def test_equal_numbers_have_one_digest_whole_or_not():
    assert Spec((replace(POSE, scale=(1, 1, 2)),), (), 1).digest == (
        Spec((replace(POSE, scale=(1.0, 1.0, 2.0)),), (), 1.0).digest
    )


@pytest.mark.parametrize(
    ("other", "line"),
    [
        (replace(SPEC, period=0.2), "period: got 0.2 s, expected 0.1 s"),
        (replace(SPEC, observation=(POSE,)), "observation.wrench: missing"),
        (replace(SPEC, action=(STEP, POSE)), "action.tool_pose: not expected"),
        (
            replace(SPEC, observation=(POSE, replace(WRENCH, frame="base"))),
            "observation.wrench.frame: got base, expected tool",
        ),
        (
            replace(SPEC, observation=(POSE, replace(WRENCH, scale=(10.0, 6.0)))),
            "observation.wrench.scale: got (10.0, 6.0), expected (10.0, 5.0)",
        ),
        (
            replace(SPEC, observation=(WRENCH, POSE)),
            "observation: order got ['wrench', 'tool_pose'], expected ['tool_pose', 'wrench']",
        ),
    ],
    ids=["period", "missing", "not expected", "frame", "scale", "order"],
)
def test_each_difference_is_named(other, line):
    assert differences(other, SPEC) == [line]
    with pytest.raises(SpecMismatch) as caught:
        require_equal(other, SPEC, "the parameters")
    assert str(caught.value) == f"the parameters do not fit the task: {line}"


def test_another_order_is_named_beside_other_differences():
    other = replace(SPEC, observation=(WRENCH, POSE), period=0.2)
    assert len(differences(other, SPEC)) == 2


def test_terms_stand_where_the_slices_say():
    assert SPEC.observation_size == 5
    assert SPEC.action_size == 2
    assert SPEC.observation_slice("tool_pose") == slice(0, 3)
    assert SPEC.observation_slice("wrench") == slice(3, 5)
    with pytest.raises(
        UnknownName, match=r'no observation term "force"; there are: tool_pose, wrench'
    ):
        SPEC.observation_slice("force")


@pytest.mark.parametrize("scale", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, float("nan"))])
def test_a_scale_that_does_not_fit_is_refused(scale):
    with pytest.raises(SpecMismatch, match="expected 2 positive numbers"):
        Term("wrench", 2, "N", "tool", scale)


@pytest.mark.parametrize("data", [None, [], "", 3, {}])
def test_what_is_no_spec_is_of_the_wrong_type_or_lacks_a_key(data):
    with pytest.raises((TypeError, KeyError)):
        Spec.from_dict(data)
