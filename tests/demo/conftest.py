"""The data file and what the generator makes of it, loaded once for all tests of the main job."""

import pytest

from demo.dataset import DataUnavailable, Order, data_file, first_days, load_orders
from demo.people import Person, people
from demo.prospects import Prospect, prospects
from demo.touches import Touch
from demo.trail import trail


@pytest.fixture(scope="session")
def orders() -> list[Order]:
    try:
        return load_orders(data_file())
    except DataUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def everybody(orders: list[Order]) -> list[Person]:
    return people(first_days(orders))


@pytest.fixture(scope="session")
def strangers() -> list[Prospect]:
    return prospects()


@pytest.fixture(scope="session")
def touches(orders: list[Order], everybody: list[Person], strangers: list[Prospect]) -> list[Touch]:
    return trail(everybody, orders, strangers)
