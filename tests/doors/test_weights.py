"""`weights`: a published pickle becomes weights that compute what they should, and does nothing else that it could."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robostack import cli, weights
from robostack.learn import trunks
from tests.learn import published

# As SERL's authors wrote theirs: jax.Arrays of JAX 0.4, in dicts whose keys flax made one by one. A program of its own.
PUBLISH = """
import pickle, sys
import numpy as np

source, path, kind = sys.argv[1:]
if kind == "jax":
    import jax

class Array:
    def __init__(self, array): self.array = array
    def __reduce__(self):
        from jax._src.array import _reconstruct_array
        made, arguments, state = self.array.__reduce__()
        return _reconstruct_array, (made, arguments, state, {"weak_type": False, "named_shape": {}})

wrap = {"published": Array, "jax": lambda a: jax.numpy.asarray(a), "double": lambda a: a.astype(float)}
tree = {}
for name, array in np.load(source).items():
    # Words of the source are one object each, those that flax numbers are not.
    *folders, leaf = [p if p.startswith(("Conv_", "MyGr")) else sys.intern(p) for p in name.split("/")]
    inner = tree
    for part in folders:
        inner = inner.setdefault(part, {})
    inner[leaf] = wrap.get(kind, np.array)(array)
if kind == "again":
    tree = {"params": tree}
if kind == "less":
    del tree["ResNetBlock_2"]["norm_proj"]
if kind == "list":
    tree = [tree]
if kind == "word":
    tree["norm_init"]["scale"] = "much"
if kind == "round":
    tree["again"] = tree
if kind == "name":
    tree["a/b"] = tree.pop("conv_init")
if kind == "many":
    tree = {str(n): {str(m): np.array(tree["conv_init"]["kernel"], copy=False) for m in range(90)} for n in range(90)}
with open(path, "wb") as file:
    pickle.dump(tree, file, 2 if kind == "old" else 4)
"""


@pytest.fixture(scope="module")
def arrays(tmp_path_factory) -> Path:
    """Made-up weights, and the classifier that comes with the published ones."""
    made = published.weights(4) | {
        "output_head/kernel": np.zeros((512, 1000), np.float32),
        "output_head/bias": np.ones(1000, np.float32),
    }
    path = tmp_path_factory.mktemp("arrays") / "made.npz"
    np.savez(path, allow_pickle=False, **made)
    return path


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def publish(arrays: Path, path: Path, kind: str) -> Path:
    subprocess.run([sys.executable, "-c", PUBLISH, str(arrays), str(path), kind], check=True)
    return path


def refusal(source: Path, home: Path, capsys) -> str:
    """The one line that refuses `source`; nothing is left behind."""
    assert cli.main(["weights", "import", str(source)]) == 2
    said = capsys.readouterr().err.strip()
    assert "\n" not in said and said.startswith("robostack weights: ") and str(source) in said
    assert not home.exists()
    return said


def test_the_made_up_file_has_the_published_size_to_the_byte(arrays, tmp_path):
    """So the published one has these names and kinds; numpy 2 writes its name one byte longer, once."""
    data = publish(arrays, tmp_path / "resnet10_params.pkl", "published").read_bytes()
    assert data.count(b"numpy._core") == 1
    assert len(data) - 1 == published.SIZE == 21_677_915
    assert weights.PUBLISHED["resnet10"] == published.SHA256


@pytest.mark.parametrize("kind", ["published", "numpy", "jax", "old"])
def test_imported_weights_compute_the_features(arrays, tmp_path, home, capsys, kind):
    source = publish(arrays, tmp_path / "resnet10_params.pkl", kind)
    assert cli.main(["weights", "import", str(source)]) == 0
    trunk = trunks.load("resnet10")
    said = capsys.readouterr().out
    assert (
        f"38 arrays, {source.stat().st_size / 1e6:.1f} MB, sha256 {weights._sha256(source)}" in said
    )
    assert f"note: the file that SERL publishes has sha256 {published.SHA256}" in said
    assert f"resnet10.safetensors: 36 arrays, 19.6 MB, hash {trunk.sha256}" in said
    assert [path.name for path in home.rglob("*.*")] == ["resnet10.safetensors"]
    seen = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    expected = published.features(published.weights(4), seen)
    np.testing.assert_allclose(trunk.features(trunk.weights, seen), expected, atol=1e-3)


def test_the_published_file_is_known_by_its_checksum(arrays, tmp_path, capsys, monkeypatch):
    source = publish(arrays, tmp_path / "p.pkl", "numpy")
    monkeypatch.setitem(weights.PUBLISHED, "resnet10", weights._sha256(source))
    assert cli.main(["weights", "import", str(source)]) == 0
    assert "publishes" not in capsys.readouterr().out


def test_list_tells_hash_and_size_and_what_to_do(arrays, tmp_path, capsys):
    assert cli.main(["weights", "list"]) == 0
    assert "robostack weights import resnet10_params.pkl" in capsys.readouterr().out
    source = publish(arrays, tmp_path / "p.pkl", "numpy")
    cli.main(["weights", "import", str(source)])
    capsys.readouterr()
    assert cli.main(["weights", "list"]) == 0
    said, path = capsys.readouterr().out, trunks.path_of("resnet10")
    sha256 = trunks.read(path)[0]["sha256"]
    assert f"resnet10  {sha256}  4,905,792 weights, 19.6 MB, {path}" in said
    assert f"from a pickle with sha256 {weights._sha256(source)}" in said
    path.write_bytes(path.read_bytes()[:-1])
    assert cli.main(["weights", "list"]) == 1
    assert "damaged" in capsys.readouterr().out


def test_other_weights_in_the_place_of_some_are_told(arrays, tmp_path, capsys):
    cli.main(["weights", "import", str(publish(arrays, tmp_path / "1.pkl", "numpy"))])
    before = trunks.read(trunks.path_of("resnet10"))[0]["sha256"]
    capsys.readouterr()
    cli.main(["weights", "import", str(publish(arrays, tmp_path / "2.pkl", "numpy"))])
    assert "replaces" not in capsys.readouterr().out
    np.savez(tmp_path / "other.npz", allow_pickle=False, **published.weights(5))
    other = publish(tmp_path / "other.npz", tmp_path / "3.pkl", "numpy")
    cli.main(["weights", "import", str(other)])
    assert f"note: it replaces {before}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("less", "lacks params/ResNetBlock_2/norm_proj/bias float32[256]"),
        ("again", "has params/params/ResNetBlock_0/Conv_0/kernel float32[3, 3, 64, 64]"),
        ("double", "Conv_0/kernel is float64[3, 3, 64, 64], expected float32[3, 3, 64, 64]"),
        ("list", "it holds a list, expected weights: a dict of arrays"),
        ("word", "norm_init/scale is a str, expected an array"),
        ("round", "again/again/again"),
        ("name", "has a name that is no plain word"),
        ("many", "it unfolds to more than is in the file"),
    ],
)
def test_what_are_no_such_weights_is_refused_in_one_line(
    arrays, tmp_path, home, capsys, kind, line
):
    assert line in refusal(publish(arrays, tmp_path / "bad.pkl", kind), home, capsys)


@pytest.mark.parametrize("share", [0.999, 0.5, 0.0001, 0.0])
def test_a_cut_file_leaves_nothing(arrays, tmp_path, home, capsys, share):
    source = publish(arrays, tmp_path / "p.pkl", "numpy")
    data = source.read_bytes()
    source.write_bytes(data[: int(share * len(data))])
    assert "it is damaged or no pickle" in refusal(source, home, capsys)


def test_a_pickle_that_would_run_something_does_nothing(arrays, tmp_path, home, capsys):
    mark, source = tmp_path / "mark", tmp_path / "p.pkl"
    word = f"touch {mark}".encode()
    run = b"cos\nsystem\n(X" + struct.pack("<I", len(word)) + word + b"tR"
    for data in (run + b".", b"}X\x01\x00\x00\x00a" + run + b"s."):
        source.write_bytes(data)
        assert "it asks for 'os.system', which no plain data needs" in refusal(source, home, capsys)
    # An array of JAX is rebuilt here: what its pickle would have called is not called.
    inner = b"cjax._src.array\n_reconstruct_array\n(" + run + b"N}}tR."
    source.write_bytes(inner)
    refusal(source, home, capsys)
    assert os.listdir(tmp_path) == ["p.pkl"]


def test_a_folder_that_cannot_be_written_is_told(arrays, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    source = publish(arrays, tmp_path / "p.pkl", "numpy")
    assert cli.main(["weights", "import", str(source)]) == 2
    assert "cannot make" in capsys.readouterr().err
