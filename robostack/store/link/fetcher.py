"""Parameters on their way to the actor: whole files by version, in parts small enough for any path."""

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from robostack.core import clock
from robostack.core.errors import Unavailable
from robostack.store import params
from robostack.store.disk import explained, write_whole
from robostack.store.link import connection as at
from robostack.store.link import message as m
from robostack.store.run import Run

KEEP = 100  # versions kept here, besides the named ones
FIRST, SMALLEST = 1 << 16, 1 << 14  # bytes of a part
QUICK_S = 0.5  # s in which a part arrives that could be larger
AGAIN_S = 2.0  # s until the next attempt to write to a disk that said no


class Fetcher:
    """Owns which versions are to be brought, and the one that is half here, through all breaks of the connection.

    `every`: all of them in their order, as lockstep needs; else the newest alone counts.
    """

    def __init__(
        self, run: Run, every: bool, headers: list[tuple[str, str]], complain: Callable[[str], None]
    ):
        self._run, self._every, self._headers, self._complain = run, every, headers, complain
        self._news: deque[m.News] = deque()
        self._came = asyncio.Event()
        self._part: tuple[m.News, bytearray] | None = None

    def begin(self) -> None:
        """On a new connection the learner tells its news again."""
        self._news.clear()

    def heard(self, news: m.News) -> None:
        """A version can be fetched."""
        if not self._every:
            self._news.clear()
        self._news.append(news)
        self._came.set()

    async def work(self, channel: grpc.aio.Channel) -> None:
        """Brings what there is news of. A version that is half here is finished before a newer one."""
        fetch = channel.unary_unary(at.FETCH)
        while True:
            if self._part is None:
                while not self._news:
                    self._came.clear()
                    await self._came.wait()
                news = self._news.popleft()
                if await asyncio.to_thread(self._is_here, news):
                    continue
                self._part = (news, bytearray())
            await self._bring(fetch, *self._part)
            self._part = None

    async def _bring(self, fetch: Any, news: m.News, data: bytearray) -> None:
        length = FIRST
        while len(data) < news.size:
            wanted = m.Fetch(self._run.path.resolve().name, news.version, len(data), length)
            began = clock.now()
            try:
                part = await fetch(m.encode(wanted), timeout=at.DEADLINE_S, metadata=self._headers)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.NOT_FOUND:
                    return  # too old to be kept there; a newer one is on its way
                raise
            if not part or len(part) > length:
                return
            data += part
            is_quick = clock.now() - began < QUICK_S
            length = min(m.LARGEST, 2 * length) if is_quick else max(SMALLEST, length // 2)
        if hashlib.sha256(data).hexdigest() != news.digest:
            return  # replaced while it was read; there is news of the other one
        while True:
            try:
                return await asyncio.to_thread(self._put, news.version, bytes(data))
            except Unavailable as error:  # our disk is full: the steps on it still go out
                self._complain(str(error))
                await asyncio.sleep(AGAIN_S)

    def _put(self, version: int, data: bytes) -> None:
        folder = self._run.params
        with explained("make", folder):
            folder.mkdir(exist_ok=True)
        write_whole(params.path_of(folder, version), data)
        params.prune(folder, KEEP)

    def _is_here(self, news: m.News) -> bool:
        path = params.path_of(self._run.params, news.version)
        try:
            data = path.read_bytes() if path.stat().st_size == news.size else b""
        except OSError:
            return False
        return hashlib.sha256(data).hexdigest() == news.digest
