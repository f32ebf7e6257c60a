"""What is not gRPC-shaped passes the gateway to the edge, without a token, as it was asked and as it was answered."""

import asyncio
from pathlib import Path

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from chassis.http_edge import HttpEdge
from chassis.telemetry import Metrics
from deploy.local.credentials import Credentials
from tests.gateway.conftest import fronting

TARGET = "https://shop.example.com/?a=1&scrm_hit=acme.0#b"
PATHS = (
    "/l/acme.spring?d=D-7&k=1.x",
    "/l/seen",
    "/q/link/acme.spring.svg",
    "/scrm.js",
    "/v1/b",
    "/wechat/oa/acme.oa",
    "/sourceConfig/",
)


async def echo(request: Request) -> Response:
    said = {"path": request.url.path, "query": request.url.query, "agent": request.headers.get("user-agent", "")}
    return JSONResponse({**said, "forwarded": request.headers.get("x-forwarded-proto", "")})


async def lead_on(_: Request) -> Response:
    return Response(status_code=302, headers={"location": TARGET})


def test_the_doors_of_the_edge_are_open_to_anybody(
    credentials: Credentials, tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    async def check() -> None:
        routes = [Route("/l/acme.away", lead_on), Route("/{rest:path}", echo, methods=["GET", "POST"])]
        edge = HttpEdge(routes, Metrics())
        port = await edge.start("127.0.0.1", 0)
        try:
            async with (
                fronting(credentials, tmp_path, edge=("127.0.0.1", port)) as front,
                httpx.AsyncClient(base_url=f"http://{front.address}", headers={"user-agent": "a browser"}) as client,
            ):
                for path in PATHS:
                    answer = await client.request("POST" if path in ("/l/seen", "/v1/b") else "GET", path)
                    wanted, _, query = path.partition("?")
                    said = {"path": wanted, "query": query, "agent": "a browser", "forwarded": "http"}
                    assert (answer.status_code, answer.json()) == (200, said), path
                answer = await client.get("/l/acme.away")
                assert (answer.status_code, answer.headers["location"]) == (302, TARGET)
                assert (await client.head("/l/acme.away")).status_code == 302
                assert (await client.get("/nothing")).status_code != 200
        finally:
            await edge.stop(1)

    loop.run_until_complete(check())
