"""What each customer will be worth as of a date (spec TG-7): who still buys, how often, for how much; or why nobody can say."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, NamedTuple

from services.tagging.domain.layers.params import bad, shares
from services.tagging.domain.value import buying, spending
from services.tagging.domain.value.buying import Buyer, Buying
from services.tagging.domain.value.spending import Margin, Spender, Spending

LONGEST_HORIZON: Final = 520
_DAYS_OF_A_WEEK: Final = 7


@dataclass(frozen=True, slots=True)
class ValueParams:
    """How many weeks to look ahead, what part of an amount is earned, and by what part a year of waiting lessens it."""

    horizon_weeks: int = 52
    margin: float = 1.0
    yearly_discount: float = 0.1

    def check(self) -> None:
        """Raises ModelParams."""
        if not 0 < self.horizon_weeks <= LONGEST_HORIZON:
            raise bad("horizon_weeks", f"weeks are from 1 to {LONGEST_HORIZON}")
        shares(self, "margin")
        if not 0 <= self.yearly_discount <= 1:
            raise bad("yearly_discount", "must be from 0 to 1")


class Insufficiency(StrEnum):
    """Why something could not be fitted: fewer than 500 customers bought again; no parameters are the most likely; of amounts: they
    go with how often customers buy, or too few are above nothing."""

    TOO_FEW_REPEATERS = "TOO_FEW_REPEATERS"
    NOT_CONVERGED = "NOT_CONVERGED"
    AMOUNTS_GO_WITH_FREQUENCY = "AMOUNTS_GO_WITH_FREQUENCY"


class Record(NamedTuple):
    """What is known of a customer (an ordinal): occasions after the first, days from the first to the last one and to the last day that
    is counted, and what was paid on the occasions after the first, in minor units."""

    customer: int
    repeats: int
    last_days: int
    now_days: int
    repeat_net: int

    @property
    def buyer(self) -> Buyer:
        return Buyer(self.repeats, self.last_days / _DAYS_OF_A_WEEK, self.now_days / _DAYS_OF_A_WEEK)


class ValueRow(NamedTuple):
    """What is expected of a customer: the chance that it still buys, occasions in the horizon, the amount of one and what all of them
    are worth today, in minor units; None where amounts could not be fitted."""

    customer: int
    repeats: int
    last_days: int
    now_days: int
    alive: float
    expected: float
    amount: float | None
    value: float | None


@dataclass(frozen=True, slots=True)
class Valuation:
    """One result: the fitted parameters, or why there are none, and then no rows either."""

    population: int
    buying: Buying | None = None
    log_likelihood: float | None = None
    spending: Spending | None = None
    insufficient: Insufficiency | None = None
    amounts_insufficient: Insufficiency | None = None
    rows: Sequence[ValueRow] = ()


def value(population: Sequence[Record], params: ValueParams) -> Valuation:
    """Fit `population` and say what is to be expected of each of it; the same facts always give the same."""
    buyers = [it.buyer for it in population]
    if sum(it.repeats > 0 for it in buyers) < buying.FEWEST_REPEATERS:
        return Valuation(len(population), insufficient=Insufficiency.TOO_FEW_REPEATERS)
    fitted = buying.fit(buyers)
    if fitted is None:
        return Valuation(len(population), insufficient=Insufficiency.NOT_CONVERGED)
    spenders = [_spender(it) for it in population]
    amounts = spending.fit(spenders)
    why = None
    if amounts is None:
        again = [it for it in spenders if it.repeats and it.mean > 0]
        related = len(again) > 1 and spending.correlation(again) >= spending.STRONGEST_CORRELATION
        why = Insufficiency.AMOUNTS_GO_WITH_FREQUENCY if related else Insufficiency.NOT_CONVERGED
    return Valuation(
        population=len(population),
        buying=fitted,
        log_likelihood=fitted.log_likelihood(buyers),
        spending=amounts,
        amounts_insufficient=why,
        rows=_rows(population, fitted, amounts, params),
    )


def _rows(
    population: Sequence[Record], fitted: Buying, amounts: Spending | None, params: ValueParams
) -> list[ValueRow]:
    terms = Margin(params.margin, params.yearly_discount)

    @cache
    def ahead(buyer: Buyer) -> tuple[float, float, float]:
        """Many customers bought on the same days: the chance, the occasions, and the worth of one unit of money on each."""
        per_unit = 0.0
        if amounts is not None:
            per_unit = spending.lifetime_value(fitted, buyer, 1.0, params.horizon_weeks, terms)
        return fitted.alive(buyer), fitted.expected(buyer, params.horizon_weeks), per_unit

    rows = []
    for it in population:
        alive, expected, per_unit = ahead(it.buyer)
        amount = None if amounts is None else amounts.expected(_spender(it))
        worth = None if amount is None else amount * per_unit
        rows.append(ValueRow(it.customer, it.repeats, it.last_days, it.now_days, alive, expected, amount, worth))
    return rows


def _spender(it: Record) -> Spender:
    return Spender(it.repeats, it.repeat_net / it.repeats if it.repeats else 0.0)
