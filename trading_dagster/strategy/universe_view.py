"""The universe as a decision may see it: all its pairs, but no candle that closes after the decision time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from trading_dagster.domain.error import LookaheadRefused
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.vault_history import VaultHistory
from trading_dagster.market.data_universe import CandleUniverse, DataUniverse
from trading_dagster.market.lending import LendingUniverse, ReserveLike
from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.clock import DecisionClock

_TIMED = (
    "candles", "stop_loss_candles", "liquidity", "data_universe", "backtest_stop_loss_candles", "lending",
    "vault_limits",
)  # fmt: skip


class VisibleUniverse(TradingStrategyUniverse):
    """What ``input.strategy_universe`` is in a decision: the universe, its candles cut off at the clock.

    Look-ups of pairs and tokens are those of the universe; candle panels are views without copies.
    """

    def __init__(self, universe: TradingStrategyUniverse, clock: DecisionClock) -> None:
        """Show a universe up to a clock."""
        shared = {name: value for name, value in vars(universe).items() if name not in _TIMED}
        self.__dict__.update(shared, _whole=universe, _clock=clock, _cut=(-1, {}))

    _whole: TradingStrategyUniverse
    _clock: DecisionClock
    _cut: tuple[int, dict[str, Any]]

    @property
    def candles(self) -> CandlePanel:
        """Return the candles that closed at or before the decision time."""
        return self._until_now("candles", self._whole.candles)

    @property
    def stop_loss_candles(self) -> CandlePanel | None:
        """Return the stop-loss candles that closed at or before the decision time."""
        panel = self._whole.stop_loss_candles
        return None if panel is None else self._until_now("stop_loss_candles", panel)

    @property
    def liquidity(self) -> CandlePanel | None:
        """Return the TVL candles that closed at or before the decision time."""
        panel = self._whole.liquidity
        return None if panel is None else self._until_now("liquidity", panel)

    @property
    def lending(self) -> LendingUniverse | None:
        """Return the lending rates whose candles closed at or before the decision time."""
        lending = self._whole.lending
        if lending is None:
            return None
        cut = self._cut_now()
        if "lending" not in cut:
            cut["lending"] = lending.until(self._clock.timestamp)
        known: LendingUniverse = cut["lending"]
        return known

    @property
    def vault_limits(self) -> VaultHistory:
        """Return what vaults took and gave up to the decision time."""
        cut = self._cut_now()
        if "vault_limits" not in cut:
            cut["vault_limits"] = self._whole.vault_limits.until(self._clock.timestamp)
        known: VaultHistory = cut["vault_limits"]
        return known

    def has_lending_data(self) -> bool:
        """Tell whether there are lending markets."""
        return self._whole.has_lending_data()

    def get_shorting_pair(self, pair: TradingPairIdentifier) -> TradingPairIdentifier:
        """Return the pair of a short on a spot pair; raises NoLendingData."""
        return self._whole.get_shorting_pair(pair)

    def get_credit_supply_pair(self, reserve: ReserveLike | None = None) -> TradingPairIdentifier:
        """Return the pair of lending out the reserve token; raises NoLendingData."""
        return self._whole.get_credit_supply_pair(reserve)

    def can_open_short(self, timestamp: datetime, pair: TradingPairIdentifier) -> bool:
        """Tell whether a short can be opened at a time that is not later than now."""
        self._refuse_later(timestamp)
        return super().can_open_short(timestamp, pair)

    def can_open_credit_supply(self, timestamp: datetime, pair: TradingPairIdentifier | None = None) -> bool:
        """Tell whether the reserve can be lent out at a time that is not later than now."""
        self._refuse_later(timestamp)
        return super().can_open_credit_supply(timestamp, pair)

    @property
    def backtest_stop_loss_candles(self) -> CandleUniverse | None:
        """Return the stop-loss candles that closed at or before the decision time, as frames."""
        panel = self.stop_loss_candles
        return None if panel is None else CandleUniverse(panel)

    @property
    def data_universe(self) -> DataUniverse:
        """Return pairs, and candles that closed at or before the decision time, as ported strategies read them."""
        whole = self._whole.data_universe
        liquidity = self.liquidity
        return DataUniverse(
            time_bucket=whole.time_bucket,
            chains=whole.chains,
            exchanges=whole.exchanges,
            pairs=whole.pairs,
            candles=CandleUniverse(self.candles),
            liquidity=None if liquidity is None else CandleUniverse(liquidity),
            lending_candles=self.lending,
        )

    def can_open_spot(self, timestamp: datetime, pair: TradingPairIdentifier) -> bool:
        """Tell whether the pair has a price at a time that is not later than now."""
        self._refuse_later(timestamp)
        return self._whole.can_open_spot(timestamp, pair)

    def get_trading_broken_reason(
        self,
        pair: TradingPairIdentifier,
        min_candles_required: int,
        min_price: float = 1e-8,
        max_price: float = 1e6,
        timestamp: datetime | None = None,
    ) -> str | None:
        """Return why a pair should not be traded, or None; looks only at candles that closed by now."""
        self._refuse_later(timestamp)
        return self._whole.get_trading_broken_reason(
            pair, min_candles_required, min_price, max_price, timestamp or self._clock.timestamp
        )

    def get_cache_key(self) -> str:
        """Return the hash of the whole universe."""
        return self._whole.get_cache_key()

    def __reduce__(self) -> tuple[object, ...]:
        """Refuse to be stored: a view belongs to a running decision."""
        raise LookaheadRefused("A decision's view of the universe cannot be stored: store the universe itself")

    def _until_now(self, name: str, panel: CandlePanel) -> CandlePanel:
        cut = self._cut_now()
        if name not in cut:
            cut[name] = panel.until(self._clock.timestamp_us)
        known: CandlePanel = cut[name]
        return known

    def _cut_now(self) -> dict[str, Any]:
        """Return what was cut off at the clock's time, to be filled."""
        now_us, cut = self._cut
        if now_us != self._clock.timestamp_us:
            cut = {}
            self.__dict__["_cut"] = (self._clock.timestamp_us, cut)
        return cut

    def _refuse_later(self, timestamp: datetime | None) -> None:
        if timestamp is not None and timestamp > self._clock.timestamp:
            raise LookaheadRefused(
                f"The universe was asked about {timestamp} at {self._clock.timestamp}: a decision cannot know that yet"
            )
