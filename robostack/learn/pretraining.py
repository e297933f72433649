"""How the mirror's trunk is learned: weak heads on its features, and a loss in metres, pixels and depth.

The heads are linear and thrown away afterwards, so what they can read, the first layer of a policy can read too.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn

from robostack.learn.mirror_net import SIZE, MirrorNet

PAD = 4  # px, how far a learner shifts its pictures (DrQ, Yarats et al. 2004.13649)
DEPTH = 16  # px, side of the coarse depth map
THING = {  # what is known of a thing: name -> how many numbers
    "position": 3,  # m, in the tool frame
    "yaw": 2,  # sine and cosine of its turn about the tool's z
    "pixel": 2,  # -1 at the left and top edge, 1 at the right and bottom
    "far": 1,  # log of the distance (m) along the camera's axis
    "seen": 1,  # 1 where it is in the picture, else 0
}
# Of a task's target, of its loose object (the target again where there is none), and where the tool is in the picture.
LABELS = {f"{thing}_{name}": size for thing in ("target", "object") for name, size in THING.items()}
LABELS |= {"tool_pixel": 2, "tool_far": 1}
KNOWN = sum(LABELS.values())
WIDE, NEAR = 0.03, 0.01  # m; the position is read at both scales
TURN = 5.0  # of the sine of the yaw: in our tasks it is a few degrees
EACH = sum(THING.values())  # 9
READ_EACH = EACH - 1 + 3  # a head gives the near position too, and does not say what is seen
READ = 2 * READ_EACH + 3
PIXELS = (
    5,
    6,
    EACH + 5,
    EACH + 6,
    2 * EACH,
    2 * EACH + 1,
)  # where pixels stand in the labels, x and y in turns
HUBER = 0.05  # from here on the loss is linear; 1.5 mm of the position
CLIP = 4.0  # nothing further away pulls
UNSEEN = 0.1  # weight of a position whose target is outside of the picture


Array = jax.Array | Any  # numpy's too, where it enters


class Batch(NamedTuple):
    """B pictures and what is known of them."""

    pictures: Array  # (B, H, W, 3) uint8
    labels: Array  # (B, KNOWN)
    depth: Array  # (B, DEPTH, DEPTH) log m
    head: Array  # (B,) int, who reads it: one head for each task and camera


class Heads(nn.Module):
    """Linear readouts of feature maps (B, h, w, C): (B, READ) by each example's own head, and (B, DEPTH, DEPTH)."""

    count: int

    @nn.compact
    def __call__(self, features: jax.Array, head: jax.Array) -> tuple[jax.Array, jax.Array]:
        batch, h, w, _ = features.shape
        read = nn.Dense(self.count * READ, name="read")(features.reshape(batch, -1))
        mine = jnp.take_along_axis(
            read.reshape(batch, self.count, READ), head.reshape(batch, 1, 1), 1
        )
        tile = DEPTH // h
        depth = nn.Dense(tile * tile, name="depth")(features).reshape(batch, h, w, tile, tile)
        return mine[:, 0], depth.transpose(0, 1, 3, 2, 4).reshape(batch, DEPTH, DEPTH)


def targets(labels: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What a head should give, (..., READ), each near one where it matters; and how much each counts.

    For target and object position, near position, yaw, pixel, far; then the tool's pixel and far.
    """
    scale = jnp.array([TURN, 1.0], labels.dtype).reshape((1,) * (labels.ndim - 1) + (2,))
    wanted, counts = [], []
    for start in (0, EACH):
        p, yaw, rest, seen = (
            labels[..., start + a : start + b] for a, b in ((0, 3), (3, 5), (5, 8), (8, 9))
        )
        wanted += [p / WIDE, jnp.tanh(p / NEAR), yaw * scale, rest]
        counts.append(jnp.maximum(seen, UNSEEN).repeat(READ_EACH, -1))
    wanted.append(labels[..., 2 * EACH :])
    counts.append(jnp.ones_like(wanted[-1]))  # the tool is always known
    return jnp.clip(jnp.concatenate(wanted, -1), -CLIP, CLIP), jnp.concatenate(counts, -1)


def huber(error: jax.Array) -> jax.Array:
    """Square near zero, |error| - HUBER / 2 further away."""
    size = jnp.abs(error)
    return jnp.where(size < HUBER, size**2 / (2 * HUBER), size - HUBER / 2)


def shifted(batch: Batch, key: jax.Array) -> Batch:
    """Every picture moved by up to PAD px, edges repeated, and its labels in pixels with it.

    The depth map stays: half of one of its places at most, and the same on average.
    """
    count, height, width, _ = batch.pictures.shape
    moves = jax.random.randint(key, (count, 2), 0, 2 * PAD + 1)
    edge = ((0, 0), (PAD, PAD), (PAD, PAD), (0, 0))
    padded = jnp.pad(batch.pictures, edge, mode="edge")

    def cut(picture: jax.Array, move: jax.Array) -> jax.Array:
        return jax.lax.dynamic_slice(picture, (move[0], move[1], 0), (height, width, 3))

    half = jnp.array([[width / 2, height / 2]], batch.labels.dtype)
    by = (PAD - moves[:, ::-1]).astype(batch.labels.dtype) / half
    labels = batch.labels.at[:, jnp.array(PIXELS)].add(jnp.tile(by, 3))
    return batch._replace(pictures=jax.vmap(cut)(padded, moves), labels=labels)


def read_by(
    weights: dict, net: MirrorNet, heads: Heads, pictures: jax.Array, head: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What each picture's head reads of it: (B, READ), and log depth (B, DEPTH, DEPTH)."""
    features: Any = net.apply(weights["net"], pictures)
    found: Any = heads.apply(weights["heads"], features, head)
    return found


def loss(weights: dict, net: MirrorNet, heads: Heads, batch: Batch) -> jax.Array:
    """() weighted Huber of everything read, plus the mean absolute error of log depth."""
    read, depth = read_by(weights, net, heads, batch.pictures, batch.head)
    wanted, counts = targets(batch.labels)
    return jnp.mean(jnp.sum(counts * huber(read - wanted), -1)) + jnp.mean(
        jnp.abs(depth - batch.depth)
    )


class Pretrainer:
    """Owns network, heads and their optimizer; `step` is one jitted call. `start`: weights, else they are random."""

    def __init__(
        self, heads: int, steps: int, seed: int, rate: float = 1.5e-3, start: dict | None = None
    ):
        self.net, self.heads = MirrorNet(), Heads(heads)
        nothing = jnp.zeros((1, SIZE, SIZE, 3), jnp.uint8)
        first, second, self._key = jax.random.split(jax.random.key(seed), 3)
        weights: Any = jax.jit(self.net.init)(first, nothing)
        features = jax.eval_shape(self.net.apply, weights, nothing)
        flat = jnp.zeros(features.shape)  # type: ignore[union-attr]
        read: Any = jax.jit(self.heads.init)(second, flat, jnp.zeros(1, jnp.int32))
        begun = weights if start is None else jax.tree.map(jnp.array, start)  # the step takes them
        self.weights: dict = {"net": begun, "heads": read}
        warm = min(200, max(1, steps // 10))
        schedule = optax.warmup_cosine_decay_schedule(0.0, rate, warm, max(steps, warm + 1), 1e-6)
        self._optimizer = optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(schedule, b2=0.99, weight_decay=1e-4)
        )
        self._moments = self._optimizer.init(self.weights)
        self._step: Callable = jax.jit(self._one, donate_argnums=(0, 1))
        self._read: Callable = jax.jit(partial(read_by, net=self.net, heads=self.heads))

    def _one(self, weights, moments, key, batch):
        batch = shifted(batch, key)
        value, slope = jax.value_and_grad(loss)(weights, self.net, self.heads, batch)
        change, moments = self._optimizer.update(slope, moments, weights)
        return optax.apply_updates(weights, change), moments, value

    def step(self, batch: Batch) -> jax.Array:
        """Learns from one batch; its loss ()."""
        self._key, key = jax.random.split(self._key)
        self.weights, self._moments, value = self._step(self.weights, self._moments, key, batch)
        return value

    def read(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """`read_by` of the pictures as they are."""
        read, depth = self._read(self.weights, pictures=batch.pictures, head=batch.head)
        return np.asarray(read), np.asarray(depth)
