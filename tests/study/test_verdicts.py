"""False successes and misses, counted by hand."""

import math

import numpy as np
import pytest

from robostack.store.labels import NO, UNSURE, YES
from robostack.study.verdicts import Judged, calibrated, report


def judged(scores, labels, counts=None) -> Judged:
    scores = np.array(scores, float)
    counts = np.ones(len(scores), bool) if counts is None else np.array(counts, bool)
    kinds = {".": NO, "x": YES, "?": UNSURE}
    return Judged(scores, counts, np.array([kinds[c] for c in labels], np.int8))


def test_only_what_comes_before_the_first_success_can_be_a_false_one():
    episode = judged([1, 5, 2, 9, 9, 8], "....x.")
    assert episode.highest_false(1, 1) == 9.0
    assert judged([1, 5, 2, 0, 9, 8], "....x.").highest_false(1, 1) == 5.0
    assert judged([1, 5, 2, 0, 9, 8], "......").highest_false(1, 1) == 9.0
    assert judged([9, 9], "xx").highest_false(1, 1) == -math.inf


def test_frames_of_which_nobody_is_sure_are_no_false_success():
    assert judged([1, 7, 9, 9], ".??x").highest_false(1, 1) == 1.0


def test_one_high_frame_is_no_false_success_where_two_must_agree():
    episode = judged([1, 9, 1, 8, 7, 0], "......")
    assert episode.highest_false(1, 1) == 9.0
    assert episode.highest_false(2, 2) == 7.0
    assert episode.highest_false(2, 3) == 8.0


def test_a_frame_that_misses_a_condition_counts_for_nothing():
    assert judged([1, 9, 3], "...", counts=[1, 0, 1]).highest_false(1, 1) == 3.0


def test_the_threshold_keeps_its_promise_on_new_episodes_and_lies_no_lower_than_its_floor():
    rng, alpha = np.random.default_rng(0), 0.1

    def episodes(count):
        return [judged(np.cumsum(rng.normal(size=30)), "." * 30) for _ in range(count)]

    rates = []
    for _ in range(60):
        threshold = calibrated(episodes(19), alpha, 2, 3)
        rates.append(np.mean([e.highest_false(2, 3) > threshold for e in episodes(60)]))
    assert np.mean(rates) == pytest.approx(alpha, abs=0.025)
    assert calibrated(episodes(19), alpha, 2, 3, floor=1e6) == 1e6
    assert calibrated(episodes(8), alpha, 2, 3) == math.inf


def test_a_call_counts_while_it_is_done_and_as_long_as_the_last_frames_say_so():
    scores = [0, 0, 9, 9, 9, 0]
    assert judged(scores, ".xxxx.").found(5, 1, 1) == 2
    assert judged(scores, ".xxxx.").found(5, 2, 2) == 3
    assert judged([0, 0, 0, 9, 9, 0], "..xx..").found(5, 2, 2) == 4
    assert judged([0, 0, 0, 0, 0, 9], ".xx...").found(5, 1, 1) is None
    assert judged([0] * 6, ".xxxx.").found(5, 1, 1) is None


def test_delay_counts_from_when_enough_frames_were_done():
    passing = judged([0, 0, 0, 0, 0, 9, 9, 9], ".x..xxxx")
    assert (passing.begun(2, 3), passing.found(5, 2, 3)) == (5, 6)
    assert report([passing], 5.0, 2, 3).delay == 1.0
    early = judged([0, 0, 9, 9, 9], "...xx")
    assert (early.begun(2, 2), early.found(5, 2, 2)) == (4, 3)
    assert report([early], 5.0, 2, 2).delay == 0.0


def test_the_report_counts_frames_and_episodes():
    episodes = [
        judged([0, 9, 0, 9, 9], "...xx"),  # a false success, then found at once
        judged([0, 0, 0, 0, 9], "...xx"),  # one frame missed, found a step late
        judged([0, 0, 0, 0, 0], "...xx"),  # missed
        judged([0, 0, 0, 0, 0], "....."),
    ]
    found = report(episodes, 5.0, 1, 1)
    assert (found.false_frames.hits, found.false_frames.of) == (1, 14)
    assert (found.missed_frames.hits, found.missed_frames.of) == (3, 6)
    assert (found.false_episodes.hits, found.false_episodes.of) == (1, 4)
    assert (found.missed_episodes.hits, found.missed_episodes.of) == (1, 3)
    assert found.delay == 0.5
    for rate in (found.false_frames, found.missed_frames, found.false_episodes):
        assert rate.low <= rate.share <= rate.high
    assert found.missed_episodes.text == "1 of 3 (33.3 %, 95 % interval 0.8 to 90.6 %)"


def test_without_conditions_frames_count_that_miss_them():
    episodes = [judged([0, 9, 9, 9], "..xx", counts=[1, 0, 1, 1])] * 3
    assert report(episodes, 5.0, 1, 1).false_episodes.hits == 0
    assert report(episodes, 5.0, 1, 1, with_conditions=False).false_episodes.hits == 3


def test_a_success_shorter_than_the_frames_that_must_agree_is_not_called_missed():
    episodes = [judged([0, 9, 0], ".x."), judged([0, 9, 9], ".xx")]
    assert report(episodes, 5.0, 2, 2).missed_episodes.of == 1


def test_no_error_in_few_episodes_is_no_proof_however_many_frames_they_have():
    episodes = [judged([0.0] * 500, "." * 500) for _ in range(10)]
    rate = report(episodes, 5.0, 1, 1).false_frames
    assert rate.share == 0.0 and rate.high == pytest.approx(0.3085, abs=1e-3)
