"""Parameter files: whole or not there, never taken for something else."""

import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robostack.core.errors import RobostackError, SpecMismatch, Unavailable
from robostack.store import params
from robostack.store.disk import write_whole

DTYPES = (np.float32, np.float64, np.float16, np.int32, np.int64, np.uint8, np.bool_)
arrays = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=10).filter(
        lambda s: s != "__metadata__"
    ),
    st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=3))
    ),
    max_size=4,
)


@given(arrays, st.integers(0, 10**7), st.dictionaries(st.text(), st.integers() | st.text()))
def test_parameters_come_back_bit_equal(tmp_path_factory, spec, weights, version, meta):
    folder = tmp_path_factory.mktemp("params")
    found = params.load(params.save(folder, version, weights, spec, meta), spec)
    assert (found.version, found.spec, found.meta) == (version, spec, meta)
    assert found.arrays.keys() == weights.keys()
    for name, array in weights.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()


def test_an_array_seen_backwards_or_across_is_saved_as_it_looks(tmp_path, spec):
    array = np.arange(6.0).reshape(2, 3)
    path = params.save(tmp_path, 0, {"across": array.T, "backwards": array[::-1]}, spec)
    found = params.load(path).arrays
    np.testing.assert_array_equal(found["across"], array.T)
    np.testing.assert_array_equal(found["backwards"], array[::-1])


def test_every_flipped_byte_is_found(tmp_path, spec):
    path = params.save(tmp_path, 3, {"w": np.arange(5, dtype=np.float32)}, spec, {"score": 0.5})
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(RobostackError, match="damaged"):
            params.load(path)


def test_every_cut_is_found(tmp_path, spec):
    path = params.save(tmp_path, 3, {"w": np.arange(5, dtype=np.float32)}, spec)
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(RobostackError, match="damaged"):
            params.load(path)


@given(st.binary(max_size=100))
def test_garbage_is_one_clear_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("garbage") / "000000.safetensors"
    path.write_bytes(data)
    with pytest.raises(RobostackError, match="damaged or no parameter file"):
        params.load(path)


def test_a_missing_file_is_one_clear_error(tmp_path):
    with pytest.raises(Unavailable, match=r"cannot read .*000007.safetensors: no such file"):
        params.load(params.path_of(tmp_path, 7))


def test_another_spec_is_refused_with_its_differences(tmp_path, spec):
    path = params.save(tmp_path, 0, {}, spec)
    longer = replace(spec, period=0.2, action=(replace(spec.action[0], unit="mm"),))
    with pytest.raises(SpecMismatch) as caught:
        params.load(path, longer)
    for part in (
        "period: got 0.1 s, expected 0.2 s",
        "action.tool_step.unit: got m, expected mm",
        str(path),
    ):
        assert part in str(caught.value)


def test_an_unknown_format_is_refused_with_both_numbers(tmp_path, spec, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(params, "FORMAT", "2")
        path = params.save(tmp_path, 0, {}, spec)
    with pytest.raises(RobostackError, match="parameter format 2, this robostack reads 1"):
        params.load(path)


def test_versions_are_counted_and_old_ones_pruned_but_not_those_with_a_name(tmp_path, spec):
    folder = tmp_path / "params"
    assert params.latest_version(folder) == -1
    for version in (0, 1, 2, 3, 4, 1000000):
        params.save(folder, version, {}, spec)
    params.pin(folder, "best", 1)
    params.prune(folder, keep=2, pinned=[2])
    assert params.versions(folder) == [1, 2, 4, 1000000]
    assert params.latest_version(folder) == 1000000
    params.prune(folder, keep=100)
    assert params.versions(folder) == [1, 2, 4, 1000000]
    params.prune(folder, keep=0)
    assert params.versions(folder) == [1]


def test_the_best_version_is_remembered_and_replaced(tmp_path, spec):
    assert params.pinned_version(tmp_path) == -1
    for version in (4, 9):
        params.save(tmp_path, version, {}, spec)
        params.pin(tmp_path, "best", version)
        assert params.pinned_version(tmp_path, "best") == version
    with pytest.raises(RobostackError, match='cannot pin version 10 as "best"'):
        params.pin(tmp_path, "best", 10)
    assert params.pinned_version(tmp_path) == 9


WRITER = """
import sys
from pathlib import Path
import numpy as np
from robostack.core.spec import Spec
from robostack.store import params
for i in range(10**6):
    params.save(Path(sys.argv[1]), i % 3, {"w": np.full(50000, i, np.float32)}, Spec((), (), 0.1))
    print(i, flush=True)
"""


def test_no_reader_ever_sees_half_a_file_even_when_the_writer_is_killed(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    for _ in range(5):
        child.stdout.readline()
    for _ in range(100):
        for version in params.versions(tmp_path):
            values = params.load(params.path_of(tmp_path, version)).arrays["w"]
            assert values[0] % 3 == version
            assert (values == values[0]).all()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    for version in params.versions(tmp_path):
        params.load(params.path_of(tmp_path, version))


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "progress.json"
    write_whole(path, b"old")

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_room)
    with pytest.raises(
        Unavailable, match=r"cannot write .*progress.json: no space left on device; make"
    ):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
