"""Plans the trades that bring positions from what they are worth to what an alpha model wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from trading_dagster.domain.error import TooSmallTrade
from trading_dagster.domain.money import DUST
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.trade_order import in_execution_order
from trading_dagster.strategy.alpha_signal import TradingPairSignal, TradingPairSignalFlags
from trading_dagster.strategy.position_manager import PositionManager


@dataclass(frozen=True, slots=True)
class RebalanceRules:
    """Which changes are worth trading; USD, ``close_weight`` a share of the equity."""

    min_trade: float
    min_buy: float
    min_sell: float
    close_weight: float
    override_stop_loss: bool = False
    scales_buys: bool = False
    headroom: float = 0.0
    settlement_buffer: float = 0.0


def rebalance(
    signals: Sequence[TradingPairSignal], position_manager: PositionManager, rules: RebalanceRules
) -> list[TradeExecution]:
    """Return the trades in the order to run them in; signals that are not traded get a flag that says why."""
    largest = max((abs(signal.position_adjust_usd) for signal in signals), default=0.0)
    if largest < rules.min_trade:
        for signal in signals:
            signal.flags.add(TradingPairSignalFlags.max_adjust_too_small)
        return []
    actions = [action for signal in signals if (action := _choose(signal, position_manager, rules)) is not None]
    for action in actions:
        _limit_to_vault(action, position_manager)
    traded = {action.signal.pair_id for action in actions}
    is_sell_left_out = any(s.position_adjust_usd < 0 and s.old_value and s.pair_id not in traded for s in signals)
    if any(action.is_sell() and action.signal.pair.is_async_vault() for action in actions):
        flag = TradingPairSignalFlags.capped_by_pending_settlement_cash
        _scale_buys(actions, position_manager, rules.settlement_buffer, flag)
    is_short_closed = any(a.closes and a.position is not None and a.position.is_short() for a in actions)
    if rules.scales_buys or is_sell_left_out or is_short_closed:
        _scale_buys(actions, position_manager, rules.headroom, TradingPairSignalFlags.capped_by_sync_cash)
    trades: list[TradeExecution] = []
    for action in actions:
        trades += _plan(action, position_manager, rules)
    return in_execution_order(trades)


@dataclass(slots=True)
class _Action:
    """What is to be done about a signal: close its position, or change it by USD (buys) or tokens (sells).

    With both, the position is closed, and one on the other side opened for the USD.
    """

    signal: TradingPairSignal
    position: TradingPosition | None
    closes: bool = False
    adjust_usd: float = 0.0

    def is_sell(self) -> bool:
        return self.closes or self.adjust_usd < 0


def _choose(signal: TradingPairSignal, manager: PositionManager, rules: RebalanceRules) -> _Action | None:
    position = _position_of(signal, manager)
    adjust = signal.position_adjust_usd
    if signal.carried_forward or not adjust:
        return None
    if manager.is_problematic_pair(signal.pair):
        signal.flags.add(TradingPairSignalFlags.blacklisted)
        return None
    if any(
        frozen.pair.get_pricing_pair() == signal.pair
        for frozen in manager.get_current_portfolio().frozen_positions.values()
    ):
        signal.flags.add(TradingPairSignalFlags.frozen)
        return None
    refusal = _vault_refusal(signal, position, manager)
    if refusal is not None:
        signal.flags.add(refusal)
        return None
    is_target_nothing = signal.holds_short and not signal.position_target  # a short cannot be adjusted to nothing
    if signal.normalised_weight < rules.close_weight or is_target_nothing:
        signal.flags.add(TradingPairSignalFlags.close_position_weight_limit)
        if position is None:
            return None
        signal.flags.add(TradingPairSignalFlags.closed)
        return _Action(signal, position, closes=True)
    threshold = rules.min_buy if adjust > 0 else rules.min_sell
    if abs(adjust) < threshold:
        signal.flags.add(TradingPairSignalFlags.individual_trade_size_too_small)
        return None
    if signal.is_flip():
        return _Action(signal, position, closes=True, adjust_usd=adjust)
    loan = None if position is None else position.loan
    if loan is not None and loan.borrowed is not None and not loan.borrowed.quantity:
        return _Action(signal, position, closes=True, adjust_usd=signal.position_target or 0.0)  # only interest is owed
    if (
        adjust < 0
        and not signal.holds_short
        and -signal.position_adjust_quantity <= DUST.close_epsilon(signal.pair.kind)
    ):
        signal.flags.add(TradingPairSignalFlags.individual_trade_quantity_too_small)
        return None
    return _Action(signal, position, adjust_usd=adjust)


def _position_of(signal: TradingPairSignal, manager: PositionManager) -> TradingPosition | None:
    """Return the position that the signal's old value is of; shorts are on a pair of their own."""
    pair = signal.pair
    if signal.holds_short:
        pair = manager.strategy_universe.get_shorting_pair(pair)
    return manager.get_current_position_for_pair(pair)


def _proceeds_of(position: TradingPosition, fee: float, manager: PositionManager) -> float:
    """Return the cash that closing a position brings, USD; a short's debt is bought back with the fee."""
    loan = position.loan
    if loan is None or loan.borrowed is None:
        return position.get_value()
    mid = manager.pricing_model.get_mid_price(manager.timestamp, position.pair)
    return float(loan.collateral.total) - float(loan.borrowed.total) * mid / (1 - fee)


def _vault_refusal(
    signal: TradingPairSignal, position: TradingPosition | None, manager: PositionManager
) -> TradingPairSignalFlags | None:
    """Return why a vault cannot be traded now, None when it can, or is a market."""
    if not signal.pair.is_vault():
        return None
    if position is not None and position.is_settling():
        return TradingPairSignalFlags.settlement_pending
    if signal.position_adjust_usd > 0:
        return None if manager.can_deposit(signal.pair) else TradingPairSignalFlags.cannot_deposit
    return None if position is None or manager.can_redeem(position) else TradingPairSignalFlags.cannot_redeem


def _limit_to_vault(action: _Action, manager: PositionManager) -> None:
    """Cut a change to what a vault takes or gives now."""
    signal, position = action.signal, action.position
    if action.adjust_usd > 0:
        limit = manager.get_max_deposit(signal.pair)
        if limit is not None and action.adjust_usd > limit:
            action.adjust_usd = limit
            signal.flags.add(TradingPairSignalFlags.capped_by_pool_size)
    elif position is not None:
        limit = manager.get_max_redemption(signal.pair)
        wanted = position.get_value() if action.closes else -action.adjust_usd
        if limit is not None and wanted > limit:
            price = manager.pricing_model.get_mid_price(manager.timestamp, signal.pair)
            action.closes, action.adjust_usd = False, -limit
            signal.position_adjust_quantity = -limit / price
            signal.flags.add(TradingPairSignalFlags.capped_by_pool_size)


def _scale_buys(
    actions: Sequence[_Action], manager: PositionManager, headroom: float, flag: TradingPairSignalFlags
) -> None:
    """Scale buys to the cash there is and what the sells that run will bring in this cycle."""
    buys = [action for action in actions if action.adjust_usd > 0]
    asked = sum(action.adjust_usd for action in buys)
    available = manager.get_current_cash() - headroom
    for action in actions:
        if action.signal.pair.is_async_vault():
            continue
        fee = manager.get_pair_fee(action.signal.pair, "sell") or 0.0
        if action.closes and action.position is not None:
            available += _proceeds_of(action.position, fee, manager)
        elif action.adjust_usd < 0:
            available += -action.adjust_usd * (1 - fee)
    if asked <= available:
        return
    factor = max(available, 0.0) / asked
    for action in buys:
        action.adjust_usd *= factor
        action.signal.flags.add(flag)


def _plan(action: _Action, manager: PositionManager, rules: RebalanceRules) -> list[TradeExecution]:
    signal, position = action.signal, action.position
    trades: list[TradeExecution] = []
    if action.closes and position is not None:
        trades += manager.close_position(position)
        position = None
        if not action.adjust_usd:
            return trades
    if signal.is_short():
        return trades + _plan_short(action, position, manager)
    if signal.leverage:
        raise NotImplementedError(f"{signal} has leverage {signal.leverage}: longs are traded without")
    quantity = Decimal(0) if action.adjust_usd > 0 else _at_most_available(signal, position)
    if not action.adjust_usd:
        return trades
    try:
        trades += manager.adjust_position(
            signal.pair,
            action.adjust_usd,
            quantity,
            min(max(signal.normalised_weight, 0.0), 1.0),
            stop_loss=signal.stop_loss,
            take_profit=signal.take_profit,
            trailing_stop_loss=signal.trailing_stop_loss,
            override_stop_loss=rules.override_stop_loss,
        )
    except TooSmallTrade:  # rounding, or what is left of a buy that was scaled
        signal.flags.add(TradingPairSignalFlags.individual_trade_quantity_too_small)
        return trades
    signal.position_id = trades[-1].position_id
    return trades


def _plan_short(action: _Action, position: TradingPosition | None, manager: PositionManager) -> list[TradeExecution]:
    """Open a short, or bring one to its target; a trailing stop counts where the signal has no stop loss."""
    signal = action.signal
    try:
        if position is None:
            if action.adjust_usd <= 0:
                return []
            trades = manager.open_short(
                signal.pair,
                action.adjust_usd,
                leverage=signal.leverage or 1.0,
                stop_loss_pct=signal.stop_loss,
                take_profit_pct=signal.take_profit,
                trailing_stop_loss_pct=signal.trailing_stop_loss if signal.stop_loss is None else None,
            )
        else:
            trades = manager.adjust_short(position, signal.old_value + action.adjust_usd)
    except TooSmallTrade:
        signal.flags.add(TradingPairSignalFlags.individual_trade_quantity_too_small)
        return []
    if trades:
        signal.position_id = trades[0].position_id
    return trades


def _at_most_available(signal: TradingPairSignal, position: TradingPosition | None) -> Decimal:
    """Return the quantity to sell, negative; what the mid estimate exceeds the position by is cut."""
    quantity = Decimal(signal.position_adjust_quantity)
    return quantity if position is None else max(quantity, -position.get_available_trading_quantity())
