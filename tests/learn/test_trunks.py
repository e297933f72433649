"""Trunks by name: what is loaded is what was saved, what does not fit is refused in one line, features are pure."""

import jax
import numpy as np
import pytest
from flax import traverse_util

from robostack.core.errors import RobostackError, Unavailable, UnknownName
from robostack.learn import trunks
from robostack.learn.resnet import ResNet10
from robostack.store import tensors
from robostack.store.tensors import Damaged
from tests.learn import published


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A home with made-up weights of the published layout in it."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def home(folder, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(folder))
    path = trunks.path_of("resnet10")
    if not path.exists():
        trunks.save(path, "resnet10", made(1), "made up")
    return path


def made(seed):
    return {f"params/{name}": array for name, array in published.weights(seed).items()}


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def refusal(arrays):
    """The line that refuses these weights."""
    with pytest.raises(trunks.WrongWeights) as caught:
        trunks.check("resnet10", arrays, "file")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_trunk_is_loaded_once_with_the_weights_and_the_hash_of_its_file(home):
    trunk = trunks.load("resnet10")
    labels, arrays = trunks.read(home)
    assert trunks.load("resnet10") is trunk
    assert (trunk.name, trunk.sha256, labels["source"]) == ("resnet10", labels["sha256"], "made up")
    assert np.array_equal(
        trunk.weights["params"]["conv_init"]["kernel"], arrays["params/conv_init/kernel"]
    )
    assert trunk.shape(128, 128) == (4, 4, 512) and trunk.shape(96, 70) == (3, 3, 512)


def test_what_a_traced_function_loads_first_can_be_used_after_it(home):
    trunks._load.cache_clear()

    def shape(picture):
        return picture + trunks.load("resnet10").shape(128, 128)[0]

    jax.jit(shape)(np.float32(0))
    leaves = jax.tree.leaves(dict(trunks.load("resnet10").weights))
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in leaves)


def test_features_are_those_computed_by_hand():
    trunk, seen = trunks.load("resnet10"), pictures(2, 32, 32)
    got = jax.jit(trunk.features)(trunk.weights, seen)
    expected = [published.features(published.weights(1), picture) for picture in seen]
    assert got.shape == (2, 1, 1, 512) and got.dtype == np.float32
    np.testing.assert_allclose(got, np.array(expected), atol=1e-3)


def test_features_of_a_batch_are_those_of_each_picture():
    small = traverse_util.unflatten_dict(published.weights(1, (8,)), sep="/")
    trunk = trunks.Trunk("small", "", {"params": small}, ResNet10((8,)))
    seen, compiled = pictures(2, 3, 16, 24), jax.jit(trunk.features)
    each = np.array([[compiled(trunk.weights, one) for one in row] for row in seen])
    by_map = jax.jit(jax.vmap(trunk.features, (None, 0)))
    for found in (compiled(trunk.weights, seen), by_map(trunk.weights, seen)):
        np.testing.assert_allclose(found, each, atol=1e-4)
    assert compiled(trunk.weights, seen[:0]).shape == (0, 3, 4, 6, 8)


def test_the_file_of_equal_weights_is_equal_and_of_others_not(tmp_path):
    hashes = []
    for number, seed in enumerate((1, 1, 2)):
        path = tmp_path / f"{number}.safetensors"
        hashes.append(trunks.save(path, "resnet10", made(seed), "here"))
    assert hashes[0] == hashes[1] != hashes[2]
    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "1.safetensors").read_bytes()


def test_other_weights_than_those_of_the_training_are_refused(home):
    assert trunks.load("resnet10", trunks.load("resnet10").sha256)
    with pytest.raises(trunks.WrongWeights, match=f"{home} has sha256 .* expected 0123456789ab…"):
        trunks.load("resnet10", "0123456789abcdef")


def test_weights_of_another_network_are_refused_with_every_difference():
    others = made(1) | {
        "params/head/kernel": np.zeros((512, 10), np.float32),
        "params/conv_init/kernel": np.zeros((3, 3, 3, 64), np.float32),
        "params/norm_init/scale": np.ones(64),
    }
    del others["params/norm_init/bias"]
    said = refusal(others)
    assert said.startswith("file holds no weights of resnet10: ")
    assert "lacks params/norm_init/bias float32[64]; " in said
    assert "has params/head/kernel float32[512, 10]; " in said
    assert "conv_init/kernel is float32[3, 3, 3, 64], expected float32[7, 7, 3, 64]; " in said
    assert "norm_init/scale is float64[64], expected float32[64]" in said


def test_a_file_of_another_network_in_the_place_of_ours_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = trunks.path_of("resnet10")
    path.parent.mkdir(parents=True)
    labels = {"format": "1", "trunk": "resnet10", "source": ""}
    path.write_bytes(tensors.pack({"params/a": np.zeros(3, np.float32)}, labels))
    with pytest.raises(trunks.WrongWeights, match=f"{path} holds .*; has params/a float32.3."):
        trunks.load("resnet10")


def test_many_differences_are_counted():
    assert refusal({}).endswith("; and 32 more like these")


def test_weights_that_are_not_finite_are_refused_and_nothing_is_written(tmp_path):
    spoiled = made(1) | {"params/norm_init/bias": np.full(64, np.nan, np.float32)}
    with pytest.raises(
        trunks.WrongWeights, match="params/norm_init/bias holds a value that is not"
    ):
        trunks.save(tmp_path / "new/x.safetensors", "resnet10", spoiled)
    assert not list(tmp_path.iterdir())


def test_what_is_not_there_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(Unavailable, match="then: robostack weights import resnet10_params.pkl"):
        trunks.load("resnet10")
    with pytest.raises(UnknownName, match='no trunk "vgg"; there are: mirror, resnet10'):
        trunks.load("vgg")


@pytest.mark.parametrize("kind", ["flipped", "cut", "other", "empty"])
def test_a_damaged_file_is_refused(tmp_path, monkeypatch, home, kind):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    path = trunks.path_of("resnet10")
    path.parent.mkdir(parents=True)
    data = bytearray(home.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(
        {"flipped": data, "cut": data[:1000], "other": b"hello" * 99, "empty": b""}[kind]
    )
    with pytest.raises(Damaged if kind == "flipped" else RobostackError, match="damaged"):
        trunks.load("resnet10")


def test_imported_weights_lie_where_the_desktop_keeps_data(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = tmp_path / ".local/share/robostack/weights/resnet10.safetensors"
    assert trunks.path_of("resnet10") == expected
