"""The success classifier: one way from pictures to features, a loss by hand, a head that learns on a frozen trunk."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from robostack.core.errors import BadValue
from robostack.learn import success
from robostack.learn.success import (
    Look,
    Sight,
    Training,
    fit,
    loss,
    norms_of,
    prepare,
    ramped,
    varied,
)

SIZES = {"wrist_camera": (24, 32), "front_camera": (16, 16)}
LOOKS = {
    "wrist_camera": Look(24, 32, (2, 4, 20, 24), (16, 16)),
    "front_camera": Look.whole(16, 16),
}


class Net(nn.Module):
    """As learn.mirror_net, in small: a stack of strided convolutions that scales pictures itself."""

    @nn.compact
    def __call__(self, pictures: jax.Array) -> jax.Array:
        x = pictures.astype(jnp.float32) / 255.0 - 0.5
        for width in (8, 8):
            x = nn.relu(nn.Conv(width, (3, 3), (2, 2))(x))
        return x


class SmallTrunk:
    name, sha256 = "small", "5" * 64

    def __init__(self, seed: int = 0):
        self._net = Net()
        picture = jnp.zeros((1, 16, 16, 3), jnp.uint8)
        self.weights = jax.jit(self._net.init)(jax.random.key(seed), picture)

    def features(self, weights, pictures):
        found = self._net.apply(weights, pictures[None])
        assert isinstance(found, jax.Array)
        return found[0]


def frame(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: rng.integers(0, 256, (*size, 3), dtype=np.uint8) for name, size in SIZES.items()}


def test_a_picture_is_cropped_where_it_says_and_left_as_it_is_at_its_own_size():
    picture = np.arange(24 * 32 * 3, dtype=np.uint16).reshape(24, 32, 3).astype(np.uint8)
    look = Look(24, 32, (2, 4, 20, 24), (20, 24))
    np.testing.assert_array_equal(prepare(look, jnp.asarray(picture)), picture[2:22, 4:28])


def test_a_picture_made_half_as_large_is_smoothed_and_rounded():
    """Linear with antialiasing: a triangle of two pixels to each side, weights 1 3 3 1, fewer at the edge."""
    row = np.array([0, 80, 160, 240, 0, 0, 0, 0] * 2, np.uint8)
    picture = np.broadcast_to(row[None, :, None], (16, 16, 3))
    found = np.asarray(prepare(Look(16, 16, (0, 0, 16, 16), (8, 8)), jnp.asarray(picture)))
    inner = [(80 + 3 * 160 + 3 * 240 + 0) / 8, 240 / 8]
    assert found.dtype == np.uint8 and found.shape == (8, 8, 3)
    np.testing.assert_array_equal(found[0, 1:3, 0], np.round(inner))
    assert found[0, 0, 0] == round((3 * 0 + 3 * 80 + 160) / 7)


def test_training_and_serving_see_the_same_to_the_last_bit():
    """One frame or among others, at once or later, by another Sight: what was learned on is what is served."""
    sight, again = Sight(SmallTrunk(), LOOKS), Sight(SmallTrunk(), dict(reversed(LOOKS.items())))
    rng = np.random.default_rng(0)
    frames = [frame(rng) for _ in range(5)]
    trained_on = {name: np.stack([sight.see(f)[name] for f in frames]) for name in LOOKS}
    for i, pictures in enumerate(frames):
        extra = {**pictures, "third_camera": np.zeros((4, 4, 3), np.uint8)}
        for served in (sight.see(pictures), again.see(extra)):
            assert list(served) == sorted(LOOKS)
            for name, values in served.items():
                assert values.tobytes() == trained_on[name][i].tobytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p.pop("front_camera"), "front_camera that is missing"),
        (lambda p: p.update(front_camera=np.zeros((8, 8, 3), np.uint8)), r"\(8, 8, 3\) uint8"),
        (
            lambda p: p.update(front_camera=np.zeros((16, 16, 3))),
            r"\(16, 16, 3\) float64, expected",
        ),
    ],
)
def test_a_picture_unlike_those_of_training_is_refused(change, said):
    pictures = frame(np.random.default_rng(0))
    change(pictures)
    with pytest.raises(BadValue, match=said):
        Sight(SmallTrunk(), LOOKS).see(pictures)


@pytest.mark.parametrize("crop", [(-1, 0, 16, 16), (0, 0, 25, 16), (0, 20, 16, 16), (0, 0, 4, 16)])
def test_a_crop_outside_the_picture_is_refused(crop):
    with pytest.raises(BadValue, match="top, left, height, width within 24x32"):
        Look(24, 32, crop, (16, 16))


def test_the_loss_is_the_cross_entropy_by_hand():
    logits = jnp.array([2.0, -1.0, 0.0, -3.0])
    is_success = jnp.array([True, True, False, False])
    p = 1.0 / (1.0 + np.exp(-np.asarray(logits, float)))
    by_hand = -(np.log(p[0]) + np.log(p[1]) + np.log(1 - p[2]) + np.log(1 - p[3])) / 4
    assert by_hand == pytest.approx(0.54548, abs=1e-5)
    for compute in (loss, jax.jit(loss)):
        assert float(compute(logits, is_success)) == pytest.approx(by_hand, abs=1e-6)
    both = jax.vmap(loss)(jnp.stack([logits, -logits]), jnp.stack([is_success, ~is_success]))
    np.testing.assert_allclose(both, [by_hand, by_hand], rtol=1e-6)


def test_the_loss_of_a_logit_far_out_is_finite_and_has_a_gradient():
    value, gradient = jax.value_and_grad(loss)(jnp.array([-500.0, 500.0]), jnp.array([True, True]))
    assert float(value) == pytest.approx(250.0)
    np.testing.assert_allclose(gradient, [-0.5, 0.0], atol=1e-6)


def test_augmentation_comes_in_as_the_curriculum_says():
    shape, ramp = (20_000,), 5.0
    for epoch in (0.0, 1.0, 5.0, 50.0):
        which = np.asarray(ramped(jax.random.key(0), jnp.asarray(epoch), ramp, shape, 4))
        share = np.bincount(which, minlength=4) / len(which)
        assert 1 - share[0] == pytest.approx(np.tanh(epoch / ramp), abs=0.01)
        np.testing.assert_allclose(share[1:], np.tanh(epoch / ramp) / 3, atol=0.01)
    assert not ramped(jax.random.key(0), jnp.asarray(9.0), ramp, (8,), 1).any()


def test_a_varied_frame_is_the_same_scene_a_little_moved_in_another_light():
    rng = np.random.default_rng(0)
    y, x = np.indices((32, 32))
    smooth = np.stack([4 * x, 4 * y, 2 * (x + y)], -1).astype(np.uint8) + 60
    for _ in range(50):
        found = varied({"front_camera": smooth}, rng)["front_camera"]
        assert found.shape == smooth.shape and found.dtype == np.uint8
        assert abs(float(found.mean()) - float(smooth.mean())) < 0.5 * 255 * success.BRIGHTNESS + 20
        assert (np.diff(found[16, :, 0].astype(int)) >= 0).all()  # left stays left: no flip
        assert found[..., 0].std() > 0.5 * smooth[..., 0].std()
    assert varied({"a": smooth}, np.random.default_rng(3))["a"].tobytes() == (
        varied({"a": smooth}, np.random.default_rng(3))["a"].tobytes()
    )


def test_norms_standardize_every_channel_and_leave_a_constant_one():
    values = np.random.default_rng(0).normal(3.0, 5.0, (200, 2, 2, 3)).astype(np.float32)
    values[..., 2] = 7.0
    norm = norms_of({"front_camera": values})["front_camera"]
    standard = (values - np.asarray(norm.mean)) / np.asarray(norm.std)
    np.testing.assert_allclose(standard[..., :2].mean((0, 1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(standard[..., :2].std((0, 1, 2)), 1.0, atol=1e-5)
    np.testing.assert_array_equal(standard[..., 2], 0.0)


def dotted(count: int, seed: int) -> tuple[list[dict[str, np.ndarray]], np.ndarray]:
    """Frames with a bright dot: on the left it is a success, on the right none. Few successes."""
    rng, frames = np.random.default_rng(seed), []
    is_success = rng.random(count) < 0.25
    for done in is_success:
        picture = rng.integers(0, 60, (16, 16, 3), dtype=np.uint8)
        place = rng.integers(0, 3) + (1 if done else 11)
        picture[6:10, place : place + 2] = 250
        frames.append({"front_camera": picture})
    return frames, is_success


def test_a_head_learns_on_a_trunk_that_stays_as_it_is():
    trunk = SmallTrunk()
    before = jax.tree.map(np.array, trunk.weights)
    sight = Sight(trunk, {"front_camera": Look.whole(16, 16)})
    config = Training(steps=200, batch=16, rate=5e-3, embeddings=2, width=8)
    frames, is_success = dotted(60, 0)
    rng = np.random.default_rng(1)
    rows = [[sight.see(v)["front_camera"] for v in (f, varied(f, rng))] for f in frames]
    features = {"front_camera": np.array(rows)}
    weights, norms, info = fit(features, is_success, config, seed=0)
    assert info["right"] > 0.9
    again, *_ = fit(features, is_success, config, seed=0)
    jax.tree.map(np.testing.assert_array_equal, weights, again)
    fresh, truth = dotted(60, 9)
    score = jax.jit(partial(success.logit, success.Head(config.embeddings, config.width)))
    scores = np.array([float(score(weights, norms, sight.see(f))) for f in fresh])
    assert np.mean((scores > 0) == truth) > 0.9
    jax.tree.map(np.testing.assert_array_equal, before, trunk.weights)


@pytest.mark.parametrize("value", [True, False])
def test_frames_of_one_kind_alone_are_refused(value):
    features = {"front_camera": np.zeros((5, 1, 2, 2, 3), np.float32)}
    with pytest.raises(BadValue, match="a classifier needs both"):
        fit(features, np.full(5, value), Training(steps=1))


def test_half_of_every_batch_shows_success_however_rare_it_is():
    """One success among 400 frames: a head that always says no would be right in half of each batch, no more."""
    features = {"front_camera": np.zeros((400, 1, 2, 2, 3), np.float32)}
    is_success = np.arange(400) == 7
    _, _, info = fit(features, is_success, Training(steps=40, batch=8, width=4), seed=0)
    assert info["right"] == pytest.approx(0.5, abs=0.01)
    assert info["loss"] == pytest.approx(np.log(2.0), abs=0.05)
