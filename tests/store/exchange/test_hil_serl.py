"""HIL-SERL's pickles: what is in them comes out, and nothing that a pickle can do happens."""

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from robostack.core.errors import RobostackError
from robostack.core.types import Who
from robostack.store.episode import episode_paths, recover
from robostack.store.exchange import hil_serl, pickles

EXCHANGE = Path(hil_serl.__file__).parent

# As examples/record_demos.py writes them, with the observations of its wrappers. A program of its own, like HIL-SERL.
RECORD = """
import sys, pickle
import numpy as np

path, protocol, trap = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rng = np.random.default_rng(3)

def observe():
    return {
        "state": rng.normal(size=(1, 5)),
        "wrist": rng.integers(0, 256, (1, 6, 8, 3), dtype=np.uint8),
        "side": np.asfortranarray(rng.integers(0, 256, (1, 4, 4, 3), dtype=np.uint8)),
    }

transitions = []
for episode in range(3):
    seen = observe()
    for t in range(4):
        then = observe()
        done = bool(t == 3 and episode != 1)  # the second one ran into its time limit
        infos = {"succeed": np.bool_(done), "intervene_action": np.zeros(3), "tags": {1, 2}}
        transitions.append(dict(
            observations=seen, actions=rng.uniform(-1, 1, 3).astype(np.float32), next_observations=then,
            rewards=np.float64(done), masks=1.0 - done, dones=done, infos=infos))
        seen = then
item = transitions[7]
if trap == "no masks": del item["masks"]
if trap == "no state": del item["observations"]["state"]
if trap == "objects": item["actions"] = np.array([None, 1, 2], object)
if trap == "fields": item["actions"] = np.zeros(3, [("x", "f4")])
if trap == "text": item["rewards"] = "much"
if trap == "list": item["actions"] = [0.0, 0.0, 0.0]
if trap == "NaN": item["actions"] = np.full(3, np.nan)
if trap == "shape": item["observations"]["wrist"] = np.zeros((1, 2, 2, 3), np.uint8)
if trap == "size": item["actions"] = np.zeros(4)
if trap == "depth": transitions[0]["observations"]["depth"] = np.zeros((1, 4, 4, 1), np.uint16)
if trap == "not dicts": transitions[7] = (1, 2)
if trap == "no list": transitions = {"a": 1}
if trap == "empty": transitions = []
with open(path, "wb") as file:
    pickle.dump(transitions, file, protocol)
if trap == "truth":
    np.savez(path + ".npz", action=[t["actions"] for t in transitions],
        **{n: [t["observations"][n][0] for t in transitions] for n in ("state", "wrist", "side")},
        **{"then_" + n: [t["next_observations"][n][0] for t in transitions] for n in ("state", "wrist")})
"""


def record(path: Path, protocol: int = 4, trap: str = "") -> Path:
    command = [sys.executable, "-c", RECORD, str(path), str(protocol), trap]
    subprocess.run(command, check=True)
    return path


@pytest.fixture(scope="module", params=range(6), ids=lambda protocol: f"protocol{protocol}")
def demos(request, tmp_path_factory) -> Path:
    return record(tmp_path_factory.mktemp("demos") / "demos.pkl", request.param, "truth")


def refusal(source: Path, folder: Path, **limits: int) -> str:
    """The one line that refuses `source`; the folder must not be there afterwards."""
    with pytest.raises(RobostackError) as caught:
        if limits:
            list(hil_serl.transitions(source, **limits))
        hil_serl.bring(source, folder)
    assert os.listdir(folder.parent) == [source.name] or not os.path.lexists(folder)
    line = str(caught.value)
    assert "\n" not in line and line
    return line


def test_every_number_and_picture_comes_out(demos, tmp_path):
    found = hil_serl.bring(demos, tmp_path / "new", robot="franka", task="usb")
    assert (found.episodes, found.steps) == (3, 12)
    truth, start = np.load(f"{demos}.npz"), 0
    for path in episode_paths(tmp_path / "new"):
        episode, spec, is_complete = recover(path)
        assert is_complete
        assert [term.name for term in spec.observation] == ["state"]
        part, start = slice(start, start + 4), start + 4
        assert np.array_equal(episode.observations[:-1], truth["state"][part].astype(np.float32))
        assert np.array_equal(
            episode.observations[-1], truth["then_state"][part][-1].astype(np.float32)
        )
        for camera in ("wrist", "side"):
            assert np.array_equal(episode.pictures[camera][:-1], truth[camera][part])
        assert np.array_equal(episode.pictures["wrist"][-1], truth["then_wrist"][part][-1])
        actions = np.array([step.action for step in episode.steps])
        assert np.array_equal(actions, truth["action"][part])
        assert {step.who for step in episode.steps} == {Who.PERSON}
        assert (episode.header.kind, episode.header.robot, episode.header.task) == (
            "demonstration",
            "franka",
            "usb",
        )


def test_episodes_are_cut_at_dones_and_where_the_time_limit_left_a_gap(demos, tmp_path):
    found = hil_serl.bring(demos, tmp_path / "new")
    ends = [recover(path).episode.steps[-1] for path in episode_paths(tmp_path / "new")]
    assert [step.terminated for step in ends] == [True, False, True]
    assert [step.truncated for step in ends] == [False, True, False]
    assert [step.reward for step in ends] == [1.0, 0.0, 1.0]
    [note] = found.notes
    assert note.startswith("1 of 10 next observations are not the observation of the step after")


def test_numpy_1_names_are_read_too(tmp_path):
    source = record(tmp_path / "demos.pkl", 2)
    data = source.read_bytes()
    old = data.replace(b"cnumpy._core.", b"cnumpy.core.")
    source.write_bytes(old)
    assert old != data
    assert hil_serl.bring(source, tmp_path / "new").steps == 12


@pytest.mark.parametrize(
    ("trap", "line"),
    [
        ("no masks", "transition 7 has no masks; it has: observations, actions"),
        ("no state", 'transition 6 has no "state" in its next_observations; there is: side, wrist'),
        ("objects", "dtype 'O8', expected plain numbers"),
        ("fields", "expected plain numbers"),
        ("text", "transition 7: rewards is a str, expected a number"),
        ("list", "transition 7: actions is a list, expected an array"),
        ("NaN", "transition 7 holds a value that is not finite"),
        ("shape", "transition 6 has other shapes than the first"),
        ("size", "transition 7 has other shapes than the first"),
        ("depth", "observation depth is uint16 (1, 4, 4, 1), expected pictures uint8 (1, H, W, 3)"),
        ("not dicts", "item 7 is a tuple, expected a transition (dict)"),
        ("no list", "it holds a dict, expected a list of transitions"),
        ("empty", "holds no transition"),
    ],
)
def test_what_is_no_demonstration_is_refused_in_one_line(tmp_path, trap, line):
    said = refusal(record(tmp_path / "demos.pkl", 4, trap), tmp_path / "new")
    assert line in said and str(tmp_path / "demos.pkl") in said


def call(module: str, name: str, *words: str) -> bytes:
    """A pickle that calls module.name(words) when it is loaded."""
    pushed = b"".join(b"X" + struct.pack("<I", len(word)) + word.encode() for word in words)
    return f"c{module}\n{name}\n(".encode() + pushed + b"tR."


def named(module: str, name: str) -> bytes:
    """The same by STACK_GLOBAL, where a name may hold dots."""
    words = b"".join(b"\x8c" + bytes([len(x)]) + x.encode() for x in (module, name))
    return b"\x80\x04" + words + b"\x93)R."


NAMES = """
    os.system posix.system subprocess.Popen builtins.eval builtins.exec __builtin__.eval builtins.getattr
    builtins.__import__ builtins.open builtins.list builtins.bytearray numpy.load numpy.fromfile numpy.memmap
    numpy.save numpy.f2py.diagnose.run numpy.f2py.compile numpy.testing._private.utils.runstring
    numpy.distutils.exec_command.exec_command numpy.core.multiarray.fromfile numpy._core.multiarray.set_string_function
    numpy.lib.npyio.load runpy.run_path importlib.import_module pty.spawn socket.socket ctypes.CDLL
    copyreg._reconstructor pickle.loads functools.partial operator.attrgetter types.CodeType webbrowser.open
    codecs.decode jax.numpy.array torch._utils._rebuild_tensor_v2
""".split()


@pytest.mark.parametrize("dotted", NAMES)
def test_every_other_name_is_refused_by_its_name_and_does_nothing(tmp_path, dotted):
    module, _, name = dotted.rpartition(".")
    source, mark = tmp_path / "bad.pkl", tmp_path / "mark"
    for data in (call(module, name, f"touch {mark}"), named(module, name)):
        source.write_bytes(data)
        assert f"it asks for '{dotted}', which no" in refusal(source, tmp_path / "new")
        assert os.listdir(tmp_path) == [source.name]


def test_the_same_pickle_does_what_it_says_in_an_open_unpickler(tmp_path):
    source, mark = tmp_path / "bad.pkl", tmp_path / "mark"
    source.write_bytes(call("os", "system", f"touch {mark}"))
    load = f"import pickle; pickle.load(open({str(source)!r}, 'rb'))"
    subprocess.run([sys.executable, "-c", load], check=True)
    assert mark.exists()


NAME = b"cnumpy\nndarray\n"
TRICKS = {
    # name: (pickle, what the line says)
    "a name inside a name": (named("numpy", "ndarray.tofile"), "asks for 'numpy.ndarray.tofile'"),
    "an object from outside": (b"Psecret\n.", "an object from outside"),
    "a registered extension": (b"\x80\x02\x82\x01.", "damaged or no pickle"),
    "new state for a name": (NAME + b"}X\x01\x00\x00\x00aK\x01sb.", "changes a name"),
    "a name as a class": (b"\x80\x02" + NAME + b")\x81.", "damaged or no pickle"),
    "an array that is too large": (
        b"\x80\x04cnumpy._core.multiarray\n_reconstruct\n"
        + NAME
        + b"\x85R(K\x01J\xff\xff\xff\x7f\x85"
        b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R\x89C\x08abcdefghtb.",
        "with 8 bytes, expected",
    ),
    "a negative size": (
        b"\x80\x04cnumpy._core.multiarray\n_reconstruct\n"
        + NAME
        + b"\x85R(K\x01J\xff\xff\xff\xff\x85"
        b"cnumpy\ndtype\nX\x02\x00\x00\x00f8\x85R\x89C\x08abcdefghtb.",
        "an array of shape",
    ),
    "bytes that are not there": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".", ""),
    "a byte array of a terabyte": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".", ""),
    "a frame of an exabyte": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.", ""),
    "lists a million deep": (b"\x80\x04" + b"]" * 1_000_000 + b"a" * 999_999 + b".", "item 0 is a"),
    # Its hash is computed by recursion in C, and runs out of stack.
    "a key a million deep": (b"\x80\x04})" + b"\x85" * 1_000_000 + b"Ns.", "refused"),
    "nothing": (b"", "damaged or no pickle: Ran out of input"),
    "text": (b"hello, robot\n", "damaged or no pickle"),
    "half a pickle": (b"\x80\x04](}", "damaged or no pickle"),
}


@pytest.mark.parametrize("name", TRICKS)
def test_every_trick_ends_in_one_line(tmp_path, name):
    source = tmp_path / "bad.pkl"
    source.write_bytes(TRICKS[name][0])
    line = refusal(source, tmp_path / "new")
    assert line.startswith(f"{source} is refused: ") and TRICKS[name][1] in line


def test_a_pickle_that_never_ends_is_ended(tmp_path):
    source = tmp_path / "bad.pkl"
    # t = (t, t), 60 times: 180 bytes whose hash takes 2⁶⁰ turns.
    source.write_bytes(b"\x80\x04})" + b"2\x86" * 60 + b"Ns.")
    assert "takes more than 1 s to read" in refusal(source, tmp_path / "new", seconds=1)


def test_a_pickle_that_grows_without_end_is_ended(tmp_path):
    source = tmp_path / "bad.pkl"
    # A list of a million, and then set after frozenset of texts made from it: some GB from 3 MB.
    copy = b"cbuiltins\nfrozenset\n" + b"h\x00\x85Ra"
    items = b"".join(b"J" + struct.pack("<i", number) for number in range(300_000))
    source.write_bytes(b"\x80\x02](" + items + b"eq\x000]" + copy * 2_000 + b".")
    line = refusal(source, tmp_path / "new", megabytes=300)
    assert "it wants more than 300 MB of memory" in line


LIMITED = """
import sys, socket, os
sys.path.insert(0, sys.argv[1])
import unpickle
file = open(sys.argv[2], "wb")
unpickle.limit(600, 5)
done = []
for name, act in dict(
    file=lambda: open(sys.argv[2]), socket=lambda: socket.socket(), pipe=os.pipe,
    write=lambda: (file.write(b"x"), file.flush()), memory=lambda: bytearray(700 << 20)).items():
    try:
        act()
        done.append(name)
    except (OSError, MemoryError):
        pass
print(done)
os._exit(0)
"""


def test_the_other_process_can_open_and_write_nothing(tmp_path):
    command = [sys.executable, "-c", LIMITED, str(EXCHANGE), str(tmp_path / "file")]
    ignored = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    command[2] = ignored + command[2]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_other_process_uses_the_standard_library_alone(tmp_path):
    walled = f"import sys, runpy; sys.argv = ['x']; runpy.run_path({str(pickles.PROGRAM)!r}); "
    walled += "print(sorted({'numpy', 'robostack'} & {n.partition('.')[0] for n in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", walled], capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_what_is_no_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for name in ("fifo", "socket", "not_there", "."):
            with pytest.raises(RobostackError, match="cannot read|no file"):
                list(hil_serl.transitions(tmp_path / name))


@settings(max_examples=40)
@example(places=[(0.7423123588167865, 72)])  # a state too large for float32
@given(places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_flipped_bytes_end_in_episodes_or_one_line(tmp_path_factory, places):
    folder = tmp_path_factory.getbasetemp()
    good = folder / "fuzz.pkl"
    if not good.exists():
        record(good)
    data = bytearray(good.read_bytes())
    for place, value in places:
        data[int(place * (len(data) - 1))] = value
    bad = tmp_path_factory.mktemp("fuzz") / "bad.pkl"
    bad.write_bytes(data)
    try:
        hil_serl.bring(bad, bad.parent / "new")
    except RobostackError as error:
        assert "\n" not in str(error)
        assert os.listdir(bad.parent) == ["bad.pkl"]
