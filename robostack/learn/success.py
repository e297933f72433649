"""Success classifier: does a picture show the task done? A frozen trunk, a small trainable head, a threshold.

Luo et al. (HIL-SERL), arXiv 2410.21845, section 3.2, train a binary classifier on a person's labels and give reward
where it fires. Deviations: the trunk is frozen and its features are standardized; a score is a logit, which keeps
ranking where probabilities have all become 1; augmentation is ramped (MADAug's curriculum, Hou et al., ICCV 2023: with
probability tanh(epoch / ramp)); and a task is done only when so many of the last frames agree and conditions on
measured numbers hold (core.success).

`Sight.see` is the only way from a picture to features: training, calibration and serving all call it, a frame at a
time, so that not even the order of sums differs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from robostack.core.errors import BadValue, require
from robostack.learn.nets import Eye

Features = dict[str, np.ndarray]  # by camera, (h, w, C) float32, or with axes before


class Trunk(Protocol):
    """What is needed of learn.trunks.Trunk."""

    @property
    def name(self) -> str: ...

    @property
    def sha256(self) -> str: ...

    @property
    def weights(self) -> Any: ...

    def features(self, weights: Any, pictures: jax.Array) -> jax.Array:
        """(..., H, W, 3) uint8 to (..., h, w, C) float32."""
        ...


@dataclass(frozen=True)
class Look:
    """How one camera's picture is prepared; px."""

    height: int  # of the pictures as they come
    width: int
    crop: tuple[int, int, int, int]  # top, left, height, width of the part that is looked at
    size: tuple[int, int]  # height, width that the part is scaled to

    def __post_init__(self):
        top, left, height, width = self.crop
        fits = top >= 0 and left >= 0 and height >= 8 and width >= 8
        fits = fits and top + height <= self.height and left + width <= self.width
        inside = f"top, left, height, width within {self.height}x{self.width}, at least 8x8"
        require(fits, "crop", list(self.crop), inside)
        require(min(self.size) >= 8, "size", list(self.size), "at least 8x8")

    @staticmethod
    def whole(height: int, width: int) -> "Look":
        """All of the picture as it is."""
        return Look(height, width, (0, 0, height, width), (height, width))


Looks = Mapping[str, Look]  # by camera


def prepare(look: Look, picture: jax.Array) -> jax.Array:
    """(H, W, 3) uint8 to (h, w, 3) uint8: cropped, then scaled, smoothed where it becomes smaller."""
    top, left, height, width = look.crop
    part = picture[top : top + height, left : left + width]
    if look.size == (height, width):
        return part
    scaled = jax.image.resize(part.astype(jnp.float32), (*look.size, 3), "linear", antialias=True)
    return jnp.clip(jnp.round(scaled), 0.0, 255.0).astype(jnp.uint8)


class Sight:
    """Owns a trunk and how the pictures of each camera are prepared for it."""

    def __init__(self, trunk: Trunk, looks: Looks):
        require(len(looks) > 0, "cameras", "none", "at least one")
        self.trunk, self.looks = trunk, dict(sorted(looks.items()))

        def see(weights: Any, pictures: dict[str, jax.Array]) -> dict[str, jax.Array]:
            return {
                name: trunk.features(weights, prepare(look, pictures[name]))
                for name, look in self.looks.items()
            }

        self._see = jax.jit(see)

    def see(self, pictures: Mapping[str, np.ndarray]) -> Features:
        """Features of one frame's pictures, (H, W, 3) uint8 by camera. Raises BadValue for a picture that is not so."""
        found = self._see(self.trunk.weights, self.checked(pictures))
        return {name: np.asarray(value) for name, value in found.items()}

    def checked(self, pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The pictures it looks at. Raises BadValue."""
        found = {}
        for name, look in self.looks.items():
            picture, expected = pictures.get(name), (look.height, look.width, 3)
            if picture is None or picture.shape != expected or picture.dtype != np.uint8:
                got = "missing" if picture is None else f"{picture.shape} {picture.dtype}"
                raise BadValue(
                    f"the success classifier got a picture of {name} that is {got}, "
                    f"expected {expected} uint8, as in its training"
                )
            found[name] = picture
        return found


class Head(nn.Module):
    """Standardized features by camera, (h, w, C) each, to a logit ()."""

    embeddings: int = 4
    width: int = 32

    @nn.compact
    def __call__(self, features: Mapping[str, jax.Array]) -> jax.Array:
        seen = [Eye(self.embeddings, self.width, name=name)(features[name]) for name in features]
        x = nn.tanh(nn.LayerNorm()(nn.Dense(self.width)(jnp.concatenate(seen, -1))))
        return nn.Dense(1)(x)[0]


class Norm(NamedTuple):
    """Mean and standard deviation of each channel over the training frames, (1, 1, C)."""

    mean: jax.Array
    std: jax.Array


Norms = dict[str, Norm]  # by camera


def norms_of(features: Mapping[str, np.ndarray]) -> Norms:
    """Of (N, h, w, C) features. A channel that never changes keeps its scale."""
    found = {}
    for name, values in features.items():
        flat = values.reshape(-1, values.shape[-1])
        mean, std = flat.mean(0, dtype=np.float64), flat.std(0, dtype=np.float64)
        std = np.where(std > 1e-6, std, 1.0)
        found[name] = Norm(*(jnp.asarray(v[None, None], jnp.float32) for v in (mean, std)))
    return found


def logit(head: Head, weights: Any, norms: Norms, features: Mapping[str, jax.Array]) -> jax.Array:
    """() of one frame's features; more likely a success the higher it is."""
    standard = {n: (features[n] - norms[n].mean) / norms[n].std for n in sorted(features)}
    found: Any = head.apply(weights, standard)
    return found


def loss(logits: jax.Array, is_success: jax.Array) -> jax.Array:
    """Mean cross entropy of (B,) logits and (B,) bool, in nats."""
    signed = jnp.where(is_success, logits, -logits)
    return jnp.mean(jax.nn.softplus(-signed))


@dataclass(frozen=True)
class Training:
    """How a head is trained."""

    steps: int = 1500
    batch: int = 64  # half of it successes
    rate: float = 1e-3
    decay: float = 1e-3  # of weights, AdamW
    ramp: float = 5.0  # epochs; see `ramped`
    embeddings: int = 4
    width: int = 32

    def __post_init__(self):
        for name in ("steps", "batch", "embeddings", "width"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.batch % 2 == 0, "batch", self.batch, "an even number")
        require(self.rate > 0 and self.ramp > 0, "rate and ramp", "0 or less", "more than 0")


def ramped(key: jax.Array, epoch: jax.Array, ramp: float, shape: tuple[int, ...], variants: int):
    """Which variant of a frame is taken: 0, the picture as it is, at first; later one of the others, with probability
    tanh(epoch / ramp)."""
    if variants == 1:
        return jnp.zeros(shape, jnp.int32)
    first, second = jax.random.split(key)
    changed = jax.random.uniform(first, shape) < jnp.tanh(epoch / ramp)
    return jnp.where(changed, jax.random.randint(second, shape, 1, variants), 0)


def fit(
    features: Mapping[str, np.ndarray], is_success: np.ndarray, config: Training, seed: int = 0
) -> tuple[Any, Norms, dict[str, float]]:
    """Weights of a head, norms, and numbers of the last steps; from features (N, V, h, w, C) of V variants of N frames.

    Raises BadValue unless there are frames of both kinds.
    """
    is_success = np.asarray(is_success, bool)
    positive, negative = np.flatnonzero(is_success), np.flatnonzero(~is_success)
    if not len(positive) or not len(negative):
        raise BadValue(
            f"{len(positive)} frames of success and {len(negative)} without: a classifier needs both"
        )
    variants = next(iter(features.values())).shape[1]
    norms = norms_of({name: values[:, 0] for name, values in features.items()})
    head = Head(config.embeddings, config.width)
    start, key = jax.random.split(jax.random.key(seed))
    one = {name: jnp.zeros(values.shape[2:]) for name, values in features.items()}
    weights = head.init(start, dict(sorted(one.items())))
    optimizer = optax.adamw(config.rate, weight_decay=config.decay)
    scores = jax.vmap(partial(logit, head), (None, None, 0))
    on_device = {name: jnp.asarray(values) for name, values in features.items()}
    rows = jnp.asarray(positive), jnp.asarray(negative)
    labels = jnp.arange(config.batch) < config.batch // 2  # balanced: the first half successes
    epoch_steps = len(is_success) / config.batch

    def one_loss(weights: Any, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        logits = scores(weights, norms, batch)
        return loss(logits, labels), jnp.mean((logits > 0) == labels)

    @jax.jit
    def train(weights, state, key, data, rows):
        def step(carry, i):
            weights, state, key = carry
            key, *keys = jax.random.split(key, 4)
            half = (config.batch // 2,)
            index = [r[jax.random.randint(k, half, 0, len(r))] for k, r in zip(keys, rows)]  # noqa: B905 - a key is left for the variants
            epoch = i / epoch_steps
            which = ramped(keys[2], epoch, config.ramp, (config.batch,), variants)
            batch = {name: values[jnp.concatenate(index), which] for name, values in data.items()}
            (value, right), gradient = jax.value_and_grad(one_loss, has_aux=True)(weights, batch)
            updates, state = optimizer.update(gradient, state, weights)
            return (optax.apply_updates(weights, updates), state, key), (value, right)

        steps = jnp.arange(config.steps, dtype=jnp.float32)
        (weights, *_), (values, right) = jax.lax.scan(step, (weights, state, key), steps)
        return weights, values, right

    weights, values, right = train(weights, optimizer.init(weights), key, on_device, rows)
    last = max(1, config.steps // 10)
    info = {"loss": float(values[-last:].mean()), "right": float(right[-last:].mean())}
    return weights, norms, info


SHIFT = 4  # px
BRIGHTNESS, CONTRAST = 0.25, 0.2  # most they change, as a share


def varied(pictures: Mapping[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The same frame with the cameras moved a little and another light, drawn for each camera. No flip, no hue: those
    could change what is true."""
    found = {}
    for name, picture in pictures.items():
        height, width, _ = picture.shape
        top, left = rng.integers(0, 2 * SHIFT + 1, 2)
        padded = np.pad(picture, ((SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), "edge")
        moved = padded[top : top + height, left : left + width].astype(np.float32)
        gain, lift = rng.uniform(-CONTRAST, CONTRAST), rng.uniform(-BRIGHTNESS, BRIGHTNESS)
        lit = (moved - 127.5) * (1.0 + gain) + 127.5 + 255.0 * lift * 0.5
        found[name] = np.clip(np.round(lit), 0, 255).astype(np.uint8)
    return found
