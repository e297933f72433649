"""Trunks: frozen image networks by name, each with its weights and their hash.

Pictures go in as the camera gives them; the network normalizes them itself, so serving and training cannot differ.
A file holds weights by path ("params/conv_init/kernel"), float32, as `save` writes them.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util

from robostack.core.errors import RobostackError, Unavailable, UnknownName
from robostack.learn.mirror_net import MirrorNet
from robostack.learn.resnet import ResNet10
from robostack.store import tensors
from robostack.store.disk import explained, write_whole

FORMAT = "1"
SHIPPED = Path(__file__).with_name("weights")
# name: (network, how its weights come to be where `load` looks)
NETS: dict[str, tuple[type[nn.Module], str]] = {
    "mirror": (MirrorNet, "they come with the package; install robostack again"),
    "resnet10": (
        ResNet10,
        "get resnet10_params.pkl from https://github.com/rail-berkeley/serl/releases/tag/resnet10, "
        "then: robostack weights import resnet10_params.pkl",
    ),
}
_SIZE = (1, 128, 128, 3)  # of the pictures that trunks are made for; weights do not depend on it
_TOLD = 4  # differences of a kind in one line


class WrongWeights(RobostackError):
    """Weights of another network than the one that should run them."""


@dataclass(frozen=True, eq=False)
class Trunk:
    """A frozen image network. `weights` is its flax tree, on the device; the hash is of the file they came from."""

    name: str
    sha256: str
    weights: dict
    module: nn.Module

    def features(self, weights: Mapping, pictures: jax.Array | np.ndarray) -> jax.Array:
        """(..., h, w, C) float32 of pictures (..., H, W, 3) uint8. Pure: for jit and vmap."""
        pictures = jnp.asarray(pictures)
        *leading, height, width, channels = pictures.shape
        flat = pictures.reshape(prod(leading), height, width, channels)
        found: Any = self.module.apply(weights, flat)
        return found.reshape(*leading, *found.shape[1:])

    def shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(h, w, C) of the features of one picture."""
        picture = jax.ShapeDtypeStruct((height, width, 3), jnp.uint8)
        h, w, channels = jax.eval_shape(self.features, self.weights, picture).shape
        return h, w, channels


def load(name: str, sha256: str = "") -> Trunk:
    """The trunk `name`, read once in a process. With `sha256`, no other weights than those.

    Raises UnknownName, Unavailable where the weights are missing with what to do, WrongWeights, and Damaged.
    """
    path = path_of(name)
    trunk = _load(name, path)
    if sha256 and sha256 != trunk.sha256:
        raise WrongWeights(
            f"trunk {name} in {path} has sha256 {trunk.sha256[:12]}…, expected {sha256[:12]}…: "
            "what was trained with other weights cannot see with these; put the file of the training there"
        )
    return trunk


def path_of(name: str) -> Path:
    """Where the weights of `name` lie, there or not: those that the user imported are kept outside the package."""
    if name not in NETS:
        raise UnknownName("trunk", name, NETS)
    return (SHIPPED if name == "mirror" else imported()) / f"{name}.safetensors"


def imported() -> Path:
    """The folder of imported weights (XDG base directory specification)."""
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base else Path.home() / ".local/share") / "robostack/weights"


def save(path: Path, name: str, arrays: Mapping[str, np.ndarray], source: str = "") -> str:
    """Writes weights by path, whole or not at all, and returns their hash. Raises WrongWeights before that.

    `source` says where they are from. Equal weights with an equal source give an equal file.
    """
    check(name, arrays, str(path))
    data = tensors.pack(arrays, {"format": FORMAT, "trunk": name, "source": source})
    with explained("make", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, data)
    return read(path)[0]["sha256"]


def read(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Labels ("trunk", "source", "sha256") and weights in a file. Raises RobostackError and Damaged."""
    try:
        labels, data = tensors.unpack(path)
        if labels["format"] != FORMAT:
            raise RobostackError(
                f"{path} has trunk format {labels['format']}, this robostack reads {FORMAT}"
            )
        labels = {"trunk": labels["trunk"], "source": labels["source"], **labels}
        return labels, tensors.arrays(data)
    except tensors.UNREADABLE as error:
        raise RobostackError(f"{path} is damaged or no trunk's weights: {error}") from None


def check(name: str, arrays: Mapping[str, np.ndarray], what: str) -> None:
    """Raises WrongWeights, with the differences in names and shapes, where `arrays` are not weights of `name`."""
    expected = {path: f"{leaf.dtype}{list(leaf.shape)}" for path, leaf in shapes(name).items()}
    got = {path: f"{array.dtype}{list(array.shape)}" for path, array in arrays.items()}
    wrong = _some(f"lacks {path} {expected[path]}" for path in sorted(expected.keys() - got))
    wrong += _some(f"has {path} {got[path]}" for path in sorted(got.keys() - expected))
    wrong += _some(
        f"{path} is {got[path]}, expected {expected[path]}"
        for path in sorted(got.keys() & expected)
        if got[path] != expected[path]
    )
    wrong = wrong or _some(
        f"{path} holds a value that is not finite"
        for path, array in sorted(arrays.items())
        if not np.isfinite(array).all()
    )
    if wrong:
        raise WrongWeights(f"{what} holds no weights of {name}: {'; '.join(wrong)}")


def _some(lines: Iterable[str]) -> list[str]:
    """The first few of them, and how many more there are."""
    every = list(lines)
    more = [f"and {len(every) - _TOLD} more like these"] if len(every) > _TOLD else []
    return every[:_TOLD] + more


def shapes(name: str) -> dict[str, jax.ShapeDtypeStruct]:
    """What its weights are, by path."""
    pictures = jax.ShapeDtypeStruct(_SIZE, jnp.uint8)
    made: Any = jax.eval_shape(network(name).init, jax.random.key(0), pictures)
    flat: Any = traverse_util.flatten_dict(made, sep="/")
    return flat


def network(name: str) -> nn.Module:
    """The network without weights."""
    if name not in NETS:
        raise UnknownName("trunk", name, NETS)
    return NETS[name][0]()


@cache
def _load(name: str, path: Path) -> Trunk:
    module = network(name)
    if not path.is_file():
        raise Unavailable(f"no weights of trunk {name} at {path}: {NETS[name][1]}")
    labels, arrays = read(path)
    check(name, arrays, str(path))
    weights = traverse_util.unflatten_dict(arrays, sep="/")
    # Kept for the whole process, so values even where the first to ask for them is a function being traced.
    with jax.ensure_compile_time_eval():
        return Trunk(name, labels["sha256"], jax.device_put(weights), module)
