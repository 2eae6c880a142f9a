"""YieldManager: where cash waits while the strategy does not need it, in lending markets and vaults, best rule first.

::

    rules = YieldRuleset(
        position_allocation=0.95,
        buffer_pct=0.01,
        cash_change_tolerance_usd=50,
        weights=[YieldWeightingRule(vault, max_concentration=0.25), YieldWeightingRule(credit, max_concentration=1)],
    )
    given = YieldDecisionInput(mode, cycle, timestamp, total_equity, directional_trades=trades, pending_redemptions=0)
    trades += YieldManager(position_manager, rules).calculate_yield_management(given).trades
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import CandleSampleUnavailable, InvalidTrade
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.money import DUST
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeExecution, TradeFlag
from trading_dagster.strategy.execution_context import ExecutionMode
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.position_query import GasModel
from trading_dagster.strategy.size_risk import SizeRiskModel

SMALLEST_TARGET_USD = 1.0
"""A smaller target counts as 0."""

ROUNDING = 1e-12
"""By which fraction of it deposits may exceed the cash there is, when that is only the rounding of floats."""


@dataclass(frozen=True, slots=True)
class YieldWeightingRule:
    """How much of the money for yield a pair takes, as fractions of it and of the pair's TVL; None has no limit.

    A pair of concentration 0 is left.
    """

    pair: TradingPairIdentifier
    max_concentration: float
    max_pool_participation: float | None = None

    def __post_init__(self) -> None:
        """Check kind and fractions."""
        if not self.pair.is_vault() and not self.pair.is_credit_supply():
            raise InvalidTrade(f"{self.pair} yields nothing: give a vault, or the pair of a credit supply")
        if not 0 <= self.max_concentration <= 1:
            raise InvalidTrade(f"max_concentration of {self.pair} is {self.max_concentration}: a fraction from 0 to 1")
        if self.max_pool_participation is not None and not 0 < self.max_pool_participation <= 1:
            raise InvalidTrade(
                f"max_pool_participation of {self.pair} is {self.max_pool_participation}: a fraction up to 1"
            )


@dataclass(frozen=True, slots=True)
class YieldRuleset:
    """How cash is spread.

    Attributes:
        position_allocation: The share of the equity that may leave cash.
        buffer_pct: By how much sells may bring less than planned.
        cash_change_tolerance_usd: Smaller changes are not traded.
        weights: Rules in the order they are filled; the last takes the rest.
    """

    position_allocation: float
    buffer_pct: float
    cash_change_tolerance_usd: float
    weights: Sequence[YieldWeightingRule]

    def __post_init__(self) -> None:
        """Check the fractions, and that the last rule takes what is left."""
        if not 0 < self.position_allocation <= 1 or not 0 <= self.buffer_pct < 1:
            raise InvalidTrade(
                f"position_allocation {self.position_allocation} and buffer_pct {self.buffer_pct} are fractions"
            )
        if not self.weights or self.weights[-1].max_concentration != 1:
            raise InvalidTrade("The last yield rule takes what is left: give it max_concentration=1")
        pairs = [rule.pair for rule in self.weights]
        if len(set(pairs)) != len(pairs):
            raise InvalidTrade(f"Each pair has one yield rule, got {[pair.get_ticker() for pair in pairs]}")


@dataclass(frozen=True, slots=True)
class YieldDecisionInput:
    """What a cycle knows before cash is spread; USD, ``timestamp`` naive UTC.

    ``directional_trades`` are what the strategy itself planned in the cycle, ``pending_redemptions`` must stay payable.
    """

    execution_mode: ExecutionMode
    cycle: int
    timestamp: datetime
    total_equity: float
    directional_trades: Sequence[TradeExecution]
    pending_redemptions: float = 0.0
    size_risk_model: SizeRiskModel | None = None


@dataclass(frozen=True, slots=True)
class YieldResult:
    """What is done with cash: USD that directional trades need net, USD to spread, and the trades."""

    trade_cash_diff: float
    available_for_yield: float
    trades: list[TradeExecution]


class YieldManager:
    """Spreads cash over yield positions by rules.

    A position whose vault gives nothing back now, or has an order that did not settle, keeps its value and takes no
    part; nor does a vault without a share price now. Deposits are cut to what a vault takes, redemptions to what it
    gives, and money that a vault pays in a later cycle is not spent in this one.
    """

    def __init__(self, position_manager: PositionManager, rules: YieldRuleset) -> None:
        """Plan with a position manager."""
        self.position_manager = position_manager
        self.rules = rules

    def calculate_yield_management(self, decision: YieldDecisionInput) -> YieldResult:
        """Plan the trades that bring yield positions to their targets.

        Raises:
            InvalidTrade: Nothing is left for yield, or a yield position is frozen.
        """
        difference = self.calculate_trade_cash_diff(decision.directional_trades)
        available = self._calculate_available(decision, difference)
        if available <= 0:
            raise InvalidTrade(
                f"{available:,.2f} USD are available for yield at {decision.timestamp}: trades need {difference:,.2f}, "
                f"redemptions {decision.pending_redemptions:,.2f}; use calculate_yield_management_safe() to release all"
            )
        trades = self._rebalance(self._find_targets(decision, available), difference + decision.pending_redemptions)
        return YieldResult(difference, available, trades)

    def calculate_yield_management_safe(self, decision: YieldDecisionInput) -> YieldResult:
        """Plan as calculate_yield_management, but release every yield position when 1 USD or less is left."""
        difference = self.calculate_trade_cash_diff(decision.directional_trades)
        available = self._calculate_available(decision, difference)
        if available > SMALLEST_TARGET_USD:
            targets = self._find_targets(decision, available)
        else:
            targets = [(rule.pair, 0.0) for rule in self.rules.weights]
        trades = self._rebalance(targets, difference + decision.pending_redemptions)
        return YieldResult(difference, available, trades)

    def calculate_trade_cash_diff(self, trades: Sequence[TradeExecution]) -> float:
        """Return USD that trades need: buys less what sells bring at least; asynchronous vaults bring nothing now."""
        needed = sum(float(trade.plan.allocation) for trade in trades)
        brought = sum(
            float(trade.planned_reserve) for trade in trades if trade.is_shrinking() and not trade.pair.is_async_vault()
        )
        return needed - (1 - self.rules.buffer_pct) * brought

    def _calculate_available(self, decision: YieldDecisionInput, trade_cash_diff: float) -> float:
        manager = self.position_manager
        for frozen in manager.get_current_portfolio().frozen_positions.values():
            if any(frozen.pair == rule.pair for rule in self.rules.weights):
                raise InvalidTrade(f"{frozen} is frozen, so cash cannot be spread: repair it first")
        held = sum(position.get_value() for _, position in self._positions() if position is not None)
        kept = decision.total_equity * (1 - self.rules.position_allocation)
        return manager.get_current_cash() + held - trade_cash_diff - kept - decision.pending_redemptions

    def _find_targets(
        self, decision: YieldDecisionInput, available: float
    ) -> list[tuple[TradingPairIdentifier, float]]:
        targets: list[tuple[TradingPairIdentifier, float]] = []
        pinned = {
            pair: position.get_value()
            for pair, position in self._positions()
            if position is not None and not (self.position_manager.can_redeem(position) and self._has_price(pair))
        }
        left = max(available - sum(pinned.values()), 0.0)
        for rule in self.rules.weights:
            if rule.pair in pinned or not self._has_price(rule.pair):
                continue
            if rule is self.rules.weights[-1]:
                amount = left
            else:
                amount = min(available * rule.max_concentration, left)
                amount = min(amount, self._limit_of(rule, decision, amount))
            targets.append((rule.pair, amount))
            left -= amount
        return targets

    def _limit_of(self, rule: YieldWeightingRule, decision: YieldDecisionInput, amount: float) -> float:
        """Return what size risk and the share of the pair's TVL allow, USD."""
        limit = amount
        if decision.size_risk_model is not None and amount > 0:
            limit = decision.size_risk_model.get_acceptable_size_for_position(
                decision.timestamp, rule.pair, amount
            ).accepted_size
        if rule.max_pool_participation is not None:
            pricing = self.position_manager.pricing_model
            get_usd_tvl = getattr(pricing, "get_usd_tvl", None)
            if get_usd_tvl is None:
                raise InvalidTrade(f"max_pool_participation needs TVL, which {type(pricing).__name__} does not know")
            limit = min(limit, get_usd_tvl(decision.timestamp, rule.pair) * rule.max_pool_participation)
        return limit

    def _has_price(self, pair: TradingPairIdentifier) -> bool:
        if pair.is_credit_supply():
            return True
        try:
            self.position_manager.pricing_model.get_mid_price(self.position_manager.timestamp, pair)
        except CandleSampleUnavailable:
            return False
        return True

    def _positions(self) -> list[tuple[TradingPairIdentifier, TradingPosition | None]]:
        manager = self.position_manager
        return [(rule.pair, manager.get_current_position_for_pair(rule.pair)) for rule in self.rules.weights]

    def _rebalance(self, targets: Sequence[tuple[TradingPairIdentifier, float]], owed: float) -> list[TradeExecution]:
        """Plan the changes; what is released comes first by the order trades run in."""
        positions = dict(self._positions())
        changes = {
            pair: self._allowed_change(pair, positions[pair], 0.0 if wanted < SMALLEST_TARGET_USD else wanted)
            for pair, wanted in targets
        }
        tolerance = self.rules.cash_change_tolerance_usd
        changes = {pair: change for pair, change in changes.items() if abs(change) > tolerance}
        factor = self._affordable_share(changes, owed + self._gas_of(changes))
        trades: list[TradeExecution] = []
        for pair, asked in changes.items():
            change = asked * factor if asked > 0 else asked
            if abs(change) <= tolerance:
                continue
            position = positions[pair]
            target = (0.0 if position is None else position.get_value()) + change
            if pair.is_credit_supply():
                trades += self._change_credit(pair, position, target)
            else:
                trades += self._change_vault(pair, position, target, change)
        return trades

    def _allowed_change(self, pair: TradingPairIdentifier, position: TradingPosition | None, target: float) -> float:
        """Return by how many USD a position may change towards its target now."""
        if not self._has_price(pair):
            return 0.0
        change = target - (0.0 if position is None else position.get_value())
        if change > 0:
            limit = self.position_manager.get_max_deposit(pair)
            return change if limit is None else min(change, limit)
        if position is not None and not self.position_manager.can_redeem(position):
            return 0.0
        limit = self.position_manager.get_max_redemption(pair)
        return change if limit is None else max(change, -limit)

    def _affordable_share(self, changes: Mapping[TradingPairIdentifier, float], owed: float) -> float:
        """Return which part of the deposits can be paid in this cycle: some vaults pay redemptions in a later one.

        ``owed`` is what trades, redemptions of investors and gas need. When cash limits the deposits, what is
        released may bring less by the buffer.
        """
        wanted = sum(change for change in changes.values() if change > 0)
        released = -sum(change for pair, change in changes.items() if change < 0 and not pair.is_async_vault())
        payable = max(self.position_manager.get_current_cash() - owed + released, 0.0)
        if wanted <= payable * (1 + ROUNDING):
            return 1.0
        return max(payable - self.rules.buffer_pct * released, 0.0) / wanted

    def _gas_of(self, changed: Iterable[TradingPairIdentifier]) -> float:
        """Return what gas takes of cash, USD: what is lent out is taken back first, in a trade of its own."""
        pricing = self.position_manager.pricing_model
        if not isinstance(pricing, GasModel):
            return 0.0
        return pricing.get_gas_usd() * sum(2 if pair.is_credit_supply() else 1 for pair in changed)

    def _change_credit(
        self, pair: TradingPairIdentifier, position: TradingPosition | None, target: float
    ) -> list[TradeExecution]:
        """Close what there is, then lend out the target anew."""
        manager = self.position_manager
        trades = [] if position is None else manager.close_credit_supply_position(position)
        if target <= DUST.collateral:
            return trades
        flags = frozenset() if position is None else frozenset({TradeFlag.ignore_open})
        return trades + manager.open_credit_supply_position_for_reserves(
            target, flags=flags, lending_reserve_identifier=pair.base
        )

    def _change_vault(
        self, pair: TradingPairIdentifier, position: TradingPosition | None, target: float, change: float
    ) -> list[TradeExecution]:
        manager = self.position_manager
        if position is not None and target < SMALLEST_TARGET_USD:
            return manager.close_position(position)
        quantity = None if change > 0 else Decimal(manager.estimate_asset_quantity(pair, change))
        return manager.adjust_position(pair, change, quantity, 1.0)
