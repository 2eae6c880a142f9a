"""The pairs that loans are traded as, and whether their lending markets are open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from trading_dagster.domain.error import BadInput, DataUnavailable, NoLendingData, UnknownPair
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier, TradingPairKind
from trading_dagster.market.lending import (
    TOLERANCE,
    LendingCandleType,
    LendingReserve,
    LendingUniverse,
    ReserveLike,
)


@dataclass(frozen=True, slots=True)
class LendingMarkets:
    """What a universe offers to lend and borrow; ``lending`` None offers nothing."""

    lending: LendingUniverse | None
    reserve_asset: AssetIdentifier

    def require(self) -> LendingUniverse:
        """Return reserves and rates; raises NoLendingData without any."""
        if self.lending is None or not self.lending.reserves:
            raise NoLendingData(
                "The universe has no lending markets: load rates (lending_reserves= of load_partial_data, or "
                "lending_candles= of a dataset) before opening shorts or credit supply"
            )
        return self.lending

    def get_shorting_pair(self, spot: TradingPairIdentifier) -> TradingPairIdentifier:
        """Return the pair of a short: it owes the spot pair's base against collateral in its quote."""
        if not spot.is_spot():
            raise BadInput(f"get_shorting_pair({spot}): give the spot pair")
        debt, collateral = self._reserve_of(spot.base), self._reserve_of(spot.quote)
        return TradingPairIdentifier(
            base=debt.vtoken,
            quote=collateral.atoken,
            pool_address=spot.pool_address,
            exchange_address=spot.exchange_address,
            internal_id=spot.internal_id,
            internal_exchange_id=spot.internal_exchange_id,
            fee=spot.fee,
            kind=TradingPairKind.lending_protocol_short,
            underlying_spot_pair=spot,
            exchange_name=debt.protocol.value,
        )

    def get_credit_supply_pair(self, reserve: ReserveLike | None = None) -> TradingPairIdentifier:
        """Return the pair of lending out the reserve token, or that of another reserve of it."""
        chosen = self.require().find_reserve(reserve) if reserve is not None else self._reserve_of(self.reserve_asset)
        if chosen.asset != self.reserve_asset:
            raise BadInput(f"Credit supply lends out the reserve {self.reserve_asset}, not {chosen.asset}")
        return TradingPairIdentifier(
            base=chosen.atoken,
            quote=chosen.asset,
            pool_address=chosen.atoken.address,
            exchange_address=chosen.atoken.address,
            fee=0.0,
            kind=TradingPairKind.credit_supply,
            exchange_name=chosen.protocol.value,
        )

    def can_supply(self, asset: AssetIdentifier, timestamp: datetime) -> bool:
        """Tell whether a borrow rate above 0 is known within two days: the market works."""
        try:
            reserve = self._reserve_of(asset)
            rate = self.require().get_rate(reserve, LendingCandleType.variable_borrow_apr, timestamp, TOLERANCE)
        except DataUnavailable:
            return False
        return rate > 0

    def get_supply_apr(
        self, reserve: ReserveLike | None, timestamp: datetime | None, tolerance: timedelta = TOLERANCE
    ) -> float:
        """Return the newest supply rate as a fraction; raises NoLendingData."""
        lending = self.require()
        chosen = lending.find_reserve(reserve if reserve is not None else self.reserve_asset)
        if timestamp is None:
            frame = lending.rates.get((chosen.reserve_id, LendingCandleType.supply_apr))
            if frame is None or frame.empty:
                raise NoLendingData(f"There is no supply rate of {chosen.asset.token_symbol}")
            return float(frame["close"].iloc[-1]) / 100
        return lending.get_rate(chosen, LendingCandleType.supply_apr, timestamp, tolerance) / 100

    def _reserve_of(self, asset: AssetIdentifier) -> LendingReserve:
        lending = self.require()
        try:
            return lending.get_reserve(asset)
        except UnknownPair as error:
            raise NoLendingData(f"{error}: load the lending rates of {asset.token_symbol}") from None
