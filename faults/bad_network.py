"""A network before an HTTP server that loses answers, and now and then says in its place that it is busy or down."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

Mishap = Callable[[int], str]
"""What happens to the n-th request: "lost" (the answer is), "busy" (429 in its place), "down" (503), or "" for nothing."""


@asynccontextmanager
async def unreliable(url: str, mishap: Mishap) -> AsyncIterator[tuple[str, list[str]]]:
    """A way to `url` on which `mishap` happens to requests; the address, and all that happened."""
    happened: list[str] = []
    _, _, to = url.partition("://")
    host, _, port = to.partition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(_headers(head).get("content-length", "0")))
            fate = mishap(len(happened))
            happened.append(fate)
            if fate in ("busy", "down"):
                status = b"429 Too Many Requests" if fate == "busy" else b"503 Service Unavailable"
                writer.write(
                    b"HTTP/1.1 %b\r\nRetry-After: 0\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}" % status
                )
            else:
                answer = await _forwarded(host, int(port), head, body)
                if fate != "lost":
                    writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", happened
    finally:
        server.close()


async def _forwarded(host: str, port: int, head: bytes, body: bytes) -> bytes:
    """The whole answer to a request that is passed on."""
    reader, writer = await asyncio.open_connection(host, port)
    lines = [it for it in head.split(b"\r\n") if not it.lower().startswith(b"connection:")]
    writer.write(b"\r\n".join([lines[0], b"Connection: close", *lines[1:]]) + body)
    answer = await reader.read()
    writer.close()
    return answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


def _headers(head: bytes) -> Mapping[str, str]:
    lines = [it.partition(":") for it in head.decode("latin-1").split("\r\n")[1:]]
    return {name.strip().lower(): value.strip() for name, _, value in lines}
