"""How the candles of a universe price trades: its fees, what trading costs, how old a price may be."""

from __future__ import annotations

from datetime import timedelta

from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.pricing.candle_pricing import DEFAULT_TOLERANCE, CandleMarks, CandlePricing, Clock, FeeSchedule
from trading_dagster.pricing.cost_model import NO_COSTS, CostModel
from trading_dagster.pricing.market_impact import MarketImpact


class CandleMarket:
    """Prices and valuations on a universe's candles, all by the same rules."""

    def __init__(
        self,
        universe: TradingStrategyUniverse,
        costs: CostModel = NO_COSTS,
        *,
        trading_fee_override: float | None = None,
        default_fee: float | None = None,
        allow_missing_fees: bool = False,
        three_leg_resolution: bool = True,
        data_delay_tolerance: timedelta | None = None,
    ) -> None:
        """Price trades on a universe; fees are fractions, a tolerance of None is the universe's own."""
        self.universe = universe
        self.fees = FeeSchedule(
            universe.get_reserve_asset(),
            universe.pairs,
            trading_fee_override=trading_fee_override,
            default_fee=default_fee,
            allow_missing_fees=allow_missing_fees,
            three_leg_resolution=three_leg_resolution,
            costs=costs,
        )
        tolerance = universe.price_data_delay_tolerance if data_delay_tolerance is None else data_delay_tolerance
        self._tolerance = tolerance
        self._impact: MarketImpact | None = None
        if costs.impact is not None:
            age = DEFAULT_TOLERANCE if tolerance is None else tolerance
            self._impact = MarketImpact(costs.impact, universe.candles, universe.liquidity, age)

    def price_on(self, candles: CandlePanel, clock: Clock) -> CandlePricing:
        """Return the prices of trades on some of the universe's candles, nothing after a clock's time."""
        return CandlePricing(
            candles,
            self.fees,
            clock,
            liquidity=self.universe.liquidity,
            data_delay_tolerance=self._tolerance,
            impact=self._impact,
            vault_limits=self.universe.vault_limits,
        )

    def value_at(self, clock: Clock) -> CandleMarks:
        """Return the valuation of positions at a clock's time."""
        return CandleMarks(self.universe.candles, self.universe.stop_loss_candles, self.fees, clock)
