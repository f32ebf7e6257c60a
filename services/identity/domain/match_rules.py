"""What a tenant lays down for matching: the model by which its customers are compared."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.identity.domain.match_model import DEFAULT, MatchModel


class MatchRules(Aggregate):
    """The model of one tenant, and how often it was changed."""

    TOPIC = "identity.MatchRules"

    class Opened(InitialEvent):
        """The tenant leaves the default for the first time."""

        TOPIC = "identity.MatchRulesOpened"
        tenant: str

    class ModelSet(Event):
        """Customers are compared by another model from now on."""

        TOPIC = "identity.MatchModelSet"
        model: MatchModel
        set_at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.model = DEFAULT

    @classmethod
    def of_tenant(cls, tenant: str) -> "MatchRules":
        return cls(match_rules_id(tenant), tenant)

    def set_model(self, model: MatchModel, at: datetime) -> None:
        """Compare by `model`, which gets the next version; the same figures again change nothing. Raises BadMatchModel."""
        model.require_sound()
        if replace(model, version=self.model.version) != self.model:
            self._model_set(model=replace(model, version=self.model.version + 1), set_at=at)

    @event(ModelSet)
    def _model_set(self, model: MatchModel, set_at: datetime) -> None:
        self.model = model


def match_rules_id(tenant: str) -> UUID:
    """The rules of one tenant."""
    return natural_id(tenant, "match_rules")
