"""What the services say, through gRPC, compared with what callers noted; where no RPC tells, the database is read."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc
import psycopg

from chassis.status import refusal
from deploy.local.stack import LocalStack
from faults.caller import Caller
from faults.journal import Entry, Finding, Journal
from faults.traffic import Brand
from scrm.identity.v1 import customer_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.membership.v1 import membership_service_pb2 as membership
from scrm.tracking.v1 import tracking_service_pb2 as tracking

_PAGE: Final = 1000
_ASKED_AGAIN: Final = 100
_INBOX: Final = "SELECT id FROM inbox WHERE type = 'scrm.tracking.v1.BehaviourTracked'"
_PURCHASES: Final = "SELECT order_id::text, net FROM purchases"


def judge(brand: Brand, stack: LocalStack) -> Finding:
    """Everything that was acknowledged is there once; to be asked of services at rest."""
    finding = visitors(brand.caller, brand.journal)
    services = brand.caller.services
    if "tracking" in services:
        finding.add(behaviours(brand))
        finding.add(orders(brand.caller, brand.journal))
    if "tagging" in services:
        finding.add(intake(brand.journal, stack))
    if "membership" in services:
        finding.add(points(brand))
    finding.add(answers(brand.caller, brand.journal))
    return finding


def visitors(caller: Caller, journal: Journal) -> Finding:
    """Every acknowledged person is exactly one customer, the one that was acknowledged."""
    finding = Finding()
    for it in journal.acknowledged_of("visitor", "known"):
        customer = _lookup(caller, it.request.identifiers[0])
        if customer is None:
            finding.lost.append(f"{it.kind} {it.key}")
        elif customer != it.answer.customer_id:
            finding.problems.append(f"{it.kind} {it.key} is {customer}, not {it.answer.customer_id}")
    counted = caller.insist("identity.GetIdentityStatistics", identity.GetIdentityStatisticsRequest())
    for kind, created in (("visitor", counted.anonymous_created), ("known", counted.known_created)):
        surplus = created - len(journal.of(kind))
        finding.doubled += [f"a {kind} created once more"] * max(0, surplus)
    finding.require_equal("the number of merges", counted.merges, 0)
    return finding


def is_known(caller: Caller, visitor: Entry) -> bool:
    """Whether identity knows somebody whom it has acknowledged."""
    return _lookup(caller, visitor.request.identifiers[0]) is not None


def behaviours(brand: Brand) -> Finding:
    """Every acknowledged message is in the trail of its visitor, once."""
    shown = [it.message_id for customer in brand.visitors.values() for it in _trail(brand.caller, customer)]
    finding = brand.journal.compare("behaviour", shown)
    counted = brand.caller.insist("tracking.GetIngestStatistics", tracking.GetIngestStatisticsRequest())
    finding.require_equal("the number of accepted behaviours", counted.accepted, len(shown))
    return finding


def orders(caller: Caller, journal: Journal) -> Finding:
    """Every acknowledged order is there once, and their sum is exact."""
    counted = caller.insist("tracking.GetOrderStatistics", tracking.GetOrderStatisticsRequest())
    asked, known = journal.of("order"), journal.acknowledged_of("order")
    finding = Finding()
    finding.lost += ["an order"] * max(0, len(known) - counted.net_rows)
    finding.doubled += ["an order"] * max(0, counted.rows - len(asked))
    net = sum(it.units for it in counted.net)
    least, most = (sum(it.about.units for it in entries) for entries in (known, asked))
    if not least <= net <= most:
        finding.problems.append(f"the net of all orders is {net}, not {least} to {most}")
    return finding


def intake(journal: Journal, stack: LocalStack) -> Finding:
    """Tagging has taken in every behaviour and every purchase once."""
    finding = Finding()
    with psycopg.connect(stack.postgres.dsn("tagging")) as rows:
        taken = Counter(id for (id,) in rows.execute(_INBOX))
        bought: dict[str, int] = dict(rows.execute(_PURCHASES).fetchall())
    finding.doubled += [f"message {id}" for id, count in taken.items() if count > 1]
    missing = len(journal.acknowledged_of("behaviour")) - len(taken)
    finding.lost += ["a behaviour in tagging"] * max(0, missing)
    finding.doubled += ["a behaviour in tagging"] * max(0, len(taken) - len(journal.of("behaviour")))
    least, most = (
        sum(it.about.units for it in entries) for entries in (journal.acknowledged_of("order"), journal.of("order"))
    )
    if not 100 * least <= sum(bought.values()) <= 100 * most:
        finding.problems.append(f"tagging counts purchases of {sum(bought.values())} cents, not of {100 * least}")
    return finding


def points(brand: Brand) -> Finding:
    """Every grant and every order is in the ledger once, and every balance is what they add up to."""
    caller, journal = brand.caller, brand.journal
    refs: list[str] = []
    finding = Finding()
    for person, customer in brand.members.items():
        entries = list(_ledger(caller, customer))
        refs += [it.ref for it in entries if it.ref.startswith("g:")]
        orders_of = [it for it in journal.acknowledged_of("order") if it.about.member == person]
        earning = [it.points for it in entries if not it.ref.startswith("g:")]
        finding.require_equal(f"the number of orders by which {person} earned", len(earning), len(orders_of))
        finding.require_equal(f"what {person} earned", sum(earning), sum(it.about.units for it in orders_of))
        balance = caller.insist("membership.GetBalance", membership.GetBalanceRequest(customer_id=customer)).balance
        finding.require_equal(f"the balance of {person}", balance.balance, sum(it.points for it in entries))
    finding.add(journal.compare("grant", refs))
    granted = {it.key: it.about.points for it in journal.acknowledged_of("grant")}
    counted = caller.insist("membership.GetMembershipStatistics", membership.GetMembershipStatisticsRequest())
    finding.require_equal("the number of accounts that do not add up", counted.accounts_with_broken_ledger, 0)
    if not journal.of("grant")[len(granted) :]:
        finding.require_equal(
            "the sum of grants", counted.granted_points - counted.earned_points, sum(granted.values())
        )
    return finding


def answers(caller: Caller, journal: Journal) -> Finding:
    """The latest requests sent once more get the answer they got, byte by byte."""
    finding = Finding()
    for kind, rpc in (("visitor", "identity.ResolveIdentity"), ("grant", "membership.GrantPoints")):
        for it in journal.acknowledged_of(kind)[-_ASKED_AGAIN:]:
            again = caller.insist(rpc, it.request)
            if again.SerializeToString(deterministic=True) != it.answer.SerializeToString(deterministic=True):
                finding.problems.append(f"{kind} {it.key} is answered differently when sent again")
    return finding


def _lookup(caller: Caller, shown: customer_pb2.Identifier) -> str | None:
    try:
        answer = caller.insist("identity.LookupCustomer", identity.LookupCustomerRequest(identifier=shown))
    except grpc.RpcError as error:
        if refusal(error).code == "NOT_FOUND":
            return None
        raise
    return str(answer.customer.customer_id)


def _trail(caller: Caller, customer: str) -> Iterator[Any]:
    request = tracking.GetTrailRequest(customer_id=customer, page_size=_PAGE)
    return _pages(lambda: caller.insist("tracking.GetTrail", request), request, "entries")


def _ledger(caller: Caller, customer: str) -> Iterator[Any]:
    request = membership.ListLedgerRequest(customer_id=customer, page_size=_PAGE)
    return _pages(lambda: caller.insist("membership.ListLedger", request), request, "entries")


def _pages(call: Callable[[], Any], request: Any, field: str) -> Iterator[Any]:
    while True:
        page = call()
        yield from getattr(page, field)
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
