"""What the demo knows, as it goes over the wire."""

import protovalidate
import pytest
from google.protobuf.message import Message

from demo.dataset import Order
from demo.people import Person, bindings
from demo.story import tell
from demo.touches import Touch
from demo.wire import batch_resolve, cents, import_orders, money, track_batch


@pytest.mark.parametrize("amount", [0, 1, 99, 100, 1177, 250_031_563])
def test_money_comes_back_as_it_was(amount: int) -> None:
    assert cents(money(amount)) == amount


def test_requests_have_the_shape_that_the_contracts_ask_for(
    orders: list[Order], touches: list[Touch], everybody: list[Person]
) -> None:
    logins = [it for person in everybody[:300] for it in bindings(person)]
    requests: list[Message] = [track_batch(touches[:500]), import_orders(orders[:500], 1), batch_resolve(logins, 1)]
    for request in requests:
        protovalidate.validate(request)


def test_a_repeated_request_is_a_retry(orders: list[Order]) -> None:
    once, again, another = (import_orders(orders[:2], it).request_id for it in ("monday", "monday", "tuesday"))
    assert once == again != another


def test_the_story_is_told_day_by_day_and_each_fact_on_the_evening_of_its_day() -> None:
    story = tell(smoke=True)
    assert [it.day for it in story.days] == sorted({it.day for it in story.days})
    assert {it.customer[-1] for day in story.days for it in day.orders} == {"1"}
    for day in story.days:
        heard = [it.received_at for it in day.touches] + [it.at for it in day.logins]
        assert all(it <= day.reported_at for it in (*heard, *(order.paid_at for order in day.orders)))
