"""Every command of identity with its handler."""

from chassis.commands import Handlers, handler
from services.identity.application import engagement_commands
from services.identity.application.attribute_commands import attribute_handlers
from services.identity.application.commands import resolve_handlers
from services.identity.application.consent_commands import (
    RecordConsent,
    SetChannelReachability,
    WithdrawConsent,
    record_consent,
    set_channel_reachability,
    withdraw_consent,
)
from services.identity.application.erasure_commands import ErasureRules, erasure_handlers
from services.identity.application.expiry_commands import EXPIRY_HANDLERS
from services.identity.application.import_commands import import_handlers
from services.identity.application.link_commands import (
    LinkIdentifier,
    UnlinkIdentifier,
    link_identifier,
    named,
    unlink_identifier,
)
from services.identity.application.matching_commands import matching_handlers
from services.identity.application.merge_commands import (
    MergeCustomers,
    RevokeNeverMerge,
    SetNeverMerge,
    UnmergeCustomer,
    merge_customers,
    revoke_never_merge,
    set_never_merge,
    unmerge_customer,
)
from services.identity.application.namespace_commands import NAMESPACE_HANDLERS
from services.identity.application.org_commands import org_handlers
from services.identity.application.pii_views import PII_HANDLERS
from services.identity.application.relationship_commands import relationship_handlers
from services.identity.application.routing_commands import ROUTING_HANDLERS
from services.identity.application.transfer_commands import TRANSFER_HANDLERS
from services.identity.application.uncredited_orders import OrderTables, Uncredited
from services.identity.application.vault import Vault


def handlers(vault: Vault, orders: OrderTables, erasure: ErasureRules | None = None) -> Handlers:
    """All of them; what is personal goes to `vault`, and orders that are nobody's to `orders`."""
    uncredited = Uncredited(orders)
    return [
        *resolve_handlers(vault),
        *_link_handlers(vault),
        *_merge_handlers(vault),
        *_consent_handlers(vault),
        *attribute_handlers(vault),
        *PII_HANDLERS,
        *NAMESPACE_HANDLERS,
        *EXPIRY_HANDLERS,
        *import_handlers(vault),
        *erasure_handlers(erasure or ErasureRules(), vault, uncredited),
        *engagement_commands.handlers(vault),
        *matching_handlers(vault),
        *org_handlers(vault),
        *relationship_handlers(uncredited),
        *TRANSFER_HANDLERS,
        *ROUTING_HANDLERS,
    ]


def _link_handlers(vault: Vault) -> Handlers:
    return [
        handler(LinkIdentifier, lambda command, work: link_identifier(command, work, vault), loads=named),
        handler(UnlinkIdentifier, unlink_identifier, loads=named),
    ]


def _merge_handlers(vault: Vault) -> Handlers:
    return [
        handler(MergeCustomers, merge_customers, loads=lambda command: (command.survivor_id, command.loser_id)),
        handler(
            UnmergeCustomer,
            lambda command, work: unmerge_customer(command, work, vault),
            loads=lambda command: (command.merge_id,),
        ),
        handler(SetNeverMerge, set_never_merge, loads=lambda command: (command.customer_id, command.other_id)),
        handler(RevokeNeverMerge, revoke_never_merge, loads=lambda command: (command.customer_id, command.other_id)),
    ]


def _consent_handlers(vault: Vault) -> Handlers:
    return [
        handler(RecordConsent, record_consent, loads=lambda command: (command.node,)),
        handler(WithdrawConsent, withdraw_consent, loads=lambda command: (command.node,)),
        handler(
            SetChannelReachability,
            lambda command, work: set_channel_reachability(command, work, vault),
            loads=lambda command: (command.node,),
        ),
    ]
