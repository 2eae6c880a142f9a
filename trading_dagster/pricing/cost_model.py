"""The costs of a strategy together, as pricing and execution ask for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from trading_dagster.domain.error import ParameterTypeInvalid
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.money import ZERO, exact
from trading_dagster.pricing.cost import (
    Cost,
    ExecutionDelay,
    GasPerTrade,
    PairFee,
    PriceImpact,
    Slippage,
    TokenTax,
)


@dataclass(frozen=True)
class CostModel:
    """The costs of a strategy; without any it changes nothing.

    Raises:
        ParameterTypeInvalid: something is no cost, or there are two where one must decide.
    """

    costs: tuple[Cost, ...] = ()
    fees: tuple[PairFee, ...] = field(init=False)
    taxes: tuple[TokenTax, ...] = field(init=False)
    impact: PriceImpact | None = field(init=False)
    slippage: float = field(init=False)
    """Fraction of the price."""
    gas: Decimal = field(init=False)
    """USD a trade."""
    delay: timedelta | None = field(init=False)

    def __post_init__(self) -> None:
        """Sort the costs by what they do."""
        impact, slippage = _only(self.costs, PriceImpact), _only(self.costs, Slippage)
        gas, delay = _only(self.costs, GasPerTrade), _only(self.costs, ExecutionDelay)
        for name, value in (
            ("fees", tuple(cost for cost in self.costs if isinstance(cost, PairFee))),
            ("taxes", tuple(cost for cost in self.costs if isinstance(cost, TokenTax))),
            ("impact", impact),
            ("slippage", 0.0 if slippage is None else slippage.fraction),
            ("gas", ZERO if gas is None else exact(gas.usd, "GasPerTrade.usd")),
            ("delay", None if delay is None else delay.by),
        ):
            object.__setattr__(self, name, value)

    @property
    def changes_fills(self) -> bool:
        """Tell whether a fill is other than its quote, or must be reported beside it."""
        return bool(self.impact or self.slippage or self.gas or self.delay)

    def fee_of(self, pair: TradingPairIdentifier) -> float | None:
        """Return the fee given for a pair, None for its own."""
        return next((cost.fraction for cost in self.fees if cost.is_for(pair)), None)

    def tax_of(self, pair: TradingPairIdentifier, is_buy: bool) -> float | None:
        """Return the tax given for a pair's base token, None for that of the pair's data."""
        return next((cost.of_side(is_buy) for cost in self.taxes if cost.is_for(pair)), None)


def collect_costs(given: Any) -> tuple[Cost, ...]:
    """Return costs as a tuple; raises ParameterTypeInvalid for anything else than costs."""
    if given is None:
        return ()
    if not isinstance(given, Iterable) or isinstance(given, str):
        given = (given,)
    costs = tuple(given)
    known = (PairFee, TokenTax, PriceImpact, Slippage, GasPerTrade, ExecutionDelay)
    for cost in costs:
        if isinstance(cost, type) or not isinstance(cost, known):
            raise ParameterTypeInvalid(
                f"costs has {cost!r}: expected costs such as td.Slippage(bps=10), one of "
                "PairFee, TokenTax, ConstantProductImpact, SquareRootImpact, Slippage, GasPerTrade, ExecutionDelay"
            )
    return CostModel(costs).costs


def _only(costs: tuple[Cost, ...], kind: type[Any]) -> Any:
    found = [cost for cost in costs if isinstance(cost, kind)]
    if len(found) > 1:
        raise ParameterTypeInvalid(f"costs has {len(found)} of a kind that one decides: {found}; keep one")
    return found[0] if found else None


NO_COSTS = CostModel()
