"""ResNet-10 with GroupNorm, up to the feature map before pooling: the network of SERL and HIL-SERL's published weights.

He et al. 1512.03385, sections 3.3 and 4.1, with one basic block a stage; Wu and He 1803.08494 for the normalization.
What the published weights fix, and the papers leave open, is of https://github.com/rail-berkeley/serl,
serl_launcher/vision/resnet_v1.py: names, 4 groups, epsilon 1e-5, no bias in convolutions, where padding goes.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

WIDTHS = (64, 128, 256, 512)
# Of ImageNet, red, green, blue, as shares of 255.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def norm(name: str) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups=4, epsilon=1e-5, name=name)


def conv(width: int, size: int, stride: int, name: str, padding: str | tuple = "SAME") -> nn.Conv:
    """SAME puts the odd line of a stride of 2 behind, not before as other libraries do."""
    kernel = (size, size)
    return nn.Conv(width, kernel, (stride, stride), padding, use_bias=False, name=name)


class Block(nn.Module):
    """Two 3x3 convolutions and a way past them (1512.03385, figure 2), projected where the shape changes (eq. 2)."""

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = conv(self.width, 3, self.stride, "Conv_0")(x)
        y = nn.relu(norm("MyGroupNorm_0")(y))
        y = norm("MyGroupNorm_1")(conv(self.width, 3, 1, "Conv_1")(y))
        if y.shape != x.shape:
            x = norm("norm_proj")(conv(self.width, 1, self.stride, "conv_proj")(x))
        return nn.relu(x + y)


class ResNet10(nn.Module):
    """(N, H, W, 3) uint8 to (N, H/32, W/32, 512) float32, rounded up; 128 x 128 gives 4 x 4.

    Blocks take the first `len(widths)` names; others than WIDTHS are for tests.
    """

    widths: tuple[int, ...] = WIDTHS

    @nn.compact
    def __call__(self, pictures: jax.Array) -> jax.Array:
        mean, std = (jnp.array(row).reshape(1, 1, 1, 3) for row in (MEAN, STD))
        x = (pictures.astype(jnp.float32) / 255.0 - mean) / std
        x = conv(self.widths[0], 7, 2, "conv_init", ((3, 3), (3, 3)))(x)
        x = nn.relu(norm("norm_init")(x))
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        for i, width in enumerate(self.widths):
            x = Block(width, 2 if i else 1, name=f"ResNetBlock_{i}")(x)
        return x
