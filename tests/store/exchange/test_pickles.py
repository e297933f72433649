"""Weights out of a pickle: dicts in dicts become arrays by path, whatever wrote them; anything else is one line."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robostack.core.errors import RobostackError
from robostack.store.exchange import pickles

WRITE = """
import pickle, sys
from collections import OrderedDict
import numpy as np

tree = {"a": {"kernel": np.arange(12, dtype=np.float32).reshape(3, 4).T, "bias": np.zeros(0)},
        "b": OrderedDict(c={"d": np.array([[1, -2]], np.int16)})}
with open(sys.argv[1], "wb") as file:
    pickle.dump(tree, file, int(sys.argv[2]))
"""


def write(path: Path, protocol: int = 4) -> Path:
    subprocess.run([sys.executable, "-c", WRITE, str(path), str(protocol)], check=True)
    return path


def read(path: Path) -> dict[str, np.ndarray]:
    with closing(pickles.read(path, "weights")) as frames:
        [found] = frames
    return found


@pytest.mark.parametrize("protocol", range(6))
def test_every_array_comes_out_by_its_path(tmp_path, protocol):
    found = read(write(tmp_path / "w.pkl", protocol))
    assert sorted(found) == ["a/bias", "a/kernel", "b/c/d"]
    assert np.array_equal(found["a/kernel"], np.arange(12).reshape(3, 4).T)
    assert found["a/bias"].shape == (0,)
    assert found["b/c/d"].tolist() == [[1, -2]] and found["b/c/d"].dtype == np.int16


def test_a_reader_of_transitions_refuses_weights_and_the_other_way_round(tmp_path):
    source = write(tmp_path / "w.pkl")
    with pytest.raises(RobostackError, match="it holds a dict, expected a list of transitions"):
        list(pickles.read(source, "transitions"))
    source.write_bytes(b"].")
    with pytest.raises(RobostackError, match="it holds a list, expected weights: a dict of arrays"):
        read(source)


@settings(max_examples=25)
@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_end_in_arrays_or_one_line(tmp_path_factory, places):
    good = tmp_path_factory.getbasetemp() / "weights.pkl"
    data = bytearray((good if good.exists() else write(good)).read_bytes())
    for place, value in places:
        data[int(place * (len(data) - 1))] = value
    bad = tmp_path_factory.mktemp("fuzz") / "bad.pkl"
    bad.write_bytes(data)
    try:
        assert all(isinstance(array, np.ndarray) for array in read(bad).values())
    except RobostackError as error:
        assert "\n" not in str(error)
