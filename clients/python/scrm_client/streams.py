"""Reading a stream whole, however often it breaks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from scrm_client.refusals import Refused

Answer = TypeVar("Answer", bound=Message)

TRIES: Final = 5
FIRST_PAUSE_SECONDS: Final = 0.2


async def whole(call: Callable[[Any], Any], request: Message) -> AsyncIterator[Any]:
    """All answers to `call(request)`, a method of a stub that answers by a stream; where it breaks, it is gone on with.

    Servers end streams when they stop, and after five minutes: every answer says by `next_page_token` where the next begins. Raises
    Refused for what trying again does not help, or has not helped five times in a row.
    """
    rest: Any = type(request)()
    rest.CopyFrom(request)
    failures = 0
    while True:
        try:
            async for answer in call(rest):
                yield answer
                failures, rest.page_token = 0, answer.next_page_token
                if not rest.page_token:
                    return
        except Refused as refused:
            failures += 1
            if not refused.may_have_happened or failures == TRIES:
                raise
            await asyncio.sleep(refused.retry_after or FIRST_PAUSE_SECONDS * 2**failures)
