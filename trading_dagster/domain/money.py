"""Exact amounts: how floats become Decimals, and which differences are dust.

Prices, candles and measures are float64; token quantities and cash are Decimal in the default 28-digit context.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from numbers import Integral

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import TradingPairKind

ZERO = Decimal(0)
QUANTITY_ZERO_EPSILON = Decimal("1e-18")
"""A position quantity this near zero is zero."""

SELL_OVERSHOOT_EPSILON = Decimal("1e-9")
"""A sell may exceed the wallet by this many tokens and is then cut to the wallet."""

FLOAT_ROUNDING = Decimal("1e-12")
"""An amount may exceed what there is by this fraction of it when it was a float, and is then cut."""

RELATIVE_ACCOUNTING_EPSILON = Decimal("1e-9")
"""Largest relative difference of ledger and simulated wallet."""


class DustTable:
    """How many tokens count as nothing, by what the position is; a position closes at or below its epsilon."""

    def __init__(
        self,
        token: Decimal = Decimal("1e-10"),
        vault_share: Decimal = Decimal("1e-6"),
        credit_supply: Decimal = Decimal("0.003"),
        variable_debt: Decimal = Decimal("1e-4"),
    ) -> None:
        """Set the epsilons, in tokens."""
        self.token = token
        self.collateral = credit_supply
        self._by_kind = {
            TradingPairKind.vault: vault_share,
            TradingPairKind.credit_supply: credit_supply,
            TradingPairKind.lending_protocol_short: variable_debt,
            TradingPairKind.lending_protocol_long: variable_debt,
        }

    def close_epsilon(self, kind: TradingPairKind) -> Decimal:
        """Return the epsilon of a kind of position, in tokens."""
        return self._by_kind.get(kind, self.token)


DUST = DustTable()


def exact(value: float | int | Decimal, what: str = "amount") -> Decimal:
    """Turn a number into a Decimal by its exact binary value; raises BadInput for NaN, infinity and text."""
    if value.__class__ is not float and isinstance(value, Integral):
        return Decimal(int(value))
    if not isinstance(value, float | Decimal):
        if isinstance(value, str) or not hasattr(value, "__float__"):
            raise BadInput(f"The {what} is {value!r} of type {type(value).__name__}: a number is needed")
        value = float(value)
    if not math.isfinite(value):
        raise BadInput(f"The {what} is {value}: a finite number is needed")
    return Decimal(value)


def to_units(amount: Decimal, decimals: int) -> int:
    """Return an amount of tokens in their smallest unit; raises BadInput when it is negative or no whole number."""
    scaled = Fraction(amount) * int(10**decimals)
    if scaled < 0 or scaled.denominator != 1:
        raise BadInput(
            f"{amount} tokens of {decimals} decimals are no whole number of units: round it down first, or check sign "
            "and decimals"
        )
    return scaled.numerator


def to_units_down(amount: Decimal, decimals: int) -> int:
    """Return an amount of tokens in their smallest unit, less what is smaller than one; raises BadInput below 0."""
    if amount < 0:
        raise BadInput(f"The amount is {amount} tokens: it may not be negative")
    return math.floor(Fraction(amount) * int(10**decimals))


def from_units(units: int, decimals: int) -> Decimal:
    """Return an amount in the smallest unit as tokens, exactly; sums of it round at 28 digits like all Decimals."""
    return Decimal((int(units < 0), tuple(map(int, str(abs(units)))), -decimals))
