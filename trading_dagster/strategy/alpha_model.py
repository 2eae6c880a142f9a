"""AlphaModel: from a signal for each pair to a rebalance of the portfolio.

::

    model = AlphaModel(input.timestamp)
    model.set_signal(pair, momentum)                       # for every pair
    model.select_top_signals(count=5)
    model.assign_weights(weight_by_1_slash_n)
    model.normalise_weights(max_weight=0.33)
    model.update_old_weights(position_manager.get_current_portfolio())
    model.calculate_target_positions(position_manager, investable_equity)
    return model.generate_rebalance_trades_and_triggers(position_manager)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import repeat
from operator import itemgetter
from types import MappingProxyType
from typing import Any, TypeAlias

from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.identifier import TradingPairIdentifier, TradingPairKind
from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.strategy.allocation import Sizing, cap_weights, fill_best_first, size_all, size_best
from trading_dagster.strategy.alpha_signal import TradingPairSignal, TradingPairSignalFlags
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.rebalance import RebalanceRules, rebalance
from trading_dagster.strategy.size_risk import SizeRiskModel
from trading_dagster.strategy.weighting import WeightingMethod, weight_by_1_slash_n

CLOSE_POSITION_WEIGHT_EPSILON = 0.005
SIGNAL_KINDS = (TradingPairKind.spot_market_hold, TradingPairKind.spot_market_rebase_token, TradingPairKind.vault)

Given: TypeAlias = tuple[TradingPairIdentifier, float, float | None, float | None, float | None, float | None]
"""What set_signal was given, in its order; few of many pairs are selected, and only those become signals."""


class AlphaModel:
    """The signals of one decision, and what they make of the portfolio.

    Attributes:
        timestamp: Decision time, naive UTC.
        signals: By pair id in order of strength, those that were selected.
        close_position_weight_epsilon: A position of a smaller weight is closed.
        override_stop_loss: Whether a signal's stop loss replaces that of an open position.
        investable_equity: What normalise_weights was given, USD.
        accepted_investable_equity: What the size-risk model left of it, USD.
        size_risk_discarded_value: What it cut off, USD.
        max_position_adjust_usd: The largest change of the last rebalance, USD.
    """

    def __init__(
        self,
        timestamp: datetime | None = None,
        close_position_weight_epsilon: float = CLOSE_POSITION_WEIGHT_EPSILON,
        override_stop_loss: bool = False,
    ) -> None:
        """Begin without signals."""
        self.timestamp = timestamp
        self.close_position_weight_epsilon = close_position_weight_epsilon
        self.override_stop_loss = override_stop_loss
        self.signals: dict[int, TradingPairSignal] = {}
        self.ignored_pair_ids: set[int] = set()
        self.investable_equity: float | None = None
        self.accepted_investable_equity: float | None = None
        self.size_risk_discarded_value: float | None = None
        self.max_position_adjust_usd = 0.0
        self._given: dict[int, Given] = {}
        self._made: dict[int, TradingPairSignal] = {}
        self._carried: dict[int, TradingPairSignal] = {}
        self._is_sized = False

    # -- signals --------------------------------------------------------------------------------------------------

    @property
    def raw_signals(self) -> Mapping[int, TradingPairSignal]:
        """Return all that were set, by pair id in the order they were; change them with set_signal."""
        return MappingProxyType({key: self._raw_signal(key) for key in self._given})

    def set_signal(
        self,
        pair: TradingPairIdentifier,
        alpha: float,
        stop_loss: float | None = None,
        take_profit: float | None = None,
        trailing_stop_loss: float | None = None,
        leverage: float | None = None,
    ) -> None:
        """Give a pair its signal; the last call wins, 0 takes it away, below 0 is a short and needs leverage.

        Raises:
            InvalidTrade: The alpha is no number, or the pair is neither spot nor vault.
        """
        alpha = float(alpha)
        if not math.isfinite(alpha):
            raise InvalidTrade(f"The signal of {pair.get_ticker()} is {alpha}: give a finite number, 0 for none")
        if pair.kind not in SIGNAL_KINDS:
            raise InvalidTrade(f"set_signal({pair}): give the spot or vault pair")
        if alpha < 0 and not isinstance(leverage, float):
            raise InvalidTrade(f"The signal of {pair.get_ticker()} is {alpha}, a short: give leverage as a float")
        pair_id = pair.internal_id or 0
        if self._made:
            self._made.pop(pair_id, None)
        if alpha and pair_id not in self.ignored_pair_ids:
            self._given[pair_id] = pair, alpha, stop_loss, take_profit, trailing_stop_loss, leverage
        else:
            self._given.pop(pair_id, None)

    def ignore_pair(self, pair: TradingPairIdentifier) -> None:
        """Give a pair no signal, whatever is set."""
        self.ignored_pair_ids.add(pair.internal_id or 0)
        self._given.pop(pair.internal_id or 0, None)
        self._made.pop(pair.internal_id or 0, None)

    def select_top_signals(self, count: int, threshold: float = 0.0) -> None:
        """Keep the strongest signals with |alpha| of at least a threshold, equals in the order they were set."""
        carried = self._carried
        strong = [
            (strength, key)
            for key, given in self._given.items()
            if (strength := abs(given[1])) >= threshold and key not in carried
        ]
        strong.sort(key=itemgetter(0), reverse=True)  # which leaves equals in their order
        self.signals = {key: self._raw_signal(key) for _, key in strong[:count]} | carried

    def assign_weights(self, method: WeightingMethod = weight_by_1_slash_n) -> None:
        """Turn the selected signals into raw weights."""
        competing = self._competing()
        weights = method({key: signal.signal for key, signal in competing})
        for key, signal in competing:
            signal.raw_weight = weights[key]

    def normalise_weights(
        self,
        max_weight: float = 1.0,
        investable_equity: float | None = None,
        size_risk_model: SizeRiskModel | None = None,
        max_positions: int | None = None,
        waterfall: bool = False,
        max_protocol_weight: float | None = None,
        max_weight_function: Callable[[TradingPairSignal], float | None] | None = None,
    ) -> None:
        """Turn raw weights into shares of the investable equity, at most ``max_weight`` each.

        Without a model, a number of positions or a waterfall the excess over the cap stays cash. ``max_positions``
        takes the best share of what remains, one after the other; ``waterfall`` fills the best signal first.

        Raises:
            InvalidTrade: The equity is missing where it is needed, or a short is among signals to be sized.
        """
        signals = [signal for _, signal in self._competing()]

        def cap_of(signal: TradingPairSignal) -> float:
            own = None if max_weight_function is None else max_weight_function(signal)
            return max_weight if own is None else own

        self.investable_equity = investable_equity
        if size_risk_model is None and max_positions is None and not waterfall:
            caps = repeat(max_weight) if max_weight_function is None else map(cap_of, signals)
            cap_weights(signals, caps)
            self.accepted_investable_equity, self.size_risk_discarded_value = investable_equity, 0.0
            self._is_sized = False
            return
        if investable_equity is None or self.timestamp is None:
            raise InvalidTrade(
                "normalise_weights() with a size-risk model, max_positions or waterfall needs investable_equity in USD "
                "and AlphaModel(timestamp)"
            )
        shorts = [signal.pair.get_ticker() for signal in signals if signal.is_short()]
        if shorts:
            raise InvalidTrade(f"Positions sized by risk may not be short: {shorts}")
        sizing = Sizing(self.timestamp, investable_equity, size_risk_model, cap_of)
        if waterfall:
            allocation = fill_best_first(signals, sizing, max_positions, max_protocol_weight)
        elif max_positions is not None:
            allocation = size_best(signals, sizing, max_positions)
        else:
            allocation = size_all(signals, sizing)
        self._is_sized = True
        self.accepted_investable_equity = allocation.accepted
        self.size_risk_discarded_value = allocation.discarded

    # -- portfolio ------------------------------------------------------------------------------------------------

    def update_old_weights(
        self,
        portfolio: Portfolio,
        portfolio_pairs: Iterable[TradingPairIdentifier] | None = None,
        ignore_credit: bool = True,
    ) -> None:
        """Note what the portfolio holds; a position without a signal gets one of 0, so that it is closed.

        Raises:
            InvalidTrade: Two open positions are on one market.
        """
        pairs = None if portfolio_pairs is None else set(portfolio_pairs)
        counted = [
            position
            for position in portfolio.open_positions.values()
            if not position.is_credit_supply()
            and not (ignore_credit and position.pair.is_vault())
            and (pairs is None or position.pair.get_pricing_pair() in pairs)
        ]
        by_pair: dict[TradingPairIdentifier, TradingPosition] = {}
        for position in counted:
            other = by_pair.setdefault(position.pair.get_pricing_pair(), position)
            if other is not position:
                raise InvalidTrade(
                    f"{other} and {position} are on one market: an alpha model holds one position of each, long or "
                    "short; close the other first, or leave the market out with portfolio_pairs"
                )
        values = {position.position_id: position.get_value() for position in counted}
        total = sum(values.values())
        for position in counted:
            signal = self._signal_of(position)
            signal.old_value = values[position.position_id]
            signal.old_weight = signal.old_value / total if total else 0.0
            signal.position_id = position.position_id
            signal.holds_short = position.is_short()

    def carry_forward(self, position: TradingPosition) -> float:
        """Let a position keep its value whatever its signal; returns that value, USD, to be left out of the equity."""
        pair_id = position.pair.internal_id or 0
        value = position.get_value()
        pair = position.pair.get_pricing_pair()
        signal = TradingPairSignal(pair, 0.0, position_target=value, carried_forward=True)
        self._carried[pair_id] = self.signals[pair_id] = signal
        return value

    def carry_forward_non_redeemable_positions(self, position_manager: PositionManager) -> float:
        """Let positions keep their value whose vaults give nothing back now; returns the sum, USD.

        Subtract it from the equity to invest. Call it before select_top_signals.
        """
        positions = position_manager.get_current_portfolio().open_positions.values()
        pinned = [p for p in positions if p.is_vault() and not position_manager.can_redeem(p)]
        return sum(self.carry_forward(position) for position in pinned)

    def cap_chain_allocation(self, max_allocation: float) -> None:
        """Scale down weights and targets of a chain that has more than this share; what is cut off stays cash.

        Raises:
            InvalidTrade: The share is not in (0, 1].
        """
        if not 0 < max_allocation <= 1:
            raise InvalidTrade(f"cap_chain_allocation({max_allocation}): give a share above 0, up to 1")
        by_chain: dict[int, list[TradingPairSignal]] = {}
        for _, signal in self._competing():
            by_chain.setdefault(signal.pair.chain_id, []).append(signal)
        for signals in by_chain.values():
            total = sum(signal.normalised_weight for signal in signals)
            if total <= max_allocation:
                continue
            for signal in signals:
                signal.normalised_weight *= max_allocation / total
                if signal.position_target is not None:
                    signal.position_target *= max_allocation / total
                signal.flags.add(TradingPairSignalFlags.capped_by_chain_allocation)

    def calculate_target_positions(
        self, position_manager: PositionManager, investable_equity: float | None = None
    ) -> None:
        """Say what each position is to be worth, and what must change.

        Args:
            position_manager: Whose prices are asked.
            investable_equity: What the weights are shares of, USD; None takes what normalise_weights was given, or
                the total equity.
        """
        equity = investable_equity
        if equity is None:
            equity = self.investable_equity
        if equity is None:
            equity = position_manager.get_current_portfolio().calculate_total_equity()
        for signal in self.signals.values():
            if signal.carried_forward:
                signal.position_adjust_usd, signal.position_adjust_quantity = 0.0, 0.0
                continue
            if signal.position_target is None or not self._is_sized:
                signal.position_target = signal.normalised_weight * equity
            target = signal.position_target or 0.0
            old = signal.old_value
            signal.position_adjust_usd = target if old and signal.is_flip() else target - old
            signal.position_adjust_quantity = 0.0
            if signal.position_adjust_usd < 0 and signal.old_value and not signal.holds_short:
                signal.position_adjust_quantity = position_manager.estimate_asset_quantity(
                    signal.pair, signal.position_adjust_usd
                )

    def generate_rebalance_trades_and_triggers(
        self,
        position_manager: PositionManager,
        min_trade_threshold: float = 10.0,
        individual_rebalance_min_threshold: float = 0.0,
        sell_rebalance_min_threshold: float | None = None,
        execution_context: Any = None,  # noqa: ARG002 - the vocabulary names it
        same_cycle_cash_buffer_usd: float = 0.0,
        cap_buys_to_sync_cash: bool = False,
        sync_cash_headroom_usd: float = 0.0,
    ) -> list[TradeExecution]:
        """Plan the trades that bring positions to their targets, those that release money first.

        Args:
            position_manager: What plans them.
            min_trade_threshold: Nothing is traded when no change is this large, USD.
            individual_rebalance_min_threshold: A smaller change is left out, USD; never a close.
            sell_rebalance_min_threshold: The same for sells; None takes that for all.
            execution_context: Of no effect; strategies pass it.
            same_cycle_cash_buffer_usd: Cash kept when buys are scaled because vaults pay in a later cycle, USD.
            cap_buys_to_sync_cash: Scale buys to the cash there is and what the sells that will run bring. This is done
                anyway when a sell is left out, so that no buy relies on its money.
            sync_cash_headroom_usd: Cash kept when buys are scaled, USD.
        """
        self.max_position_adjust_usd = max(
            (abs(signal.position_adjust_usd) for signal in self.signals.values()), default=0.0
        )
        rules = RebalanceRules(
            min_trade=min_trade_threshold,
            min_buy=individual_rebalance_min_threshold,
            min_sell=(
                individual_rebalance_min_threshold
                if sell_rebalance_min_threshold is None
                else sell_rebalance_min_threshold
            ),
            close_weight=self.close_position_weight_epsilon,
            override_stop_loss=self.override_stop_loss,
            scales_buys=cap_buys_to_sync_cash,
            headroom=sync_cash_headroom_usd,
            settlement_buffer=same_cycle_cash_buffer_usd,
        )
        return rebalance(list(self.signals.values()), position_manager, rules)

    # -- questions ------------------------------------------------------------------------------------------------

    def iterate_signals(self) -> Iterator[TradingPairSignal]:
        """Return the selected signals, the strongest first."""
        return iter(self.signals.values())

    def get_signal_by_pair(self, pair: TradingPairIdentifier) -> TradingPairSignal | None:
        """Return the selected signal of a pair, or None."""
        return self.signals.get(pair.internal_id or 0)

    def get_signal_by_pair_id(self, pair_id: int) -> TradingPairSignal | None:
        """Return the selected signal of a pair, or None."""
        return self.signals.get(pair_id)

    def get_signals_sorted_by_weight(self) -> list[TradingPairSignal]:
        """Return the selected signals, the largest raw weight first."""
        return sorted(self.signals.values(), key=lambda signal: -signal.raw_weight)

    def get_signal_count(self) -> int:
        """Return how many signals are selected."""
        return len(self.signals)

    def has_any_signal(self) -> bool:
        """Tell whether a selected signal is not 0."""
        return any(signal.signal for signal in self.signals.values())

    def has_any_position(self) -> bool:
        """Tell whether a signal has or will have a position."""
        return any(signal.position_target or signal.old_value for signal in self.signals.values())

    def get_allocated_value(self) -> float:
        """Return the sum of the targets, USD."""
        return sum(signal.position_target or 0.0 for signal in self.signals.values())

    def is_rebalance_triggered(self, min_trade_threshold: float = 10.0) -> bool:
        """Tell whether the largest change is worth trading."""
        largest = max((abs(signal.position_adjust_usd) for signal in self.signals.values()), default=0.0)
        return largest > 0 and largest >= min_trade_threshold

    def get_flag_diagnostics_data(self) -> dict[str, int]:
        """Return how many signals have each flag."""
        return dict(Counter(flag.value for signal in self.signals.values() for flag in signal.flags))

    def calculate_weight_diffs(self) -> dict[int, float]:
        """Return by pair id how much each weight changes: the normalised one less that before the rebalance."""
        return {key: signal.normalised_weight - signal.old_weight for key, signal in self.signals.items()}

    def get_missed_vault_events(self) -> list[dict[str, Any]]:
        """Return the deposits and redemptions that vaults did not let happen: pair, vault, event, usd, reason.

        Ask after `generate_rebalance_trades_and_triggers`; ``vault`` is its name, and ``to_dict`` has them, too.
        """
        refusals = {
            TradingPairSignalFlags.cannot_deposit: "deposit",
            TradingPairSignalFlags.cannot_redeem: "redemption",
            TradingPairSignalFlags.settlement_pending: "",
        }
        return [
            {
                "pair": signal.pair,
                "vault": VaultTerms.of_pair(signal.pair).name or signal.pair.get_ticker(),
                "event": event or ("deposit" if signal.position_adjust_usd > 0 else "redemption"),
                "usd": abs(signal.position_adjust_usd),
                "reason": flag.value,
            }
            for signal in self.signals.values()
            for flag, event in refusals.items()
            if flag in signal.flags
        ]

    def get_unallocatable_signals(self) -> list[TradingPairSignal]:
        """Return the signals that want more money than their vaults take: their share stays cash."""
        return [
            signal
            for signal in self.signals.values()
            if signal.position_adjust_usd > 0 and TradingPairSignalFlags.cannot_deposit in signal.flags
        ]

    def get_debug_print(self) -> str:
        """Return the signals as text, a line each."""
        return "\n".join(map(repr, self.signals.values())) or "no signals"

    def to_dict(self) -> dict[str, Any]:
        """Return what there is to say as plain data, for the log or state.other_data."""
        return {
            "timestamp": None if self.timestamp is None else self.timestamp.isoformat(),
            "investable_equity": self.investable_equity,
            "accepted_investable_equity": self.accepted_investable_equity,
            "size_risk_discarded_value": self.size_risk_discarded_value,
            "signals": [
                {
                    "pair": signal.pair.get_ticker(),
                    "signal": signal.signal,
                    "raw_weight": signal.raw_weight,
                    "normalised_weight": signal.normalised_weight,
                    "old_value": signal.old_value,
                    "position_target": signal.position_target,
                    "position_adjust_usd": signal.position_adjust_usd,
                    "flags": sorted(flag.value for flag in signal.flags),
                }
                for signal in self.signals.values()
            ],
            "missed_vault_events": [
                {**event, "pair": event["pair"].get_ticker()} for event in self.get_missed_vault_events()
            ],
        }

    def _raw_signal(self, pair_id: int) -> TradingPairSignal:
        """Return a signal that was set: the same object whenever it is asked for."""
        signal = self._made.get(pair_id)
        if signal is None:
            signal = self._made[pair_id] = TradingPairSignal(*self._given[pair_id])
        return signal

    def _competing(self) -> list[tuple[int, TradingPairSignal]]:
        """Return the signals that share the equity: not what keeps its value, nor what is only there to be closed."""
        return [(key, s) for key, s in self.signals.items() if s.signal and not s.carried_forward]

    def _signal_of(self, position: TradingPosition) -> TradingPairSignal:
        pair_id = position.pair.internal_id or 0
        signal = self.signals.get(pair_id)
        if signal is None:
            pair = position.pair.get_pricing_pair()
            signal = self.signals[pair_id] = TradingPairSignal(pair, 0.0, position_target=0.0)
        return signal
