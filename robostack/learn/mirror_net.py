"""Our own image network, small enough for every frame on a laptop: learned once on the mirror, then frozen.

Convolutions find things; a softmax over each of POINTS maps says where, more exactly than a pixel (Levine et al.
1504.00702, section 5.2, "spatial softmax"); a small dense part makes poses of the points. So the feature map is two
things side by side: what a convolution sees at its place, and numbers about the whole picture, dealt out over places.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from robostack.core.errors import BadValue

ARCHITECTURE = "mirror-1"
SIZE = 128  # px, the pictures that the shipped weights were learned on
CHANNELS = 64  # of the feature map
POINTS = 32
CODE = (
    192  # numbers made of the points; with their 2 POINTS coordinates they fill the last channels
)
PATCH = 4  # px; the first layer sees whole patches: a convolution over three channels alone is slow
STRIDE = 32  # px of the picture for a place of the feature map
SHARP = 4.0  # of the softmax at first


class Block(nn.Module):
    """Two 3x3 convolutions and a way past them (He et al. 1603.05027, figure 4e), none of them normalized.

    The second starts at zero, so that the block starts as the identity (Zhang et al. 1901.09321, section 3).
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels, zero = x.shape[-1], nn.initializers.zeros_init()
        y = nn.Conv(channels, (3, 3), name="first")(nn.relu(x))
        return x + nn.Conv(channels, (3, 3), kernel_init=zero, name="second")(nn.relu(y))


class MirrorNet(nn.Module):
    """Pictures (..., H, W, 3), uint8 or floats in [0, 1], to feature maps (..., H / 32, W / 32, 64) float32.

    At 128 x 128 px; the dealt-out numbers fill 4 x 4 places exactly, so other sizes are refused with BadValue.
    """

    widths: tuple[int, int, int] = (32, 64, 96)

    @nn.compact
    def __call__(self, pictures: jax.Array) -> jax.Array:
        *lead, height, width, colours = pictures.shape
        if (height, width) != (SIZE, SIZE):
            raise BadValue(
                f"the mirror's trunk sees pictures of {SIZE} x {SIZE} px, got {height} x {width}; "
                f"let the cameras give {SIZE} px, or use another trunk"
            )
        scale = 1.0 / 255.0 if pictures.dtype == jnp.uint8 else 1.0
        x = pictures.astype(jnp.float32).reshape(-1, height, width, colours) * scale
        x = nn.Conv(self.widths[0], (3, 3), name="stem")(patches(4.0 * x - 2.0))
        x = nn.Conv(self.widths[1], (3, 3), (2, 2), name="to_middle")(nn.relu(x))
        x = Block(name="middle_1")(Block(name="middle_0")(x))
        middle = nn.relu(norm("norm_middle")(x))
        x = nn.Conv(self.widths[2], (3, 3), (2, 2), name="to_coarse")(middle)
        x = nn.relu(norm("norm_coarse")(Block(name="coarse")(x)))
        local = nn.Conv(CHANNELS - (2 * POINTS + CODE) // 16, (3, 3), (2, 2), name="local")(x)
        points = places(SHARP * nn.Conv(POINTS, (1, 1), name="points")(middle))
        whole = jnp.concatenate([2.0 * points, jnp.mean(x, (1, 2))], -1)
        whole = nn.relu(nn.LayerNorm(name="norm_whole")(nn.Dense(256, name="whole")(whole)))
        code = jnp.concatenate([points, nn.Dense(CODE, name="code")(whole)], -1)
        features = jnp.concatenate([local, code.reshape(*local.shape[:3], -1)], -1)
        return features.reshape(*lead, *features.shape[1:])


def norm(name: str) -> nn.GroupNorm:
    """Over one example only: a picture's features do not depend on its batch."""
    return nn.GroupNorm(num_groups=8, name=name)


def patches(x: jax.Array) -> jax.Array:
    """(B, H, W, C) to (B, H / PATCH, W / PATCH, PATCH PATCH C)."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // PATCH, PATCH, width // PATCH, PATCH, channels)
    x = x.transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // PATCH, width // PATCH, PATCH * PATCH * channels)


def places(maps: jax.Array) -> jax.Array:
    """Maps (B, H, W, K) to (B, 2 K): where each is high on average, x then y, -1 to 1 from left and top."""
    batch, height, width, count = maps.shape
    weight = nn.softmax(maps.reshape(batch, height * width, count), axis=1)
    weight = weight.reshape(maps.shape)
    x, y = ((jnp.arange(n, dtype=maps.dtype) + 0.5) * (2.0 / n) - 1.0 for n in (width, height))
    across = jnp.einsum("bhwk,w->bk", weight, x)
    return jnp.concatenate([across, jnp.einsum("bhwk,h->bk", weight, y)], -1)
