"""The learner's disk: only what is durable is acknowledged, twice equals once, and a cut loses nothing acknowledged."""

import errno
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robostack.core.errors import Unavailable
from robostack.store.episode import episode_paths
from robostack.store.link import message as m
from robostack.store.link.outbox import Outbox
from robostack.store.link.pace import LARGEST, SMALLEST, Backoff, Window
from robostack.store.link.receiver import OutOfStep, Receiver, digest, tail
from tests.store.link.rig import Actor, prefix_of

NAME = "000000-practice.mcap"


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    Actor(folder).episode(0, 8)
    return (folder / NAME).read_bytes()


def piece(data: bytes, offset: int = 0) -> m.Piece:
    return m.Piece(NAME, offset, data)


def take(receiver: Receiver, data: bytes, offset: int = 0) -> m.Ack:
    [ack] = receiver.take([piece(data, offset)])
    assert isinstance(ack, m.Ack)
    return ack


SHARES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.4), st.booleans()), max_size=12)


@settings(max_examples=60)
@given(SHARES)
def test_pieces_in_any_sizes_and_repeats_make_the_same_file(tmp_path_factory, whole, shares):
    folder = tmp_path_factory.mktemp("pieces")
    receiver, done = Receiver(folder), 0
    for back, on, is_new in [*shares, (1.0, 1.0, False)]:
        start = int(back * done)
        stop = min(len(whole), max(start + 1, done + int(on * len(whole))))
        ack = take(receiver, whole[start:stop], start)
        done = max(done, stop)
        if ack.is_finished:
            break
        assert ack.received == done
        assert prefix_of(folder / NAME).size == ack.durable <= done
        if is_new:
            receiver = Receiver(folder)  # another process, which knows only the file
            done = receiver.have(m.Offer(NAME, len(whole), "")).received
            assert done >= ack.durable
    assert (folder / NAME).read_bytes() == whole


def test_nothing_is_acknowledged_before_the_disk_has_it(tmp_path, whole, monkeypatch):
    synced = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda handle: synced.append(handle) or sync(handle))
    receiver = Receiver(tmp_path)
    for start in range(0, len(whole), 1000):
        synced.clear()
        receiver.take([piece(whole[start : start + 1000], start)])
        assert len(synced) == 1
    monkeypatch.setattr(os, "fdatasync", _refuse)
    (tmp_path / "other").mkdir()
    with pytest.raises(Unavailable, match="no space left"):
        Receiver(tmp_path / "other").take([piece(whole)])


def _refuse(handle: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_pieces_that_came_together_are_synced_together(tmp_path, whole, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    receiver = Receiver(tmp_path)
    acks = receiver.take([piece(whole[i : i + 100], i) for i in range(0, len(whole), 100)])
    assert len(synced) == len(acks) == 1


def test_a_file_is_on_the_disk_before_the_next_one_begins(tmp_path, whole, monkeypatch):
    """A power cut between the two must not show readers the second one behind a first one that is short."""
    order: list[str] = []
    sync = os.fdatasync

    def note(handle: int) -> None:
        order.append(os.path.basename(os.readlink(f"/proc/self/fd/{handle}")))
        assert sorted(path.name for path in episode_paths(tmp_path)) == names[: len(order)]
        sync(handle)

    names = [NAME, "000001-practice.mcap"]
    monkeypatch.setattr(os, "fdatasync", note)
    Receiver(tmp_path).take([piece(whole), m.Piece(names[1], 0, whole)])
    assert order[0] == NAME and names[1] in order


def test_a_gap_and_other_bytes_change_nothing(tmp_path, whole):
    receiver = Receiver(tmp_path)
    ack = take(receiver, whole[:5000])
    before = prefix_of(tmp_path / NAME).size
    with pytest.raises(OutOfStep, match="got bytes from 6000 on, expected 5000"):
        receiver.take([piece(whole[6000:], 6000)])
    with pytest.raises(OutOfStep, match="differ"):
        receiver.take([piece(b"x" * 100, 100)])
    assert prefix_of(tmp_path / NAME).size == before == ack.durable
    start = receiver.have(m.Offer(NAME, len(whole), "")).received
    receiver.take([piece(whole[start:], start)])
    assert (tmp_path / NAME).read_bytes() == whole


def test_what_a_power_cut_left_behind_the_last_whole_step_is_sent_again(tmp_path, whole):
    """Zeros or garbage at the end, as file systems leave them: they were never acknowledged."""
    ack = take(Receiver(tmp_path), whole[:6000])
    with open(tmp_path / NAME, "r+b") as file:
        file.truncate(ack.durable)
        file.truncate(9000)
    receiver = Receiver(tmp_path)
    have = receiver.have(m.Offer(NAME, len(whole), ""))
    assert have.received == ack.durable
    receiver.take([piece(whole[ack.durable :], ack.durable)])
    assert (tmp_path / NAME).read_bytes() == whole


def test_a_finished_file_is_recognized_by_its_end_without_reading_it(tmp_path, whole, monkeypatch):
    Receiver(tmp_path).take([piece(whole)])
    monkeypatch.setattr(Receiver, "_open", None)
    have = Receiver(tmp_path).have(m.Offer(NAME, len(whole), tail(tmp_path / NAME)))
    assert have == m.Have(NAME, len(whole), "", True)


def test_one_actor_may_be_served_from_several_threads(tmp_path, whole):
    receiver = Receiver(tmp_path)

    def send() -> None:
        for start in range(0, len(whole), 997):
            receiver.take([piece(whole[: start + 997])])

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / NAME).read_bytes() == whole


def test_an_outbox_sends_a_files_last_byte_before_the_next_files_first(tmp_path):
    actor, outbox = Actor(tmp_path), Outbox(tmp_path)
    for index in range(3):
        actor.episode(index, 4)
    outbox.look()
    sent: dict[str, int] = {}
    while offer := outbox.offer():
        outbox.answered(m.Have(offer.episode, 0, digest(tmp_path / offer.episode, 0), False))
    while piece := outbox.piece(300):
        if piece.episode not in sent:
            assert all(size == (tmp_path / name).stat().st_size for name, size in sent.items())
        sent[piece.episode] = piece.offset + len(piece.data)
    assert list(sent) == [path.name for path in episode_paths(tmp_path)]


def test_a_window_holds_what_the_path_takes_in_some_seconds():
    """A path of 20 kB/s never has more than a few seconds of data before a sign of life; a fast one opens up."""
    for rate, least, most in ((20e3, 0, 8 * SMALLEST), (1e9, LARGEST // 2, LARGEST + 1)):
        window, now, queue, free_at, total = Window(), 0.0, [], 0.0, 0
        while now < 120.0:
            while count := window.piece:
                total += count
                window.sent("x", total, count, now)
                free_at = max(now, free_at) + count / rate
                queue.append((free_at + 0.05, total))
            now, end = queue.pop(0)
            window.acknowledged("x", end, now)
        assert least <= window.size <= most
        assert free_at - now < 5.0


def test_bytes_that_are_never_acknowledged_do_not_fill_the_window_for_ever():
    window = Window()
    while count := window.piece:
        window.sent("refused", count, count, 0.0)
    window.dropped("refused")
    assert window.piece


def test_waits_double_up_to_a_limit_and_differ():
    backoff = Backoff()
    waits = [backoff.next() for _ in range(20)]
    assert 0.05 <= waits[0] <= 0.1 and max(waits) <= 2.0 and min(waits[7:]) >= 1.0
    assert len(set(waits)) > 10
    backoff.reset()
    assert backoff.next() <= 0.1
