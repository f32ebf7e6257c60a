"""HTTP/1.1 as cheap as a caller can have it: a client library would take more of the processors than what is measured."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

_END: Final = b"\r\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request."""

    verb: str
    path: str
    headers: Mapping[str, str]
    content: bytes = b""

    def __bytes__(self) -> bytes:
        lines = (
            f"{self.verb} {self.path} HTTP/1.1",
            "host: bench",
            *(f"{name}: {value}" for name, value in self.headers.items()),
            f"content-length: {len(self.content)}",
        )
        return "\r\n".join((*lines, "\r\n")).encode() + self.content


class Answer(NamedTuple):
    """Its status and all of its content, trailers not among it."""

    status: int
    content: bytes


class Sockets:
    """Connections that are kept; as many requests at once as there are connections."""

    def __init__(self, free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> None:
        self._free = free

    @classmethod
    @asynccontextmanager
    async def opened(cls, address: str, count: int) -> AsyncIterator[Self]:
        host, port = address.split(":")
        made = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
        try:
            yield cls(list(made))
        finally:
            for _, writer in made:
                writer.close()

    async def send(self, asked: Asked) -> Answer:
        reader, writer = self._free.pop()
        writer.write(bytes(asked))
        head = await reader.readuntil(_END * 2)
        answer = Answer(int(head.split(b" ", 2)[1]), await _content(reader, head.lower()))
        self._free.append((reader, writer))
        return answer


async def _content(reader: asyncio.StreamReader, head: bytes) -> bytes:
    if b"transfer-encoding: chunked" not in head:
        return await reader.readexactly(int(head.partition(b"content-length:")[2].partition(_END)[0]))
    found = b""
    while size := int(await reader.readuntil(_END), 16):
        found += (await reader.readexactly(size + len(_END)))[:size]
    await reader.readexactly(len(_END))
    return found
