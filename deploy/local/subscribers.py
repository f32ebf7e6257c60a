"""Other systems of the company that subscribe to what the services publish: who they are, and what NATS lets them do.

A subscriber works for one tenant and reads through a durable consumer per service, which is made for it here. All are users of an
account beside that of the services: what they name as the address of an answer stays in there, away from the streams. Into it come three
calls, and each user may make them on its own durables alone: hand out the next messages, go back, acknowledge. None can make or change a
consumer, since one can be told to deliver to any subject, such as into a stream or to another tenant.

One account for all, because nats-server 2.15 does not connect the imports of an account that is added while it runs. Whoever reads asks for
messages one by one, many times at once: of several answers to one call, it may be that only the first comes over the border of an account.
"""

import json
import re
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from chassis.broker import Broker, BrokerRefusal
from chassis.envelope import tenant_token
from chassis.epochs import BASES
from deploy.local.contracts import published

ACCOUNTS: Final = """\
  SCRM {{
    jetstream: enabled
    users: [{{user: {user}, password: {password}}}]
    exports: [
      {{service: "$JS.API.CONSUMER.MSG.NEXT.*.*", response_type: stream}}
      {{service: "$JS.API.CONSUMER.RESET.*.*"}}
      {{service: "$JS.ACK.>"}}
    ]
  }}
  SUBSCRIBERS {{
    imports: [
      {{service: {{account: SCRM, subject: "$JS.API.CONSUMER.MSG.NEXT.*.*"}}}}
      {{service: {{account: SCRM, subject: "$JS.API.CONSUMER.RESET.*.*"}}}}
      {{service: {{account: SCRM, subject: "$JS.ACK.>"}}}}
    ]
    users: [
{subscribers}    ]
  }}"""
"""What stands within `accounts {{ }}` in the configuration of nats-server."""

UNACKNOWLEDGED: Final = 1000
"""How many messages a subscriber may have in hand."""
_ACK_WAIT_SECONDS: Final = 300
_SECOND: Final = 1_000_000_000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_CONSUMER_NOT_FOUND: Final = 10014
_STREAM_NOT_FOUND: Final = 10059


class UnknownEvent(Exception):
    """No service publishes an event of this name."""


class NoStream(Exception):
    """A service has no stream yet."""


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One system. `events` are names such as "identity.customers_merged", or "tracking.*" for all of a service."""

    tenant: str
    name: str
    events: tuple[str, ...]
    password: str = field(default_factory=lambda: secrets.token_hex(24), repr=False)

    def __post_init__(self) -> None:
        if not self.tenant or not _NAME.fullmatch(self.name):
            raise ValueError("a subscriber needs a tenant, and a name of small letters, digits, - and _")
        known = {f"{it.service}.{name}" for it in published() for name in (it.name, "*")}
        for it in self.events:
            if it not in known:
                raise UnknownEvent(it)

    @property
    def user(self) -> str:
        """The name of its user and of its durables: the tenant as in subjects, "~" and its own."""
        return f"{tenant_token(self.tenant)}~{self.name}"

    @property
    def inbox(self) -> str:
        """What the addresses of answers to it begin with."""
        return f"_INBOX_{self.user}"

    @property
    def subjects(self) -> Mapping[str, Sequence[str]]:
        """The subjects it reads, by service."""
        pairs = sorted(it.split(".") for it in set(self.events))
        token = tenant_token(self.tenant)
        return {
            service: [f"scrm.{token}.{service}.v1.{event}.*" for _, event in found]
            for service, found in groupby(pairs, lambda it: it[0])
        }

    def url(self, address: str) -> str:
        """Where it connects, with its credentials; `address` is host:port."""
        return f"nats://{self.user.replace('%', '%25')}:{self.password}@{address}"


class Register:
    """The subscribers of an installation, kept in a file that only its owner reads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self) -> list[Subscriber]:
        if not self._path.exists():
            return []
        return [Subscriber(**{**it, "events": tuple(it["events"])}) for it in json.loads(self._path.read_text())]

    def put(self, tenant: str, name: str, events: Iterable[str]) -> Subscriber:
        """Add a subscriber, or give one other events; its password stays."""
        others = [it for it in self.all() if (it.tenant, it.name) != (tenant, name)]
        kept = [it.password for it in self.all() if (it.tenant, it.name) == (tenant, name)]
        subscriber = Subscriber(tenant, name, tuple(events), *kept)
        self._write([*others, subscriber])
        return subscriber

    def remove(self, tenant: str, name: str) -> Subscriber:
        """Take a subscriber out; KeyError if there is none."""
        found = {(it.tenant, it.name): it for it in self.all()}
        removed = found.pop((tenant, name))
        self._write(list(found.values()))
        return removed

    def _write(self, subscribers: Sequence[Subscriber]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch(mode=0o600)
        self._path.write_text(json.dumps([asdict(it) for it in subscribers], indent=1))


def users(subscribers: Iterable[Subscriber]) -> str:
    """The users of the account of subscribers, one on a line."""
    return "".join(f"      {_user(it)}\n" for it in subscribers)


def _user(subscriber: Subscriber) -> str:
    calls = [
        subject
        for service in subscriber.subjects
        for subject in (
            f"$JS.API.CONSUMER.MSG.NEXT.{service}.{subscriber.user}",
            f"$JS.API.CONSUMER.RESET.{service}.{subscriber.user}",
            f"$JS.ACK.{service}.{subscriber.user}.>",
        )
    ]
    heard = f"{subscriber.inbox}.>"
    permissions = f"{{publish: {{allow: {json.dumps(calls)}}}, subscribe: {{allow: [{json.dumps(heard)}]}}}}"
    named = f"user: {json.dumps(subscriber.user)}, password: {json.dumps(subscriber.password)}"
    return f"{{{named}, permissions: {permissions}}}"


async def make_durables(broker: Broker, subscriber: Subscriber) -> None:
    """Make what the subscriber reads through, or give it other events; how far it has read stays.

    To be done again after a stream was made anew, which takes its consumers with it.
    """
    await remove_durables(broker, subscriber, set(subscriber.subjects))
    for service, subjects in subscriber.subjects.items():
        stream = await broker.stream(service)
        if stream is None:
            raise NoStream(f"{service} has no stream yet: its relay makes it when it starts")
        # The bases of the epochs are there for the subscriber to read, who may not ask for the stream.
        config: dict[str, Any] = {
            "name": subscriber.user,
            "durable_name": subscriber.user,
            "deliver_policy": "all",
            "ack_policy": "all",
            "ack_wait": _ACK_WAIT_SECONDS * _SECOND,
            "max_ack_pending": UNACKNOWLEDGED,
            "max_deliver": -1,
            "filter_subjects": list(subjects),
            "replay_policy": "instant",
            "metadata": {BASES: stream.metadata.get(BASES, "0")},
        }
        request = {"stream_name": service, "config": config, "action": ""}
        await broker.request(f"CONSUMER.CREATE.{service}.{subscriber.user}", request)


async def remove_durables(broker: Broker, subscriber: Subscriber, but: Collection[str] = ()) -> None:
    """Remove what the subscriber has read through, except of the services in `but`."""
    for service in {it.service for it in published()}.difference(but):
        try:
            await broker.request(f"CONSUMER.DELETE.{service}.{subscriber.user}")
        except BrokerRefusal as refusal:
            if refusal.code not in {_CONSUMER_NOT_FOUND, _STREAM_NOT_FOUND}:
                raise
