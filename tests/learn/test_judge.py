"""A classifier's file, what is refused of it, and its judgement at work."""

import json
from dataclasses import asdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robostack.core.errors import BadValue, RobostackError, UnknownName
from robostack.core.success import Condition, agreed
from robostack.learn import judge, success
from robostack.learn.judge import About, Classifier, Success
from robostack.learn.success import Head, Norm, Sight
from robostack.store import tensors
from tests.learn.test_success import LOOKS, SmallTrunk, frame

LOW = Condition.parse("tool_in_base.z <= 0.05")


@pytest.fixture(scope="module")
def trunk() -> SmallTrunk:
    return SmallTrunk()


@pytest.fixture(scope="module")
def classifier(trunk) -> Classifier:
    """Weights as they begin; calibrated by hand."""
    about = About(
        task="peg_insert",
        looks=LOOKS,
        trunk=trunk.name,
        trunk_sha256=trunk.sha256,
        embeddings=2,
        width=8,
        steps=10,
        counts={"success": 3, "no success": 9},
        needed=2,
        of=3,
        conditions=(LOW,),
        threshold=0.0,
        rates={"false_episodes": {"hits": 0, "of": 9}},
    )
    sight = Sight(trunk, LOOKS)
    features = sight.see(frame(np.random.default_rng(0)))
    weights = Head(2, 8).init(jax.random.key(3), features)
    shape = (1, 1, 8)
    norms = {name: Norm(jnp.full(shape, 0.1), jnp.full(shape, 0.2)) for name in sight.looks}
    return Classifier(sight, weights, norms, about)


@pytest.fixture
def path(classifier, tmp_path):
    judge.save(tmp_path / "peg.safetensors", classifier)
    return tmp_path / "peg.safetensors"


def test_what_is_stored_comes_back_and_scores_the_same_to_the_last_bit(classifier, trunk, path):
    found = judge.load(path, lambda name: trunk)
    probe = found.about.probe
    assert {**asdict(found.about), "probe": None} == asdict(classifier.about)
    assert probe == classifier.probed()
    rng = np.random.default_rng(1)
    for _ in range(5):
        pictures = frame(rng)
        assert found.score(pictures) == classifier.score(pictures)


def test_the_file_says_what_it_is_in_json(path):
    labels, _ = tensors.unpack(path)
    about = json.loads(labels["about"])
    assert about["conditions"] == ["tool_in_base.z <= 0.05"]
    assert about["looks"]["wrist_camera"]["crop"] == [2, 4, 20, 24]
    assert about["counts"] == {"success": 3, "no success": 9}
    assert (about["trunk"], about["needed"], about["of"]) == ("small", 2, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 0}, "was never trained; `robostack success train` does both"),
        ({"threshold": None}, "was never calibrated"),
        ({"trunk_sha256": "7" * 64}, "was trained on trunk small 777777777777, here small is 5555"),
    ],
)
def test_what_may_not_serve_is_refused_in_one_line(classifier, trunk, tmp_path, changes, said):
    path = tmp_path / "x.safetensors"
    judge.save(path, classifier.with_about(**changes))
    with pytest.raises(RobostackError) as caught:
        judge.load(path, lambda name: trunk)
    assert said in str(caught.value) and str(path) in str(caught.value)


def test_another_preparation_of_pictures_is_refused(path, trunk, monkeypatch):
    """Nearest pixels in place of smooth ones: nothing in the file tells, its probe does."""

    def coarse(look, picture):
        top, left, height, width = look.crop
        part = picture[top : top + height, left : left + width]
        return jax.image.resize(part, (*look.size, 3), "nearest")

    monkeypatch.setattr(success, "prepare", coarse)
    with pytest.raises(RobostackError, match="trained with another preparation of pictures"):
        judge.load(path, lambda name: trunk)


def test_another_trunk_under_the_same_hash_is_seen_too(path):
    with pytest.raises(RobostackError, match="another preparation of pictures: its probe scored"):
        judge.load(path, lambda name: SmallTrunk(seed=1))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: data[:-7] + b"1" + data[-6:], "is damaged"),
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: b"", "damaged or no success classifier"),
        (lambda data: b"PK" + data, "damaged or no success classifier"),
    ],
)
def test_a_damaged_file_is_one_line(path, trunk, spoil, said):
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(RobostackError) as caught:
        judge.load(path, lambda name: trunk)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_something_else_is_refused(tmp_path, trunk):
    path = tmp_path / "000003.safetensors"
    path.write_bytes(tensors.pack({"a": np.zeros(2)}, {"format": "1"}))
    with pytest.raises(RobostackError, match="is no success classifier; `robostack success train`"):
        judge.load(path, lambda name: trunk)


def test_weights_of_another_shape_are_refused(classifier, trunk, tmp_path):
    path = tmp_path / "x.safetensors"
    judge.save(path, classifier)
    labels, data = tensors.unpack(path)
    arrays = tensors.arrays(data)
    name = next(n for n in arrays if n.endswith("kernel"))
    arrays[name] = arrays[name][:-1]
    del labels["sha256"]
    path.write_bytes(tensors.pack(arrays, labels))
    with pytest.raises(RobostackError, match="does not fit trunk small"):
        judge.load(path, lambda name: trunk)


@pytest.mark.parametrize(
    ("cameras", "said"),
    [
        ({}, "wrist_camera 24x32, the cell gives no camera"),
        ({"wrist_camera": (24, 32)}, "front_camera 16x16, the cell gives wrist_camera 24x32"),
        ({"wrist_camera": (128, 128), "front_camera": (16, 16)}, "wrist_camera 24x32, the cell"),
    ],
)
def test_a_cell_with_other_cameras_is_refused(classifier, cameras, said):
    with pytest.raises(BadValue, match=said):
        judge.require_cameras(classifier.about, cameras, "x.safetensors")


def test_it_is_done_exactly_where_the_calibration_would_have_called_it(classifier):
    rng = np.random.default_rng(0)
    frames = [frame(rng) for _ in range(30)]
    heights = rng.uniform(0.0, 0.08, 30)
    scores = np.array([classifier.score(pictures) for pictures in frames])
    served = classifier.with_about(threshold=float(np.median(scores)))
    terms = [{"tool_in_base": np.array([0.4, 0.0, z, 0.0, 0.0, 0.0])} for z in heights]
    called = agreed(scores, heights <= 0.05, 2, 3) > np.median(scores)
    assert 0 < called.sum() < 30
    judged = Success(served)
    for _ in range(2):  # a new episode forgets the old one
        judged.begin()
        assert [judged.is_done(t, f) for t, f in zip(terms, frames, strict=True)] == called.tolist()


def test_an_episode_does_not_begin_with_the_frames_of_the_last_one(classifier):
    judged = Success(classifier.with_about(threshold=-1e9, conditions=()))
    pictures, terms = frame(np.random.default_rng(0)), {"gripper": np.zeros(1)}
    assert [judged.is_done(terms, pictures) for _ in range(3)] == [False, True, True]
    judged.begin()
    assert not judged.is_done(terms, pictures)


def test_a_term_that_the_cell_does_not_give_is_named(classifier):
    with pytest.raises(UnknownName, match='no term "tool_in_base"'):
        Success(classifier).is_done({"gripper": np.zeros(1)}, frame(np.random.default_rng(0)))


def test_a_classifier_without_a_threshold_judges_nothing(classifier):
    with pytest.raises(BadValue, match="without a threshold"):
        Success(classifier.with_about(threshold=None))
