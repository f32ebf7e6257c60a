"""Keeps a list of who was created or merged in a file: `python follow_customers.py list.db "$(make -s subscriber NAME=list)"`.

Killed at any moment and started again, it goes on where it stopped and takes every event once. With a time as the third argument, such as
2026-11-27T08:00:00Z, it first goes back to what was published then, and takes it for new.
"""

import asyncio
import logging
import sys
from datetime import datetime

from scrm_client import Events, Handled

SERVICE = "identity"


async def main(path: str, url: str, since: str | None = None) -> None:
    handled = Handled(path, "CREATE TABLE IF NOT EXISTS seen (event TEXT, name TEXT, customer TEXT)")
    async with Events(url) as events:
        if since:
            handled.forget(SERVICE)
            await events.replay(SERVICE, since=datetime.fromisoformat(since))
        async for event in events.subscribe(SERVICE, "customer_created", "customers_merged"):
            with handled.once(event) as transaction:
                if transaction:
                    transaction.execute("INSERT INTO seen VALUES (?, ?, ?)", (event.id, event.name, event.key))
                    print(event.time, event.name, event.key, flush=True)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main(*sys.argv[1:]))
