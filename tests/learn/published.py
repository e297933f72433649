"""The layout of SERL's resnet10_params.pkl, from its description, and the network again, in numpy alone."""

from math import prod

import numpy as np

WIDTHS = (64, 128, 256, 512)
SIZE, SHA256 = (
    21_677_915,
    "175745d43d30233eb01b5369465d1c24c11b8ee71ccb734cc1c1bca13e07f57b",
)  # of the published file


def layout(widths: tuple[int, ...] = WIDTHS) -> dict[str, tuple[int, ...]]:
    """Name to shape, in the order of the network, without its classifier."""
    before = widths[0]
    shapes: dict[str, tuple[int, ...]] = {"conv_init/kernel": (7, 7, 3, before)}
    shapes |= _norm("norm_init", before)
    for i, width in enumerate(widths):
        block = f"ResNetBlock_{i}/"
        for j, seen in enumerate((before, width)):
            shapes[f"{block}Conv_{j}/kernel"] = (3, 3, seen, width)
            shapes |= _norm(f"{block}MyGroupNorm_{j}", width)
        if i:
            shapes[f"{block}conv_proj/kernel"] = (1, 1, before, width)
            shapes |= _norm(f"{block}norm_proj", width)
        before = width
    return shapes


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/scale": (width,), f"{name}/bias": (width,)}


def weights(seed: int, widths: tuple[int, ...] = WIDTHS) -> dict[str, np.ndarray]:
    """Made-up weights of a size that keeps features near one."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, shape in layout(widths).items():
        size = (prod(shape[:-1]) / 2) ** -0.5 if name.endswith("kernel") else 0.2
        made[name] = rng.normal(0, size, shape) + name.endswith("scale")
    return {name: array.astype(np.float32) for name, array in made.items()}


def features(made: dict[str, np.ndarray], picture: np.ndarray) -> np.ndarray:
    """(h, w, C) float64 of one picture (H, W, 3) uint8, by sums over windows."""
    x = (picture / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = conv(x, made["conv_init/kernel"], 2, before=3)
    x = np.maximum(group_norm(x, made, "norm_init"), 0)
    x = windows(x, 3, 2, None, -np.inf).max((2, 3))
    for i in range(sum(name.endswith("Conv_0/kernel") for name in made)):
        x = block(x, made, f"ResNetBlock_{i}/", stride=2 if i else 1)
    return x


def block(x: np.ndarray, made: dict[str, np.ndarray], name: str, stride: int) -> np.ndarray:
    y = conv(x, made[f"{name}Conv_0/kernel"], stride)
    y = np.maximum(group_norm(y, made, f"{name}MyGroupNorm_0"), 0)
    y = conv(y, made[f"{name}Conv_1/kernel"], 1)
    y = group_norm(y, made, f"{name}MyGroupNorm_1")
    if f"{name}conv_proj/kernel" in made:
        x = conv(x, made[f"{name}conv_proj/kernel"], stride)
        x = group_norm(x, made, f"{name}norm_proj")
    return np.maximum(x + y, 0)


def windows(x: np.ndarray, size: int, stride: int, before: int | None, edge: float) -> np.ndarray:
    """(h, w, size, size, C): what each place of the output looks at; h = ceil(H / stride).

    `before` lines are added before the picture; None: half of all that are needed, the odd one behind.
    """
    places = [-(-side // stride) for side in x.shape[:2]]
    pads = []
    for count, side in zip(places, x.shape[:2], strict=True):
        needed = max((count - 1) * stride + size - side, 0)
        first = needed // 2 if before is None else before
        pads.append((first, max(needed - first, 0)))
    x = np.pad(x, [*pads, (0, 0)], constant_values=edge)
    rows = range(0, places[0] * stride, stride)
    columns = range(0, places[1] * stride, stride)
    return np.array([[x[i : i + size, j : j + size] for j in columns] for i in rows])


def conv(x: np.ndarray, kernel: np.ndarray, stride: int, before: int | None = None) -> np.ndarray:
    return np.einsum("hwijc,ijcd->hwd", windows(x, len(kernel), stride, before, 0), kernel)


def group_norm(x: np.ndarray, made: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Four groups of neighbouring channels, each with its own mean and variance over the whole picture."""
    groups = x.reshape(*x.shape[:2], 4, -1)
    mean, var = groups.mean((0, 1, 3), keepdims=True), groups.var((0, 1, 3), keepdims=True)
    normal = ((groups - mean) / np.sqrt(var + 1e-5)).reshape(x.shape)
    return normal * made[f"{name}/scale"] + made[f"{name}/bias"]
