"""Pages of lists and their tokens; masks of updates."""

import base64
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from chassis.errors import BadFormat, ValueOutOfRange
from chassis.field_masks import changed_fields
from chassis.paging import DIGEST_BYTES, Keyset
from tests.chassis import echo_contract as echo

PAGES = Keyset(datetime, UUID, default=2, maximum=3)
NOW = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
ROWS = [(NOW, UUID(int=number)) for number in range(1, 6)]


def listing(**fields: Any) -> Any:
    return echo.ListSayingsRequest(**fields)


def read(after: tuple[Any, ...] | None, limit: int) -> list[tuple[datetime, UUID]]:
    return [it for it in ROWS if after is None or it > after][:limit]


def test_following_the_tokens_gives_every_row_once() -> None:
    found: list[Any] = []
    token = ""
    for _ in range(3):
        request = listing(page_token=token, filter="tea")
        page = PAGES.page(request)
        rows, token = PAGES.cut(request, read(page.after, page.limit), lambda row: row)
        found.extend(rows)
    assert found == ROWS
    assert token == ""


@pytest.mark.parametrize(("asked", "given"), [(0, 2), (1, 1), (3, 3), (1000, 3)])
def test_the_size_of_a_page_has_a_default_and_a_maximum(asked: int, given: int) -> None:
    assert PAGES.page(listing(page_size=asked)).size == given


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueOutOfRange):
        PAGES.page(listing(page_size=-1))


def test_the_size_may_change_from_page_to_page() -> None:
    token = PAGES.token(listing(page_size=1), ROWS[0])
    assert PAGES.page(listing(page_size=3, page_token=token)).after == ROWS[0]


def forged(values: bytes) -> str:
    token = PAGES.token(listing(), ROWS[0])
    digest = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))[:DIGEST_BYTES]
    return base64.urlsafe_b64encode(digest + values).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "\u00e9",
        "!!!!",
        "AAAA",
        PAGES.token(listing(filter="tea"), ROWS[0]),
        Keyset(str).token(listing(), ["a"]),
        forged(b"[1,2]"),
        forged(b'["2026-01-02T03:04:05+00:00"]'),
        forged(b'["2026-01-02T03:04:05+00:00","x"]'),
        forged(b'["2026-01-02T03:04:05+00:00",null]'),
        forged(b"{}"),
        forged(b"7"),
        forged(b"["),
    ],
)
def test_a_token_that_was_not_given_for_these_arguments_is_refused(token: str) -> None:
    with pytest.raises(BadFormat) as caught:
        PAGES.page(listing(page_token=token))
    assert caught.value.field == "page_token"


def test_a_mask_says_which_fields_change() -> None:
    resource = echo.SayRequest(name="tea", count=3)
    updatable = ("name", "mood")
    assert changed_fields(FieldMask(), resource, updatable) == {"name"}
    assert changed_fields(FieldMask(paths=["mood"]), resource, updatable) == {"mood"}
    assert changed_fields(FieldMask(paths=["*"]), resource, updatable) == {"name", "mood"}
    assert changed_fields(FieldMask(paths=["name.en"]), resource, updatable) == {"name"}


@pytest.mark.parametrize("path", ["count", "nothing", "", "name,mood"])
def test_a_mask_with_a_field_that_cannot_change_is_refused(path: str) -> None:
    with pytest.raises(BadFormat):
        changed_fields(FieldMask(paths=["name", path]), echo.SayRequest(name="tea"), ("name", "mood"))
