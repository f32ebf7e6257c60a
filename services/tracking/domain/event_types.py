"""The preset event types (TR-2): what can happen, how models count it, and which properties it has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

SUBJECTS: Final[Mapping[str, str]] = {
    "menu_clicked": "menu_key",
    "button_clicked": "button_id",
    "link_clicked": "link_id",
    "form_submitted": "form_id",
}
"""The property that says what a behaviour is about, where it is found by that."""

CODES: Final[Mapping[str, str]] = {"wecom_friend_added": "state"}
"""The property that has the channel code, where that is not `code_key`."""

Check = Callable[[Any], bool]

MOST_BUCKETS: Final = 8_640
CUSTOM_PREFIX: Final = "custom."
MASK: Final = "[personal]"
"""What is kept of a value that was declared to be personal: that there was one."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _are_buckets(value: Any) -> bool:
    """Ten-second buckets of engagement: how many from the start, or which ones."""
    if isinstance(value, list):
        return all(map(_is_bucket, value))
    return _is_bucket(value)


def _is_bucket(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_BUCKETS


KINDS: Final[Mapping[str, Check]] = {
    "text": _is_text,
    "int": _is_whole,
    "number": _is_number,
    "bool": _is_switch,
    "list": _is_list,
    "buckets": _are_buckets,
}


@dataclass(frozen=True, slots=True, eq=False)
class EventType:
    """One kind of behaviour; `category` is P, I, N, C, B, S, V or empty.

    `personal` are the properties whose values are not kept. An `open` type knows all properties. Types are equal only to themselves,
    so that what was found out about properties can be remembered by them.
    """

    name: str
    category: str
    properties: Mapping[str, Check] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    personal: tuple[str, ...] = ()
    open: bool = False

    def fault(self, properties: Mapping[str, Any]) -> str | None:
        """The first property of the wrong type; null is no value at all."""
        checks = self.properties
        for name, value in properties.items():
            check = checks.get(name)
            if check is not None and value is not None and not check(value):
                return name
        return None

    def missing(self, properties: Mapping[str, Any]) -> tuple[str, ...]:
        """The required properties that are not given."""
        return tuple(name for name in self.required if properties.get(name) in (None, ""))

    def has_undeclared(self, properties: Mapping[str, Any]) -> bool:
        """Whether there are properties that the type does not know."""
        return not self.open and not properties.keys() <= self.properties.keys()

    def mask(self, properties: dict[str, Any]) -> bool:
        """Take out the values of what is personal; whether there were any."""
        found = [name for name in self.personal if properties.get(name) is not None]
        for name in found:
            properties[name] = MASK
        return bool(found)


def normalised(event_type: EventType, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties with undeclared ones moved under `extra`."""
    declared = event_type.properties
    kept = {name: value for name, value in properties.items() if name in declared}
    extra = {name: value for name, value in properties.items() if name not in declared}
    given = extra.pop("extra", None)
    if isinstance(given, dict):
        extra = {**given, **extra}
    elif given is not None:
        extra["extra"] = given
    return {**kept, "extra": extra} if extra else kept


def find(name: str) -> EventType | None:
    """The type of that name which every tenant has: a preset one, or `custom.<name>`, of which nothing more is known."""
    found = PRESETS.get(name)
    if found is None and name.startswith(CUSTOM_PREFIX) and len(name) > len(CUSTOM_PREFIX):
        return open_type(name)
    return found


@lru_cache(maxsize=4096)
def open_type(name: str) -> EventType:
    """A type of which only the name is known."""
    return EventType(name, "", open=True)


# Name, category, properties as `name:kind`, with `!` where the event means nothing without it.
# Orders are counted by their own events (TR-9), and so have no category here.
# A category with two letters in TR-2 is given here as it is before anything more is known of the person.
_TABLE: Final = """
ad_exposed                    P  campaign:text placement:text
ad_clicked                    I  campaign:text
content_viewed                I  content_id:text! page_view_id:text!
content_engaged               I  page_view_id:text! active_buckets:buckets! wall_ms:int content_id:text
content_left                  -  page_view_id:text! duration_ms:int scroll_pct:number content_id:text
content_liked                 I  content_id:text!
content_commented             I  content_id:text!
content_shared                S  content_id:text share_id:text target:text
content_forwarded             S  content_id:text share_id:text target:text
button_clicked                I  button_id:text! page:text content_id:text
form_submitted                C  form_id:text! form_version:int fields:list
link_clicked                  I  link_id:text! kind:text group_id:text hit_id:text prefetch:bool
qr_scanned                    C  code_key:text! is_new_follow:bool appid:text
oa_subscribed                 C  appid:text code_key:text
oa_unsubscribed               C  appid:text code_key:text
menu_clicked                  I  menu_key:text! menu_version:int menu_id:text appid:text
wecom_friend_added            C  staff:text state:text appid:text
wecom_friend_deleted          C  staff:text state:text appid:text
group_joined                  C  group_id:text!
group_left                    C  group_id:text!
group_message_sent            I  group_id:text!
activity_joined               I  activity_id:text! group_id:text
call_connected                C  staff:text seconds:int
survey_answered               V  survey_id:text! nps:int
checkin                       I  group_id:text
login                         C  method:text
logout                        C  method:text
registered                    C  method:text
product_viewed                I  sku:text! category:text
search_performed              I  keyword:text! brand_word:bool
favourite_added               N  sku:text!
favourite_removed             N  sku:text!
cart_added                    N  sku:text! qty:int
cart_removed                  N  sku:text! qty:int
price_compared                N  sku:text! vs:text
coupon_claimed                N  coupon_template:text!
consult_started               N  sku:text channel:text
checkout_started              N  cart_value:number
receipt_uploaded              B  store:text amount:number
product_code_scanned          C  code:text! sku:text
review_submitted              S  order:text! score:number append:bool
order_completed               -  order_no:text! currency:text! paid:number! shipping:number lines:list
order_refunded                -  order_no:text! currency:text! amount:number! refund_no:text
order_cancelled               -  order_no:text!
order_reviewed                S  order:text score:number append:bool
referral_registered           C  referrer_code:text
competitor_purchase_reported  -  category:text brand:text source:text
video_played                  I  content_id:text! pct:number
game_finished                 I  game_id:text! score:number
livestream_entered            I  room:text! seconds:int host:text
livestream_left               I  room:text! seconds:int host:text
moments_interacted            I  content:text
channels_video_viewed         I  content:text
store_visited                 C  store:text!
complaint_submitted           V  topic:text
product_feedback_given        V  sku:text! scenario:text method:text rating:number
"""


def _parse(line: str) -> EventType:
    name, category, *words = line.split()
    parts = [word.rstrip("!").split(":") for word in words]
    required = tuple(word.split(":")[0] for word in words if word.endswith("!"))
    return EventType(name, "" if category == "-" else category, {part[0]: KINDS[part[1]] for part in parts}, required)


PRESETS: Final[Mapping[str, EventType]] = {parsed.name: parsed for parsed in map(_parse, _TABLE.strip().splitlines())}
