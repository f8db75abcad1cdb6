"""An HTTP proxy with scripted faults, in a thread of its own.

With `target=None` it is a fake replica: the plan must then answer every request itself.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from support import faults, wire

if TYPE_CHECKING:
    from typing_extensions import Self

_STOP_SECONDS = 10.0


class Proxy:
    """Set `plan` at any time; `seen` tells how often each kind of fault was met."""

    def __init__(self, target: str | None = None, plan: faults.Plan | None = None) -> None:
        self.plan: faults.Plan = plan or faults.always(faults.Pass())
        self.requests: list[wire.Message] = []
        self.seen: Counter[type[faults.Fault]] = Counter()
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._target = None if target is None else urlsplit(target)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault-proxy")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, fault: faults.Fault) -> None:
        """From now on this happens to every request."""
        self.plan = faults.always(fault)

    def cut(self) -> None:
        """Break the connections there are: what was sent on them and not read yet is lost."""

        async def abort() -> None:
            for writer in self._writers:
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(abort(), self._loop).result(_STOP_SECONDS)

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread.start()
        assert self._ready.wait(_STOP_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(_STOP_SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        connections: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = self._loop.create_task(self._connection(reader, writer))
            connections.add(task)
            task.add_done_callback(connections.discard)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        server.close()
        # Those that hang would do so for ever.
        open_ = list(connections)
        for task in open_:
            task.cancel()
        await asyncio.gather(*open_, return_exceptions=True)
        await server.wait_closed()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (request := await wire.read(reader)) is not None:
                if writer.transport.is_closing():
                    return
                self.requests.append(request)
                fault = self.plan(request)
                self.seen[type(fault)] += 1
                if not await self._meet(fault, request, writer):
                    return
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _meet(
        self, fault: faults.Fault, request: wire.Message, writer: asyncio.StreamWriter
    ) -> bool:
        """Let it happen; says whether the sender's connection goes on."""
        match fault:
            case faults.Pass(delay):
                return await self._pass(request, writer, delay)
            case faults.CutBeforeRequest():
                return False
            case faults.CutAfterRequest():
                await self._forward(request)
                return False
            case faults.CutInAnswer():
                answer = await self._forward(request)
                if answer is not None:
                    content = answer.encode()
                    writer.write(content[: -len(answer.body) // 2])
                    await writer.drain()
                    # Closing, and not aborting, lets the first half arrive.
                    writer.close()
                    await writer.wait_closed()
                return False
            case faults.Drip():
                await self._drip(fault, request, writer)
                return False
            case faults.Answer() | faults.Beyond():
                return await self._answer(fault, request, writer)
            case faults.Hang(forward):
                if forward:
                    await self._forward(request)
                await asyncio.Event().wait()
                return False

    async def _pass(
        self, request: wire.Message, writer: asyncio.StreamWriter, delay: float
    ) -> bool:
        if delay:
            await asyncio.sleep(delay)
        answer = await self._forward(request)
        if answer is None:
            return False
        if delay:
            await asyncio.sleep(delay)
        writer.write(answer.encode(connection="keep-alive"))
        await writer.drain()
        return True

    async def _answer(
        self,
        fault: faults.Answer | faults.Beyond,
        request: wire.Message,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if isinstance(fault, faults.Beyond):
            answer = await self._forward(request)
            if answer is None:
                return False
            writer.write(_moved(answer, fault).encode(connection="keep-alive"))
        else:
            if fault.forward:
                await self._forward(request)
            writer.write(_own(fault))
        await writer.drain()
        return True

    async def _drip(
        self, fault: faults.Drip, request: wire.Message, writer: asyncio.StreamWriter
    ) -> None:
        answer = await self._forward(request)
        content = b"" if answer is None else answer.encode()
        for at in range(0, len(content), fault.count):
            writer.write(content[at : at + fault.count])
            await writer.drain()
            await asyncio.sleep(fault.pause)

    async def _forward(self, request: wire.Message) -> wire.Message | None:
        """The replica's answer, or None when it gave none."""
        if self._target is None:
            raise AssertionError("a fake replica has nothing to forward to")
        try:
            reader, writer = await asyncio.open_connection(self._target.hostname, self._target.port)
        except OSError:
            return None
        try:
            writer.write(request.encode(connection="close", host=self._target.netloc))
            await writer.drain()
            return await wire.read(reader)
        except ConnectionError:
            return None
        finally:
            writer.transport.abort()


def _moved(answer: wire.Message, fault: faults.Beyond) -> wire.Message:
    body = json.loads(answer.body)
    for row in body.get("result") or []:
        if "seq" in row:
            row["seq"] += fault.seq
            row["step"] += fault.step
    return replace(answer, body=json.dumps(body).encode())


def _own(answer: faults.Answer) -> bytes:
    headers = {"content-type": answer.content_type}
    if answer.retry_after is not None:
        headers["retry-after"] = answer.retry_after
    if answer.location is not None:
        headers["location"] = answer.location
    message = wire.Message(f"HTTP/1.1 {answer.status} Scripted", headers, answer.body.encode())
    return message.encode()
