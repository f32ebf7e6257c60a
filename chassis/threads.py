"""The way of work that waits for PostgreSQL to another thread and back: what `asyncio.to_thread` does, with half of the steps.

A service goes that way some hundred times a second. Two futures that copy their state to one another, with a lock each, are most of
what it costs there; here the thread itself tells the event loop what came out.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Final, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

P = ParamSpec("P")
T = TypeVar("T")

_MOST_THREADS: Final = 32


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `function` returns or raises, in a thread of the pool of this loop and in the context of the caller.

    Who is cancelled leaves it alone: it goes on to its end, which nobody hears of, and the loop waits for it when it closes.
    """
    answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    set_off(partial(copy_context().run, function, *args, **kwargs), answer)
    return await answer


def set_off(function: Callable[[], T], answer: asyncio.Future[T]) -> None:
    """Begin `function` in a thread of the pool of the loop of `answer`, which will have what comes out."""
    _pool_of(answer.get_loop()).submit(_work, function, answer)


def _work(function: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 (raised where it is waited for)
        _tell(answer, answer.set_exception, error)
    else:
        _tell(answer, answer.set_result, result)


def _tell(answer: asyncio.Future[Any], tell: Callable[[Any], None], what: Any) -> None:
    with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
        answer.get_loop().call_soon_threadsafe(_settle, answer, tell, what)


def _settle(answer: asyncio.Future[Any], tell: Callable[[Any], None], what: Any) -> None:
    if not answer.done():
        tell(what)


_pools: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, ThreadPoolExecutor]] = WeakKeyDictionary()


def _pool_of(loop: asyncio.AbstractEventLoop) -> ThreadPoolExecutor:
    """The pool of `loop`, which everybody else uses too who asks for none in particular, and which is waited for at its end."""
    if loop not in _pools:
        _pools[loop] = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="work")
        loop.set_default_executor(_pools[loop])
    return _pools[loop]
