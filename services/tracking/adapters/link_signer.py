"""Signs what addresses of links say of how they came to somebody, with a key of the brand."""

from collections.abc import Mapping
from functools import lru_cache

from chassis.key_file import KeyFile
from services.tracking.domain.link_context import LinkContext, is_signed, read, signed

NOTHING = LinkContext()


class LinkSigner:
    """Signs and checks with keys derived from those in `keys`; the newest signs, and any that is still there is believed."""

    def __init__(self, keys: KeyFile) -> None:
        self._keys = keys
        self._key = lru_cache(maxsize=1024)(keys.key)  # deriving one costs more than the rest of a redirect

    def path(self, tenant: str, short_code: str, context: LinkContext) -> str:
        """The path of a link below the public address of the edge, with the context behind it."""
        name = self._keys.newest(tenant)
        query = signed(context, _place(tenant, short_code), name, self._key(tenant, name))
        return f"/l/{tenant}.{short_code}" + (f"?{query}" if query else "")

    def context(self, tenant: str, short_code: str, query: Mapping[str, str]) -> LinkContext:
        """What the query of an address says; nothing unless the brand said so."""
        context, name, mac = read(query)
        if not context or not mac:
            return NOTHING
        try:
            key = self._key(tenant, name)
        except KeyError:
            return NOTHING
        return context if is_signed(context, _place(tenant, short_code), mac, key) else NOTHING


def _place(tenant: str, short_code: str) -> str:
    return f"{tenant}.{short_code}"
