"""Labels of frames, as a person edits them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robostack.core.errors import BadValue, RobostackError
from robostack.store import labels
from robostack.store.labels import NO, UNSURE, YES, Labels


@given(st.lists(st.sampled_from([NO, YES, UNSURE]), min_size=1, max_size=60))
def test_what_is_saved_is_loaded(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("labels")
    labels.save(folder, Labels("geometry", {"000001-practice.mcap": np.array(values, np.int8)}))
    found = labels.load(folder)
    assert found is not None and found.by == "geometry"
    assert found.frames["000001-practice.mcap"].tolist() == values
    assert found.counts() == {
        "episodes": 1,
        "success": values.count(YES),
        "no success": values.count(NO),
        "unsure": values.count(UNSURE),
    }


@given(st.sets(st.integers(0, 99)))
def test_ranges_and_back(chosen):
    text = labels.ranges(sorted(chosen))
    assert set(labels.numbers(text, 100, "here")) == chosen


def test_the_file_is_what_a_person_reads_and_writes(tmp_path):
    values = labels.made("2-4, 7", "1", 9, "here")
    path = labels.save(tmp_path, Labels(frames={"000000-solo.mcap": values}))
    entry = json.loads(path.read_text())["episodes"]["000000-solo.mcap"]
    assert entry == {"frames": 9, "success": "2-4, 7", "unsure": "1"}
    assert values.tolist() == [0, -1, 1, 1, 1, 0, 0, 1, 0]


def test_nothing_is_known_of_a_folder_without_labels(tmp_path):
    assert labels.load(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is no file of labels"),
        ('{"format": 2}', "is no file of labels"),
        ("{", "is not JSON"),
        ('{"format": 1, "episodes": 3}', '"episodes" is 3, expected labels by file name'),
        ('{"format": 1, "episodes": {"a": {"frames": 3, "good": ""}}}', "expected \"frames\""),
        ('{"format": 1, "episodes": {"a": {"success": "1"}}}', "frames is None"),
        ('{"format": 1, "episodes": {"a": {"frames": 3, "success": 1}}}', "ranges as text"),
        ('{"format": 1, "episodes": {"a": {"frames": 3, "success": "1-3"}}}', "of its 3 frames"),
        ('{"format": 1, "episodes": {"a": {"frames": 9, "success": "3-1"}}}', '"3-1" is no range'),
        ('{"format": 1, "episodes": {"a": {"frames": 9, "unsure": "x"}}}', '"x" is no range'),
    ],
)  # fmt: skip
def test_a_slip_of_the_hand_is_one_line_that_names_the_place(tmp_path, text, said):
    (tmp_path / labels.FILE).write_text(text)
    with pytest.raises(RobostackError) as caught:
        labels.load(tmp_path)
    assert said in str(caught.value) and str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_range_past_the_end_is_refused_with_the_number_of_frames():
    with pytest.raises(BadValue, match='here: "5-9" is no range of its 9 frames'):
        labels.made("5-9", "", 9, "here")
