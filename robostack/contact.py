"""Contact sheets: many small pictures with a caption each, for people to look at."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from robostack.store.labels import NO, UNSURE, YES

COLOURS = {YES: (60, 170, 60), NO: (150, 150, 150), UNSURE: (30, 190, 240)}  # BGR
EDGE, CAPTION = 3, 15  # px
MOST = 120  # tiles on a sheet
LEAST_HEIGHT = 96  # px; smaller pictures are enlarged


class Tile(NamedTuple):
    """All cameras of one frame, side by side."""

    pictures: Mapping[str, np.ndarray]  # (H, W, 3) uint8 RGB by camera
    caption: str
    label: int  # YES, NO or UNSURE: the colour around it


def side_by_side(pictures: Mapping[str, np.ndarray]) -> np.ndarray:
    """(h, w, 3) uint8 BGR, all as high as the highest."""
    height = max(LEAST_HEIGHT, *(picture.shape[0] for picture in pictures.values()))
    found = []
    for _, picture in sorted(pictures.items()):
        width = round(picture.shape[1] * height / picture.shape[0])
        same = picture.shape[0] == height
        found.append(picture if same else cv2.resize(picture, (width, height)))
    return np.ascontiguousarray(np.hstack(found)[:, :, ::-1])


def sheet(tiles: Sequence[Tile], columns: int = 6) -> np.ndarray:
    """(H, W, 3) uint8 BGR of tiles whose pictures have the same sizes, row by row."""
    drawn = [_drawn(tile) for tile in tiles]
    blank = np.full_like(drawn[0], 255)
    drawn += [blank] * (-len(drawn) % columns if len(drawn) > columns else 0)
    rows = [np.hstack(drawn[i : i + columns]) for i in range(0, len(drawn), columns)]
    return np.vstack(rows)


def png(tiles: Sequence[Tile], columns: int = 6) -> bytes:
    """The sheet as a file's bytes."""
    return cv2.imencode(".png", sheet(tiles, columns))[1].tobytes()


def _drawn(tile: Tile) -> np.ndarray:
    picture = side_by_side(tile.pictures)
    colour = COLOURS[tile.label]
    framed = cv2.copyMakeBorder(picture, EDGE, EDGE, EDGE, EDGE, cv2.BORDER_CONSTANT, value=colour)
    strip = np.full((CAPTION, framed.shape[1], 3), 255, np.uint8)
    cv2.putText(
        strip, tile.caption, (3, 11), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (20, 20, 20), 1, cv2.LINE_AA
    )
    return np.pad(np.vstack([strip, framed]), ((0, 4), (0, 4), (0, 0)), constant_values=255)
