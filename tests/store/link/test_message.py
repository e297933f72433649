"""Messages: what goes in comes out, and what is none is one clear error, whatever the bytes are."""

import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.store.link import message as m

DIGEST = "0" * 64
TEXTS = {
    "episode": st.integers(0, 10**6).map(lambda i: f"{i:06d}-practice.mcap"),
    "digest": st.just(DIGEST),
    "tail": st.sampled_from(["", DIGEST]),
    "seat": st.just(DIGEST),
    "config": st.text(max_size=50),
    "reason": st.text("abc ä", max_size=50),
    "actor": st.sampled_from(["", "left", "a.b_c-d"]),
}
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,30}", fullmatch=True).filter(m.is_name)


def of_kind(kind) -> st.SearchStrategy:
    by_type = {int: st.integers(0, 2**53), bool: st.booleans(), bytes: st.binary(max_size=100)}
    parts = {
        field.name: by_type[field.type] if field.type in by_type else TEXTS.get(field.name, NAMES)
        for field in fields(kind)
    }
    return st.builds(kind, **parts)


MESSAGES = st.one_of([of_kind(kind) for kind in m.KINDS])


@given(MESSAGES)
def test_what_is_encoded_parses_to_the_same(message):
    assert m.parse(m.encode(message), *m.KINDS) == message


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_one_clear_line(data):
    parse_or_complain(data)


@given(st.sampled_from(range(len(m.KINDS))), st.binary(max_size=200), st.binary(max_size=50))
def test_any_head_is_a_message_or_one_clear_line(kind, head, body):
    start = bytes([m.PROTOCOL, kind]) + len(head).to_bytes(4, "little")
    parse_or_complain(start + head + body)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.sampled_from(m.KINDS), st.data())
def test_any_values_in_the_right_fields_are_a_message_or_one_clear_line(kind, data):
    names = [field.name for field in fields(kind) if field.name != "data"]
    head = json.dumps({name: data.draw(VALUES) for name in names}).encode()
    start = bytes([m.PROTOCOL, m.KINDS.index(kind)]) + len(head).to_bytes(4, "little")
    parse_or_complain(start + head)


@given(MESSAGES, st.data())
def test_a_damaged_message_is_a_message_or_one_clear_line(message, data):
    bytes_ = bytearray(m.encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        bytes_[data.draw(st.integers(0, len(bytes_) - 1))] = data.draw(st.integers(0, 255))
    parse_or_complain(bytes(bytes_[: data.draw(st.integers(0, len(bytes_)))]))


def parse_or_complain(data: bytes) -> None:
    try:
        found = m.parse(data, *m.KINDS)
    except m.BadMessage as error:
        assert str(error) and str(error).isprintable()
        return
    assert m.parse(m.encode(found), *m.KINDS) == found


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_million_damaged_messages_are_messages_or_one_clear_line():
    rng = np.random.default_rng(0)
    good = [
        m.Hello("run", "a1", "left", DIGEST, '{"steps": 3}', True),
        m.Piece("000001-practice.mcap", 12, b"bytes"),
        m.Ack("000001-practice.mcap", 100, 90, 3, False),
        m.News(3, 1000, DIGEST),
    ]
    encoded = [np.frombuffer(m.encode(message), np.uint8) for message in good]
    for number in range(1_000_000):
        data = encoded[number % len(encoded)].copy()
        places = rng.integers(0, len(data), rng.integers(1, 5))
        data[places] = rng.integers(0, 256, len(places))
        parse_or_complain(data[: rng.integers(1, len(data) + 40)].tobytes())


@pytest.mark.parametrize(
    "name",
    ["", "../x", "a/b", ".hidden", "cut", "a" * 200, "a\0b", "ü", "a b", "-x"],
)
def test_no_name_leads_out_of_its_folder(name):
    assert not m.is_name(name)
    with pytest.raises(m.BadMessage):
        m.Pin(name, 0)
    with pytest.raises(m.BadMessage):
        m.Fetch(name, 0, 0, 1)
    for episode in (name, f"{name}/000000-practice.mcap", f"000000-{name}.mcap/../../x"):
        with pytest.raises(m.BadMessage):
            m.Piece(episode, 0, b"")


def test_another_protocol_is_refused_with_both_numbers():
    with pytest.raises(m.BadMessage, match=r"protocol 7, this robostack 1; install the same"):
        m.parse(b"\x07" + m.encode(m.Beat())[1:], m.Beat)


def test_a_kind_that_is_not_due_is_refused():
    with pytest.raises(m.BadMessage, match="expected Hello"):
        m.parse(m.encode(m.Beat()), m.Hello)


def test_a_message_too_large_is_refused():
    with pytest.raises(m.BadMessage, match="which no data can be"):
        m.Piece("000000-practice.mcap", 0, bytes(m.LARGEST + 1))
    with pytest.raises(m.BadMessage, match="expected 6 to"):
        m.parse(bytes([1, 0]) + bytes(m.LARGEST_MESSAGE), m.Hello)


def test_deep_nesting_is_refused_and_not_followed():
    head = b"[" * 100_000
    with pytest.raises(m.BadMessage, match="not JSON"):
        m.parse(bytes([m.PROTOCOL, 0]) + len(head).to_bytes(4, "little") + head, m.Hello)
