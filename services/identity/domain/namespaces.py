"""The kinds of identifier by which a brand can know a person, and the rules of each.

A new identifier namespace goes here: one line in `_TABLE` with its `priority`, of which the lowest tells most, and a form
out of `forms.py`. Namespaces of one priority are equals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.identity.domain import forms
from services.identity.domain.forms import Form


@dataclass(frozen=True, slots=True)
class Limit:
    """How many identifiers of a namespace one customer may have.

    `per_scope` counts each scope (an app, a programme, a source) by itself; `window` counts only those linked that
    recently; `ever` counts also those the customer has lost.
    """

    count: int
    per_scope: bool = False
    window: timedelta | None = None
    ever: bool = False


@dataclass(frozen=True, slots=True)
class Namespace:
    """One kind of identifier.

    `strong` identifiers make a customer known and may join two known customers; `transferable` ones may move to a new
    owner; `scoped` ones mean something only within a scope, such as an openid within its app.
    """

    name: str
    priority: int
    form: Form
    limit: Limit
    strong: bool = True
    transferable: bool = False
    scoped: bool = False


_ONE_PER_SCOPE: Final = Limit(1, per_scope=True)

_TABLE: Final = (
    Namespace("member_no", 1, forms.member_no, Limit(1, ever=True), scoped=True),
    Namespace("wechat_unionid", 2, forms.wechat_unionid, Limit(1, ever=True), scoped=True),
    Namespace("phone", 3, forms.phone, Limit(2), transferable=True),
    Namespace("email", 4, forms.email, Limit(3), transferable=True),
    Namespace("wecom_external_userid", 5, forms.as_is, _ONE_PER_SCOPE, scoped=True),
    Namespace("oa_openid", 6, forms.as_is, _ONE_PER_SCOPE, scoped=True),
    Namespace("mp_openid", 6, forms.as_is, _ONE_PER_SCOPE, scoped=True),
    Namespace("weibo_uid", 6, forms.as_is, _ONE_PER_SCOPE),
    Namespace("alipay_uid", 6, forms.as_is, _ONE_PER_SCOPE),
    Namespace("external_id", 7, forms.trimmed, Limit(5, per_scope=True), scoped=True),
    Namespace("device_id", 8, forms.as_is, Limit(10, window=timedelta(days=365)), strong=False, transferable=True),
    Namespace("anonymous_id", 9, forms.short, Limit(20, window=timedelta(days=30)), strong=False, transferable=True),
)

NAMESPACES: Final[Mapping[str, Namespace]] = {it.name: it for it in _TABLE}
