"""Everything that parses what others wrote: what each may raise, and real inputs to begin from."""

import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from robostack import config as configs
from robostack.config import RunConfig
from robostack.core.errors import RobostackError
from robostack.core.spec import Spec
from robostack.core.types import Sample
from robostack.learn import trunks
from robostack.store import episode as episodes
from robostack.store import params, reading, sensors, state, tensors, verify
from robostack.store.link import keys
from robostack.store.link import message as m
from tests.faults import oracle
from tests.faults.oracle import KIND, SPEC, Oracle
from tests.faults.spoil import (
    spoiled_bytes,
    spoiled_episode,
    spoiled_json,
    spoiled_message,
    spoiled_tensors,
)


@dataclass(frozen=True)
class Parser:
    """One way in."""

    name: str
    parse: Callable[[bytes], object]
    documented: tuple[type[Exception], ...]  # all that it may raise
    seeds: Callable[[], list[bytes]]
    spoil: Callable[[bytes, random.Random], bytes]

    def try_out(self, data: bytes) -> None:
        """Raises what is a finding, nothing else."""
        try:
            self.parse(data)
        except self.documented as error:
            line = str(error)
            assert "\n" not in line or not isinstance(error, RobostackError), f"two lines: {line}"


@cache
def _episodes() -> tuple[bytes, ...]:
    """Complete, cut, with pictures and without, and one of format 1."""
    truth, small = Oracle(size=4, steps=2), []
    with tempfile.TemporaryDirectory() as folder:
        writer = episodes.EpisodeWriter(folder, SPEC)
        loop = truth.loop(writer, oracle.Plant(truth))
        for index in range(2):
            loop.run(oracle.Policy(), KIND, index, index)
        small = [path.read_bytes() for path in episodes.episode_paths(folder)]
    first = Path(__file__).parents[1] / "store" / "format_1.mcap"
    return *small, small[0][: len(small[0]) * 9 // 10], first.read_bytes()


@cache
def _saved() -> tuple[bytes, bytes]:
    """Parameters, a checkpoint."""
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array([1])}
    with tempfile.TemporaryDirectory() as folder:
        first = params.save(Path(folder) / "params", 3, arrays, SPEC, {"updates": 5})
        about = {"counts": {"version": 1}, "seen": ["000000-practice.mcap"]}
        second = state.save(Path(folder), state.Checkpoint(7, arrays, SPEC, about, 0.5))
        return first.read_bytes(), second.read_bytes()


def _trunk() -> list[bytes]:
    labels = {"format": trunks.FORMAT, "trunk": "resnet10", "source": "here"}
    return [tensors.pack({"params/a": np.arange(6, dtype=np.float32)}, labels)]


def _messages() -> list[bytes]:
    name, some = "000003-practice.mcap", "ab" * 32
    return [
        m.encode(message)
        for message in (
            m.Hello("run", "0f", "left", some, json.dumps({"task": "reach"}), True),
            m.Welcome(),
            m.Offer(name, 5, ""),
            m.Have(name, 3, some, False),
            m.Retire(name),
            m.Piece(name, 3, b"bytes"),
            m.Ack(name, 8, 5, 1, True),
            m.Refused(name, "it is damaged"),
            m.Pin("best", 3),
            m.Note(b'{"phase":"practice"}'),
            m.News(3, 5000, some),
            m.Fetch("run", 3, 0, 1000),
            m.Beat(),
        )
    ]


def _json_seed(value: Any) -> list[bytes]:
    return [json.dumps(value).encode()]


def _picture() -> list[bytes]:
    samples = {"eye": Sample(0.0, np.arange(48, dtype=np.uint8).reshape(4, 4, 3))}
    return [bytes(message.data) for message in sensors.messages(samples)]


@cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="robostack-parsers-")


def _file() -> Path:
    """One that is written again and again."""
    return Path(_folder().name) / "000003-practice.mcap"


def _with_file(parse: Callable[[Path], object]) -> Callable[[bytes], object]:
    def run(data: bytes) -> object:
        _file().write_bytes(data)
        return parse(_file())

    return run


def _prefix(data: bytes) -> reading.Prefix:
    """In one piece and in several: the same must be known at the end, and never more than is there."""
    whole, parts, place = reading.Prefix(), reading.Prefix(), 0
    whole.feed(data)
    rng = random.Random(crc32(data))
    while place < len(data):
        piece = data[place : place + rng.choice((1, 50, 700, 5000))]
        place += len(piece)
        parts.feed(piece)
        assert parts.size <= place
    assert (whole.size, whole.steps, whole.is_finished) == (
        parts.size,
        parts.steps,
        parts.is_finished,
    )
    assert bool(whole.error) == bool(parts.error)
    return whole


def _recover(path: Path) -> None:
    """What is recovered is what the incremental check calls whole, and fits together."""
    found = episodes.recover(path)
    episode, steps = found.episode, len(found.episode.steps)
    assert len(episode.observations) == steps + 1
    assert all(len(film) == steps + 1 for film in episode.pictures.values())
    prefix = reading.Prefix()
    prefix.feed(path.read_bytes())
    assert steps == prefix.steps


def _message(data: bytes) -> None:
    found = m.parse(data, *m.KINDS)
    assert m.parse(m.encode(found), *m.KINDS) == found


def _from_json(make: Callable[[Any], object]) -> Callable[[bytes], object]:
    def run(data: bytes) -> object:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError):
            return None
        return make(value) if isinstance(value, dict) else None

    return run


ONE_LINE = (RobostackError,)
BAD_JSON = (KeyError, TypeError, ValueError, OverflowError, RobostackError)
PARSERS = (
    Parser("prefix", _prefix, (), lambda: list(_episodes()), spoiled_episode),
    Parser(
        "messages",
        lambda data: list(reading.messages(data)),
        (ValueError,),
        lambda: list(_episodes()),
        spoiled_episode,
    ),
    Parser("recover", _with_file(_recover), ONE_LINE, lambda: list(_episodes()), spoiled_episode),
    Parser(
        "outcome",
        _with_file(episodes.outcome),
        ONE_LINE,
        lambda: list(_episodes()[:2]),
        spoiled_episode,
    ),
    Parser(
        "verify",
        _with_file(verify.check),
        ONE_LINE,
        lambda: list(_episodes()),
        spoiled_episode,
    ),
    Parser("picture", sensors.picture, (ValueError,), _picture, spoiled_bytes),
    Parser(
        "text", sensors.from_text, (ValueError,), lambda: [sensors.to_text("some")], spoiled_bytes
    ),
    Parser("params", _with_file(params.load), ONE_LINE, lambda: [_saved()[0]], spoiled_tensors),
    Parser("state", _with_file(state.load), ONE_LINE, lambda: [_saved()[1]], spoiled_tensors),
    Parser("trunk", _with_file(trunks.read), ONE_LINE, _trunk, spoiled_tensors),
    Parser("message", _message, (m.BadMessage,), _messages, spoiled_message),
    Parser(
        "spec",
        _from_json(Spec.from_dict),
        BAD_JSON,
        lambda: _json_seed(SPEC.as_dict()),
        spoiled_json,
    ),
    Parser(
        "config",
        _from_json(configs.from_dict),
        ONE_LINE,
        lambda: _json_seed(asdict(RunConfig())),
        spoiled_json,
    ),
    Parser(
        "address",
        lambda data: keys.Address.parse(data.decode(errors="replace")),
        ONE_LINE,
        lambda: [b"[::1]:7447", b"learner.local:80"],
        spoiled_bytes,
    ),
)
BY_NAME = {parser.name: parser for parser in PARSERS}
