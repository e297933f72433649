"""The replay memory's copy on the accelerator: batches are drawn and gathered there, inside the jitted call.

What cameras saw is only here: the features of a frozen trunk, computed once when an episode comes in, several shifted
crops of each picture; or, for a network trained end to end, the pictures themselves.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from robostack.core.types import Episode
from robostack.learn import images
from robostack.learn.acting import Network
from robostack.learn.nets import NUMBERS, Observation
from robostack.learn.sac import Batch
from robostack.store.features import Features
from robostack.store.replay import Replay

PAD = 128  # changed rows are sent in multiples of this, so that few shapes are compiled
AT_ONCE = 16  # pictures that go through a trunk in one call


class Memory(NamedTuple):
    """Rows as in store.replay, and which of them may start a transition. All on the device."""

    frames: jax.Array  # (N, n)
    # By camera (N, 1, H, W, 3) uint8 pictures, or (N, crops, h, w, C) features: the bits of bfloat16 as uint16, since
    # XLA writes rows of bfloat16 on a CPU by turning the whole array into float32 and back.
    images: dict[str, jax.Array]
    action: jax.Array  # (N, m)
    reward: jax.Array  # (N,)
    mask: jax.Array  # (N,)
    switches: jax.Array  # (N,)
    guide: jax.Array | None  # (N, m) what a mask's guide would have done
    ahead: jax.Array  # (N,) int32 how many rows of the person follow one of theirs without a gap
    following: (
        jax.Array
    )  # (N,) int32 how many rows that may be drawn follow each of them without a gap
    person: jax.Array  # (N,) int32 rows of prior data: where the person acted; `counts[0]` count
    practice: jax.Array  # (N,) int32 rows of practice, the first `counts[1]` count
    counts: jax.Array  # (2,) int32


def sample(
    memory: Memory,
    key: jax.Array,
    updates: int,
    rows: int,
    pad: int = 4,
    person_only: bool = False,
    horizon: int = 0,
    n_step: int = 1,
    discount: float = 1.0,
) -> Batch:
    """Batches (updates, rows, ...): first half the person's transitions, second half practice. RLPD, section 4.1.

    Every one of the updates has both halves. While one of the two is empty, both halves come from the other. With
    `person_only` all rows are the person's; with a `horizon` their actions are chunks (updates, rows, horizon, m).
    With `n_step` above 1 a row is that many steps, fewer where the episode ends: their discounted rewards and
    switches, and the observation after the last of them.
    """
    keys = jax.random.split(key)
    person, practice = memory.counts
    half = rows if person_only else rows // 2
    first = _draw(keys[0], jnp.where(person > 0, 0, 1), memory, (updates, half))
    second = _draw(keys[1], jnp.where(practice > 0, 1, 0), memory, (updates, rows - half))
    index = jnp.concatenate([first, second], 1)
    now, then = jax.random.split(jax.random.fold_in(key, 1))
    further = jnp.minimum(n_step - 1, memory.following[index])
    last = index + further
    return Batch(
        observation=_seen(memory, index, now, pad),
        action=_chunks(memory, index, horizon) if horizon else memory.action[index],
        reward=_summed(memory.reward, index, further, n_step, discount),
        mask=memory.mask[last] * discount ** further.astype(jnp.float32),
        switches=_summed(memory.switches, index, further, n_step, discount),
        next_observation=_seen(memory, last + 1, then, pad),
        **_guides(memory, index, last + 1),
    )


def _guides(memory: Memory, index: jax.Array, after: jax.Array) -> dict[str, jax.Array]:
    """A batch's guides where the memory has them."""
    if memory.guide is None:
        return {}
    return {"guide": memory.guide[index], "next_guide": memory.guide[after]}


def _summed(
    values: jax.Array, index: jax.Array, further: jax.Array, n_step: int, discount: float
) -> jax.Array:
    """Sum of values (N,) at each index and the `further` rows after it, each counting `discount` of the one before."""
    total = values[index]
    for step in range(1, n_step):
        total += jnp.where(step <= further, discount**step * values[index + step], 0.0)
    return total


def _draw(key: jax.Array, which: jax.Array, memory: Memory, shape: tuple[int, int]) -> jax.Array:
    """Rows of one label, uniformly, with replacement."""
    place = jax.random.randint(key, shape, 0, memory.counts[which])
    return jnp.where(which == 0, memory.person[place], memory.practice[place])


def _chunks(memory: Memory, index: jax.Array, horizon: int) -> jax.Array:
    """The person's actions from these rows on; where they end, the last one again."""
    every = index[..., None] + jnp.zeros(horizon, jnp.int32)[None, None]
    steps = jnp.minimum(jnp.arange(horizon)[None, None], memory.ahead[every])
    return memory.action[every + steps]


def _seen(memory: Memory, index: jax.Array, key: jax.Array, pad: int) -> Observation:
    """Frames (updates, rows, ...) and, of each camera on its own, one crop."""
    seen = {NUMBERS: memory.frames[index]}
    for number, (name, kept) in enumerate(sorted(memory.images.items())):
        draw = jax.random.fold_in(key, number)
        crop = jax.random.randint(draw, index.shape, 0, kept.shape[1])
        seen[name] = kept[index, crop]
        if kept.dtype == jnp.uint8:
            flat = seen[name].reshape(-1, *kept.shape[2:])
            flat = images.shift(flat, jax.random.split(draw, len(flat)), pad)
            seen[name] = flat.reshape(seen[name].shape)
        seen[name] = _features_of(seen[name])
    return seen


def transitions(memory: Memory, index: jax.Array) -> Batch:
    """The transitions that start in rows (R,), pictures as their first crop, which is not shifted; leaves (R, ...)."""
    return Batch(
        observation=_plain(memory, index),
        action=memory.action[index],
        reward=memory.reward[index],
        mask=memory.mask[index],
        switches=memory.switches[index],
        next_observation=_plain(memory, index + 1),
        **_guides(memory, index, index + 1),
    )


def _plain(memory: Memory, index: jax.Array) -> Observation:
    images = {name: _features_of(kept[index, 0]) for name, kept in memory.images.items()}
    return {NUMBERS: memory.frames[index], **images}


def _features_of(kept: jax.Array) -> jax.Array:
    """Features from how they lie in the memory; pictures stay what they are."""
    is_picture = kept.dtype == jnp.uint8
    return kept if is_picture else jax.lax.bitcast_convert_type(kept, jnp.bfloat16)


class DeviceReplay:
    """Owns the copy; `sync()` brings over the rows that changed.

    A picture's crops are a function of `seed`, the episode's index and the picture's place in it, so that a memory
    that is filled again holds the same. With `folder` they are kept there, and not made again.
    """

    def __init__(
        self,
        replay: Replay,
        network: Network,
        crops: int = 1,
        pad: int = 4,
        seed: int = 0,
        folder: Path | None = None,
    ):
        self._replay, self._cursor, self._network = replay, 0, network
        self._pad, self._key = pad, jax.random.key(seed)
        size = replay.capacity
        self._crops = crops if network.sight else 1
        shapes = {view.name: network.kept(view) for view in replay.spec.views}
        self.memory = Memory(
            frames=jnp.zeros((size, replay.spec.observation_size)),
            images={
                name: jnp.zeros((size, self._crops, *shape), _stored(dtype))
                for name, (shape, dtype) in shapes.items()
            },
            action=jnp.zeros((size, replay.spec.action_size)),
            reward=jnp.zeros(size),
            mask=jnp.zeros(size),
            switches=jnp.zeros(size),
            guide=None if replay.guide is None else jnp.zeros(replay.guide.shape),
            ahead=jnp.zeros(size, jnp.int32),
            following=jnp.zeros(size, jnp.int32),
            person=jnp.zeros(size, jnp.int32),
            practice=jnp.zeros(size, jnp.int32),
            counts=jnp.zeros(2, jnp.int32),
        )
        self._kept: Features | None = None
        if folder and network.sight:
            made = f"{network.trunk} {network.trunk_sha256}, {crops} crops by {pad} px, seed {seed}"
            self._kept = Features(folder, made)
        replay.on_fill = self._look

    def sync(self) -> None:
        """After Replay.add."""
        replay = self._replay
        changed = replay.changed_since(self._cursor)
        self._cursor = changed.cursor
        if len(changed.index):
            # The last row is repeated to fill up: writing it twice does no harm.
            rows = -(-len(changed.index) // PAD) * PAD
            pad = np.minimum(np.arange(rows), len(changed.index) - 1)
            fields = (
                changed.frames,
                changed.action,
                changed.reward,
                changed.mask,
                changed.switches,
                changed.guide,
            )
            rows = jax.tree.map(lambda field: field[pad], fields)
            self.memory = _write(self.memory, changed.index[pad], *rows)
        person, practice = replay.prior, replay.practice
        self.memory = self.memory._replace(
            ahead=jnp.asarray(_ahead(person, replay.capacity)),
            following=jnp.asarray(_ahead(replay.all, replay.capacity)),
            person=_filled(person, replay.capacity),
            practice=_filled(practice, replay.capacity),
            counts=jnp.array([len(person), len(practice)], jnp.int32),
        )

    def observations(self, rows: np.ndarray) -> Observation:
        """What was seen in these rows, pictures as their first crop, which is not shifted; leaves (R, ...)."""
        return _plain(self.memory, jnp.asarray(rows, jnp.int32))

    def _look(self, start: int, episode: Episode) -> None:
        """Takes in what the cameras saw in an episode that lies from row `start` on."""
        if not self.memory.images:
            return
        found = self._kept.load(episode) if self._kept else None
        if found is None:
            found = self._made(episode)
            if self._kept:
                self._kept.save(episode, found)
        for name, rows in found.items():
            for first in range(0, len(rows), PAD):
                # The last row is repeated to fill up, as in sync().
                at = np.minimum(np.arange(first, first + PAD), len(rows) - 1)
                kept = _put(self.memory.images[name], start + at, rows[at])
                self.memory.images[name] = kept

    def _made(self, episode: Episode) -> dict[str, np.ndarray]:
        """Of each camera, (T + 1, crops, ...); bfloat16 as the uint16 of the same bits, which can be stored."""
        key, sight = jax.random.fold_in(self._key, episode.header.index), self._network.sight
        found = {}
        for number, name in enumerate(sorted(self.memory.images)):
            pictures = episode.pictures[name]
            if sight is None:
                found[name] = pictures[:, None]
                continue
            parts = []
            for first in range(0, len(pictures), AT_ONCE):
                part = jax.random.fold_in(jax.random.fold_in(key, number), first)
                at = np.minimum(np.arange(first, first + AT_ONCE), len(pictures) - 1)
                crops = _features(sight, sight.weights, pictures[at], part, self._crops, self._pad)
                parts.append(np.asarray(crops).view(np.uint16))
            found[name] = np.concatenate(parts)[: len(pictures)]
        return found


_features = partial(jax.jit, static_argnums=(0, 4, 5))(images.crops)


@partial(jax.jit, donate_argnums=0)
def _put(kept: jax.Array, index: np.ndarray, rows: np.ndarray) -> jax.Array:
    return kept.at[index].set(rows)


def _stored(dtype) -> type:
    return jnp.uint16 if dtype == jnp.bfloat16 else dtype


@partial(jax.jit, donate_argnums=0)
def _write(memory: Memory, index, frames, action, reward, mask, switches, guide) -> Memory:
    return memory._replace(
        frames=memory.frames.at[index].set(frames),
        action=memory.action.at[index].set(action),
        reward=memory.reward.at[index].set(reward),
        mask=memory.mask.at[index].set(mask),
        switches=memory.switches.at[index].set(switches),
        guide=None if memory.guide is None else memory.guide.at[index].set(guide),
    )


def _ahead(person: np.ndarray, size: int) -> np.ndarray:
    """(size,) int32 how many of these rows, in order, follow each of them without a gap. Between episodes is one."""
    out = np.zeros(size, np.int32)
    if len(person):
        ends = np.append(np.flatnonzero(np.diff(person) != 1), len(person) - 1)
        out[person] = person[ends[np.searchsorted(ends, np.arange(len(person)))]] - person
    return out


def _filled(rows: np.ndarray, size: int) -> jax.Array:
    out = np.zeros(size, np.int32)
    out[: len(rows)] = rows
    return jnp.asarray(out)
