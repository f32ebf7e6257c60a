"""What events of the protocol become: by the table, which the page for people shows as it is."""

from pathlib import Path
from typing import Any

import pytest

from services.tracking.adapters.segment_events import CALLS, ROWS, row_of, translated
from services.tracking.domain import event_types

PAGE = Path(__file__).parents[2] / "docs" / "segment.md"


def test_the_page_shows_the_table_of_the_code() -> None:
    shown = [it for it in PAGE.read_text().splitlines() if it.startswith("| ")]
    for row in ROWS:
        columns = "; ".join(f"{it.name} = {', '.join(it.sources)}" for it in row.columns)
        assert f"| {row.name} | {row.event_type} | {columns} |" in shown


def test_every_row_fills_properties_that_its_type_has() -> None:
    for row in ROWS:
        kind = event_types.PRESETS[row.event_type]
        assert {it.name for it in row.columns} <= kind.properties.keys(), row.name
        assert set(kind.required) <= {it.name for it in row.columns}, row.name
    assert all(event_types.find(it) for it in CALLS.values())


@pytest.mark.parametrize(
    ("name", "event_type"),
    [
        ("Product Viewed", "product_viewed"),
        ("product viewed", "product_viewed"),
        ("ProductViewed", "product_viewed"),
        ("product_viewed", "product_viewed"),
        ("content_engaged", "content_engaged"),
        ("Tea Poured!", "custom.tea_poured"),
        ("点击 按钮", "custom.点击_按钮"),
        ("x" * 500, "custom." + "x" * 57),
        ("", ""),
        ("!!!", ""),
    ],
)
def test_names_are_compared_by_their_words(name: str, event_type: str) -> None:
    assert row_of(name).event_type == event_type


@pytest.mark.parametrize(
    ("name", "given", "ours"),
    [
        ("Product Viewed", {"product_id": 7, "price": 1}, {"sku": "7", "price": 1}),
        ("Product Viewed", {"product_id": "p", "sku": "s"}, {"sku": "s", "product_id": "p"}),
        ("Product Added", {"sku": None, "product_id": "p", "quantity": "2"}, {"sku": "p", "qty": 2}),
        ("Product Added", {"sku": "s", "quantity": 2.5}, {"sku": "s", "qty": 2.5}),
        ("Checkout Started", {"value": "9.5"}, {"cart_value": 9.5}),
        ("Order Completed", {"order_id": 1, "total": "10"}, {"order_no": "1", "paid": 10.0}),
        (
            "Order Completed",
            {"order_id": "1", "revenue": 10, "shipping": "2", "tax": 0.1},
            {"order_no": "1", "revenue": 10, "shipping": 2.0, "tax": 0.1, "paid": 12.1},
        ),
        (
            "Order Completed",
            {"order_id": "1", "total": 1, "products": [{"product_id": 5, "price": "1", "name": "Tea"}]},
            {"order_no": "1", "paid": 1, "lines": [{"sku": "5", "quantity": 1, "price": 1.0}]},
        ),
        ("Tea Poured", {"cups": 2}, {"cups": 2}),
    ],
)
def test_properties_are_filled_from_the_first_that_is_there(
    name: str, given: dict[str, Any], ours: dict[str, Any]
) -> None:
    found = translated(name, given)[1]
    assert {key: it for key, it in found.items() if it is not None} == ours
