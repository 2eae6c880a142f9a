"""Fees a fund takes from its investors: new shares for the manager, so that the others' share of all is less.

No money moves, so equity stays; the share price shows what is left for an investor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from trading_dagster.domain.error import ParameterTypeInvalid
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.time import YEAR, to_naive
from trading_dagster.domain.value import value

FIRST_PERIOD = to_naive(datetime(1, 1, 1, tzinfo=UTC))
"""When the first period of every length begins, naive UTC."""


@dataclass(frozen=True, slots=True)
class FundFees:
    """What a fund takes, and when: at a steady pace, before each deposit and redemption, and at the end.

    Args:
        management: Of all that there is, a year; 0.02 is 2 %. It compounds, so how often it is taken plays no part.
        performance: Of what the share price gained above its high-water mark, 0.2 is 20 %.
        every: Length of a period, counted from 0001-01-01; the performance fee is settled at each.
    """

    management: float = 0.0
    performance: float = 0.0
    every: timedelta = timedelta(days=30)

    def __post_init__(self) -> None:
        """Refuse what is no fraction; raises ParameterTypeInvalid."""
        for name in ("management", "performance"):
            given = getattr(self, name)
            if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < 1:
                raise ParameterTypeInvalid(
                    f"FundFees.{name} is {given!r}: expected a fraction from 0 to below 1, 0.02 is 2 %"
                )
        if not isinstance(self.every, timedelta) or self.every <= timedelta(0):
            raise ParameterTypeInvalid(f"FundFees.every is {self.every!r}: expected a timedelta above 0")

    @classmethod
    def of_module(cls, details: Mapping[str, Any]) -> FundFees:
        """Return the fees that a strategy module names: fractions, or text such as "2%".

        The performance fee is ``trading_strategy_protocol_fee`` and ``strategy_developer_fee`` together.
        """
        names = ("trading_strategy_protocol_fee", "strategy_developer_fee")
        performance = sum(_as_fraction(name, details.get(name)) for name in names)
        return cls(management=_as_fraction("management_fee", details.get("management_fee")), performance=performance)

    def period_of(self, at: datetime) -> int:
        """Return the number of the period that a naive UTC time is in."""
        return (at - FIRST_PERIOD) // self.every


def read_fund_fees(parameters: Mapping[str, Any], details: Mapping[str, Any]) -> FundFees | None:
    """Return the fees of ``Parameters.fund_fees``, None without any; True stands for those the module names."""
    given = parameters.get("fund_fees")
    if given is True:
        given = FundFees.of_module(details)
    if not isinstance(given, FundFees) or not (given.management or given.performance):
        return None
    return given


@value
class FundFeeTake:
    """One time that fees were taken. Shares are those made for the manager; amounts in USD at the price after it."""

    management_shares: Decimal
    performance_shares: Decimal
    management_usd: float
    performance_usd: float
    share_price: float
    """After the fees."""
    high_water_mark: float


def calculate_fund_fees(
    fees: FundFees,
    *,
    shares: Decimal,
    net_asset_value: float,
    elapsed: timedelta,
    high_water_mark: float,
    initial_share_price: float,
) -> FundFeeTake:
    """Return what fees are due after a time without flows.

    The management fee leaves the investors (1 - management) ^ years of all; the performance fee is taken after it, of
    what the price of a share is above the mark.
    """
    if shares <= 0 or net_asset_value <= 0:
        return FundFeeTake(ZERO, ZERO, 0.0, 0.0, initial_share_price, initial_share_price)
    kept: float = (1.0 - fees.management) ** (elapsed / YEAR)
    managed = shares * (Decimal(1 / kept) - 1) if fees.management else ZERO
    price = net_asset_value / float(shares + managed)
    performed = ZERO
    if fees.performance and price > high_water_mark:
        due = fees.performance * (price - high_water_mark) * float(shares + managed)
        performed = (shares + managed) * Decimal(due / (net_asset_value - due))
        price = net_asset_value / float(shares + managed + performed)
    return FundFeeTake(
        managed,
        performed,
        float(managed) * price,
        float(performed) * price,
        price,
        max(high_water_mark, price),
    )


@value
class FundFeeEntry:
    """Fees that were taken at a time, naive UTC."""

    at: datetime
    take: FundFeeTake


def _as_fraction(name: str, given: Any) -> float:
    if given is None or given == "":
        return 0.0
    try:
        if isinstance(given, str):
            text = given.strip()
            return float(text.removesuffix("%")) / 100 if text.endswith("%") else float(text)
        return float(given)
    except (TypeError, ValueError):
        raise ParameterTypeInvalid(f"{name} is {given!r}: expected a fraction, or text such as '2%'") from None
