"""The replay memory's copy on the accelerator: batches are drawn and gathered there, inside the jitted call."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from robostack.learn.sac import Batch
from robostack.store.replay import Replay

PAD = 128  # changed rows are sent in multiples of this, so that few shapes are compiled


class Memory(NamedTuple):
    """Rows as in store.replay, and which of them may start a transition. All on the device."""

    frames: jax.Array  # (N, n)
    action: jax.Array  # (N, m)
    reward: jax.Array  # (N,)
    mask: jax.Array  # (N,)
    person: jax.Array  # (N,) int32 rows where the person acted, the first `counts[0]` count
    practice: jax.Array  # (N,) int32 rows of practice, the first `counts[1]` count
    counts: jax.Array  # (2,) int32


def sample(memory: Memory, key: jax.Array, updates: int, rows: int) -> Batch:
    """Batches (updates, rows, ...): first half the person's transitions, second half practice. RLPD, section 4.1.

    While one of the two is empty, both halves come from the other.
    """
    keys = jax.random.split(key)
    person, practice = memory.counts
    half = rows // 2
    first = _draw(keys[0], jnp.where(person > 0, 0, 1), memory, (updates, half))
    second = _draw(keys[1], jnp.where(practice > 0, 1, 0), memory, (updates, rows - half))
    index = jnp.concatenate([first, second], 1)
    return Batch(
        observation=memory.frames[index],
        action=memory.action[index],
        reward=memory.reward[index],
        mask=memory.mask[index],
        next_observation=memory.frames[index + 1],
    )


def _draw(key: jax.Array, which: jax.Array, memory: Memory, shape: tuple[int, int]) -> jax.Array:
    """Rows of one label, uniformly, with replacement."""
    place = jax.random.randint(key, shape, 0, memory.counts[which])
    return jnp.where(which == 0, memory.person[place], memory.practice[place])


class DeviceReplay:
    """Owns the copy; `sync()` brings over the rows that changed."""

    def __init__(self, replay: Replay):
        self._replay, self._cursor = replay, 0
        size = replay.capacity
        self.memory = Memory(
            frames=jnp.zeros((size, replay.spec.observation_size)),
            action=jnp.zeros((size, replay.spec.action_size)),
            reward=jnp.zeros(size),
            mask=jnp.zeros(size),
            person=jnp.zeros(size, jnp.int32),
            practice=jnp.zeros(size, jnp.int32),
            counts=jnp.zeros(2, jnp.int32),
        )

    def sync(self) -> None:
        """After Replay.add."""
        replay = self._replay
        changed = replay.changed_since(self._cursor)
        self._cursor = changed.cursor
        if len(changed.index):
            # The last row is repeated to fill up: writing it twice does no harm.
            rows = -(-len(changed.index) // PAD) * PAD
            pad = np.minimum(np.arange(rows), len(changed.index) - 1)
            fields = (changed.index, changed.frames, changed.action, changed.reward, changed.mask)
            self.memory = _write(self.memory, *(field[pad] for field in fields))
        person, practice = replay.person, replay.practice
        self.memory = self.memory._replace(
            person=_filled(person, replay.capacity),
            practice=_filled(practice, replay.capacity),
            counts=jnp.array([len(person), len(practice)], jnp.int32),
        )


@partial(jax.jit, donate_argnums=0)
def _write(memory: Memory, index, frames, action, reward, mask) -> Memory:
    return memory._replace(
        frames=memory.frames.at[index].set(frames),
        action=memory.action.at[index].set(action),
        reward=memory.reward.at[index].set(reward),
        mask=memory.mask.at[index].set(mask),
    )


def _filled(rows: np.ndarray, size: int) -> jax.Array:
    out = np.zeros(size, np.int32)
    out[: len(rows)] = rows
    return jnp.asarray(out)
