"""The kinds of identifier by which a brand can know a person, and the rules of each.

A namespace that every brand has goes here: one line in `_TABLE` with its `priority`, of which the lowest tells most, and a
form out of `forms.py`. Namespaces of one priority are equals. What a brand makes of them is in `namespace_settings.py`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final, TypeAlias

from services.identity.domain.forms import FormName


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
    owner; `scoped` ones mean something only within a scope, such as an openid within its app. `form` and `scoped` decide
    under which hash a value is kept.
    """

    name: str
    priority: int
    form: FormName
    limit: Limit
    strong: bool = True
    transferable: bool = False
    scoped: bool = False


Namespaces: TypeAlias = Mapping[str, Namespace]
"""The namespaces of one brand by their names, best first; never changed, so that the same object stands for the same rules."""


def by_name(namespaces: Iterable[Namespace]) -> Namespaces:
    """These by their names."""
    return MappingProxyType({it.name: it for it in sorted(namespaces, key=lambda it: it.priority)})


def changed(namespaces: Namespaces, namespace: Namespace) -> Namespaces:
    """These, with `namespace` in place of the one of its name, or besides."""
    return by_name({**namespaces, namespace.name: namespace}.values())


_ONE_PER_SCOPE: Final = Limit(1, per_scope=True)

_TABLE: Final = (
    Namespace("member_no", 1, FormName.MEMBER_NO, Limit(1, ever=True), scoped=True),
    Namespace("wechat_unionid", 2, FormName.WECHAT_UNIONID, Limit(1, ever=True), scoped=True),
    Namespace("phone", 3, FormName.PHONE, Limit(2), transferable=True),
    Namespace("email", 4, FormName.EMAIL, Limit(3), transferable=True),
    Namespace("wecom_external_userid", 5, FormName.AS_IS, _ONE_PER_SCOPE, scoped=True),
    Namespace("oa_openid", 6, FormName.AS_IS, _ONE_PER_SCOPE, scoped=True),
    Namespace("mp_openid", 6, FormName.AS_IS, _ONE_PER_SCOPE, scoped=True),
    Namespace("weibo_uid", 6, FormName.AS_IS, _ONE_PER_SCOPE),
    Namespace("alipay_uid", 6, FormName.AS_IS, _ONE_PER_SCOPE),
    Namespace("external_id", 7, FormName.TRIMMED, Limit(5, per_scope=True), scoped=True),
    Namespace("device_id", 8, FormName.AS_IS, Limit(10, window=timedelta(days=365)), strong=False, transferable=True),
    Namespace("anonymous_id", 9, FormName.SHORT, Limit(20, window=timedelta(days=30)), strong=False, transferable=True),
)

NAMESPACES: Final = by_name(_TABLE)
"""The preset ones, which every brand begins with."""
