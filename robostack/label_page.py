"""A page on this machine on which a person labels frames: the film plays, and a key is held while the task is done."""

import json
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np

from robostack import contact
from robostack.core.errors import RobostackError, Unavailable
from robostack.store import labels
from robostack.store.episode import recover
from robostack.store.labels import NO, UNSURE, YES, Labels

LETTERS = {NO: ".", YES: "x", UNSURE: "?"}
KINDS = {letter: kind for kind, letter in LETTERS.items()}
COLUMNS = 8  # of frames in the picture that holds a whole film
MOST_BYTES = 10**6  # of a request
PAGE = Path(__file__).with_name("label_page.html")


class Desk:
    """Owns the labels of one folder while a person works on them; every change is on the disk at once."""

    def __init__(self, folder: Path, paths: list[Path]):
        self._folder, self._paths, self._lock = folder, paths, Lock()
        self._labels = labels.load(folder) or Labels()
        self._counts: dict[int, int] = {}

    def list(self) -> list[dict[str, Any]]:
        """Name and labels of each episode; "" where nobody has looked at it."""
        with self._lock:
            marks = self._labels.frames
            return [{"name": p.name, "labels": _text(marks.get(p.name))} for p in self._paths]

    def film(self, number: int) -> tuple[bytes, dict[str, Any]]:
        """All frames in one JPEG, and how they lie in it. Raises RobostackError."""
        if not 0 <= number < len(self._paths):
            raise ValueError("no such episode")
        episode, spec, _ = recover(self._paths[number])
        if not episode.pictures:
            raise RobostackError(f"{self._paths[number].name} has no pictures")
        count = len(episode.observations)
        self._counts[number] = count
        frames = [
            contact.side_by_side({name: values[t] for name, values in episode.pictures.items()})
            for t in range(count)
        ]
        height, width, _ = frames[0].shape
        frames += [np.zeros_like(frames[0])] * (-count % COLUMNS)
        rows = [np.hstack(frames[i : i + COLUMNS]) for i in range(0, len(frames), COLUMNS)]
        data = cv2.imencode(".jpg", np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
        about = {"frames": count, "width": width, "height": height, "columns": COLUMNS}
        return data, {**about, "period": spec.period}

    def put(self, number: int, text: object) -> None:
        """Labels of one episode, a letter a frame. Raises ValueError."""
        if number not in self._counts or not isinstance(text, str):
            raise ValueError("labels of a film that was not shown")
        if len(text) != self._counts[number] or set(text) - set(KINDS):
            raise ValueError(f"{self._counts[number]} letters of {''.join(KINDS)} are expected")
        with self._lock:
            values = np.array([KINDS[letter] for letter in text], np.int8)
            self._labels.frames[self._paths[number].name] = values
            self._labels.by = "person"
            labels.save(self._folder, self._labels)


def server_of(desk: Desk, port: int) -> ThreadingHTTPServer:
    """Answers this machine only, once it serves. Raises Unavailable where the port is taken."""
    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), _handler(desk))
    except OSError as error:
        raise Unavailable(
            f"cannot listen on port {port}: {(error.strerror or '').lower()}; choose another --port"
        ) from None
    server.daemon_threads = True
    return server


def serve(desk: Desk, port: int, ready: Callable[[str], None] = lambda url: None) -> None:
    """Shows the page until Ctrl-C. Raises Unavailable where the port is taken."""
    with server_of(desk, port) as server:
        ready(f"http://127.0.0.1:{server.server_address[1]}/")
        try:
            server.serve_forever(poll_interval=0.1)
        except KeyboardInterrupt:
            return


def _text(frames: np.ndarray | None) -> str:
    return "" if frames is None else "".join(LETTERS[int(kind)] for kind in frames)


def _handler(desk: Desk) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self._is_ours():
                return
            try:
                match self.path.strip("/").split("/"):
                    case [""]:
                        self._answer("text/html; charset=utf-8", PAGE.read_bytes())
                    case ["list"]:
                        self._answer("application/json", json.dumps(desk.list()).encode())
                    case ["film", number]:
                        data, about = desk.film(int(number))
                        self._answer("image/jpeg", data, about)
                    case _:
                        self.send_error(HTTPStatus.NOT_FOUND)
            except RobostackError as error:
                self._answer("text/plain; charset=utf-8", str(error).encode(), status=422)
            except (ValueError, IndexError):
                self.send_error(HTTPStatus.NOT_FOUND)

        def do_POST(self) -> None:
            if not self._is_ours():
                return
            try:
                size = int(self.headers.get("Content-Length", ""))
                _, what, number = self.path.split("/")
                # A page of somebody else's may not send this type without asking us first.
                fits = self.headers.get("Content-Type") == "application/json"
                if what != "labels" or not fits or not 0 <= size <= MOST_BYTES:
                    raise ValueError("no labels")
                desk.put(int(number), json.loads(self.rfile.read(size)))
                self._answer("application/json", b"{}")
            except RobostackError as error:
                self._answer("text/plain; charset=utf-8", str(error).encode(), status=507)
            except (ValueError, RecursionError) as error:
                self._answer("text/plain; charset=utf-8", str(error).encode(), status=400)

        def _is_ours(self) -> bool:
            """Asked by a name of this machine: another site's name that leads here is no door."""
            if self.headers.get("Host", "").rpartition(":")[0] in ("127.0.0.1", "localhost"):
                return True
            self.send_error(HTTPStatus.FORBIDDEN)
            return False

        def _answer(
            self, kind: str, data: bytes, about: dict | None = None, status: int = 200
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Cache-Control", "no-store")
            if about is not None:
                self.send_header("X-About", json.dumps(about))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the terminal belongs to the person."""

    return Handler
