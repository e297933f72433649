"""Pictures as datasets hold them: PNG bytes, which lose nothing, and H.264 films, which are small. All RGB, uint8."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from robostack.core.errors import RobostackError
from robostack.store.disk import explained

_IMAGES = {b"\x89PNG": "png", b"\xff\xd8\xff": "mjpeg"}  # how they begin: FFmpeg's name


def png(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) as a PNG file."""
    codec = VideoCodecContext.create("png", "w")
    codec.height, codec.width = picture.shape[:2]
    codec.pix_fmt, codec.time_base, codec.thread_count = "rgb24", Fraction(1), 1
    codec.options = {"compression_level": "1"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def picture_of(data: bytes) -> np.ndarray:
    """The picture (H, W, 3) in a PNG or JPEG file. Raises ValueError."""
    name = next((name for start, name in _IMAGES.items() if data[: len(start)] == start), None)
    if name is None:
        raise ValueError(f"neither PNG nor JPEG: it begins with {data[:4]!r}")
    codec = VideoCodecContext.create(
        name, "r"
    )  # a new one each time: PNG's remembers the one before
    codec.thread_count = 1
    try:
        frames = [*codec.decode(av.Packet(data)), *codec.decode(None)]  # pyright: ignore[reportAttributeAccessIssue]
        return frames[0].to_ndarray(format="rgb24")
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise ValueError(f"a damaged {name} picture: {error}") from None


class FilmWriter:
    """Owns one growing film. Every picture is one frame, the n-th at n / fps, so time says which it is."""

    def __init__(self, path: Path, fps: int, height: int, width: int):
        self.path, self.frames, self.size = path, 0, 0  # bytes: the file itself comes late
        with explained("make", path):
            path.parent.mkdir(parents=True, exist_ok=True)
        self._container: OutputContainer = av.open(str(path), "w", format="mp4")
        # H.264 plays everywhere. A key frame every other frame, as LeRobot does: samples are drawn at random.
        options = {"crf": "18", "preset": "veryfast", "g": "2", "bf": "0"}
        stream: VideoStream = self._container.add_stream("libx264", rate=fps, options=options)
        stream.height, stream.width = height, width
        # Colour at half resolution needs even sides.
        stream.pix_fmt = "yuv444p" if height % 2 or width % 2 else "yuv420p"
        stream.codec_context.thread_count = 1
        self._stream, self._time_base = stream, Fraction(1, fps)

    def add(self, film: np.ndarray) -> None:
        """Pictures (T, H, W, 3)."""
        for picture in film:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = self.frames, self._time_base
            packets = self._stream.encode(frame)
            self.size += sum(packet.size for packet in packets)
            self._container.mux(packets)
            self.frames += 1

    def close(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


class FilmReader:
    """Owns one open film and reads on from where it is, so that episodes in order cost one pass."""

    def __init__(self, path: Path):
        self.path = path
        with explained("read", path):
            path.stat()
        try:
            self._container = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (av.error.FFmpegError, IndexError, ValueError) as error:
            raise RobostackError(f"{path} is no film: {error}") from None
        self._stream.codec_context.thread_count = 1
        self._frames = self._decoded()
        self._at = float("-inf")  # s, of the frame given last

    def take(self, start: float, count: int, fps: float) -> Iterator[np.ndarray]:
        """`count` pictures (H, W, 3) from `start` (s) on, one each 1 / fps.

        Raises RobostackError where there is none within half a period.
        """
        if start <= self._at:  # an earlier episode again
            self._container.seek(0)
            self._frames = self._decoded()
        for number in range(count):
            time = start + number / fps
            while (found := self._next()) is not None and found[0] < time - 0.5 / fps:
                pass
            if found is None or found[0] > time + 0.5 / fps:
                raise RobostackError(
                    f"{self.path} has no frame at {time:.3f} s: got {number} of the {count} frames that "
                    f"the table has from {start:.3f} s on"
                )
            self._at = found[0]
            yield found[1].to_ndarray(format="rgb24")

    def close(self) -> None:
        self._container.close()

    def _next(self) -> tuple[float, av.VideoFrame] | None:
        try:
            return next(self._frames, None)
        except av.error.FFmpegError as error:
            raise RobostackError(
                f"{self.path} is damaged after {self._at:.3f} s: {error}"
            ) from None

    def _decoded(self) -> Iterator[tuple[float, av.VideoFrame]]:
        for frame in self._container.decode(self._stream):
            if frame.time is not None:
                yield frame.time, frame
