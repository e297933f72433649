"""A cable on loopback that a test can cut, stall or delay: TCP in, TCP out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from robostack.store.link.keys import Address


class Proxy:
    """Owns a port that leads to another one, and all connections through it."""

    def __init__(self, to: Address):
        self.to, self.delay = to, 0.0  # s
        self.is_dead = False  # new connections are refused as soon as they are made
        self.passed = 0  # bytes towards `to`
        self.cut_after: int | None = None  # bytes towards `to`; then all connections are cut, once
        self._flow = asyncio.Event()  # cleared: connections stay open and nothing passes
        self._flow.set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> Address:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return Address("127.0.0.1", self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Resets all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        """Half-open: from now on nothing passes on the connections there are, and nobody is told."""
        self._flow.clear()
        self._flow = asyncio.Event()  # for new connections, which pass
        self._flow.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flow = self._flow
        if self.is_dead:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self.to.host, self.to.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        await asyncio.gather(
            self._pump(reader, far_writer, flow, True), self._pump(far_reader, writer, flow, False)
        )
        self._writers -= {writer, far_writer}

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        flow: asyncio.Event,
        is_forth: bool,
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                await asyncio.sleep(self.delay)
                await flow.wait()
                if is_forth:
                    self.passed += len(data)
                    if self.cut_after is not None and self.passed >= self.cut_after:
                        self.cut_after = None
                        writer.write(data[: len(data) // 2])
                        await writer.drain()
                        self.cut()
                        return
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def proxied(to: Address) -> AsyncIterator[tuple[Proxy, Address]]:
    proxy = Proxy(to)
    try:
        yield proxy, await proxy.open()
    finally:
        await proxy.close()
