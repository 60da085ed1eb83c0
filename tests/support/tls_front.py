"""HTTPS in front of a test server that speaks none, such as PHP's own."""

from __future__ import annotations

import asyncio
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.support.certificates import identity

PATIENCE: Final = 30.0


class TlsFront:
    """HTTPS at one port of this machine, in front of a server that speaks plain HTTP at another one."""

    def __init__(self, folder: Path, host: str, port: int, inside: int) -> None:
        own = identity(folder, host)
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(own.certificate, own.private_key)
        self._port, self._inside = port, inside
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PATIENCE)

    def stop(self) -> None:
        """End it, and every connection."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", self._port, ssl=self._context)

    async def _end(self) -> None:
        self._server.close()
        own = asyncio.current_task()
        left = [task for task in asyncio.all_tasks() if task is not own]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: bytes go both ways until either side has ended."""
        inner, outward = await asyncio.open_connection("127.0.0.1", self._inside)
        try:
            await asyncio.gather(_pour(reader, outward), _pour(inner, writer))
        finally:
            outward.close()
            writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while some := await reader.read(65536):
            writer.write(some)
            await writer.drain()
        writer.close()
