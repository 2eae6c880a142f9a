"""A strategy that places any order it may, decided by a seed, and everything a state holds of them."""

from __future__ import annotations

import random
from datetime import timedelta
from decimal import Decimal

from random_strategy import Parameters as RandomParameters
from random_strategy import describe

from trading_dagster.domain.state import State
from trading_dagster.domain.trigger import TriggerCondition, TriggerModel

HOUR = timedelta(hours=1)


class Parameters(RandomParameters):
    trigger_model = TriggerModel.sampled


class IntrabarParameters(RandomParameters):
    trigger_model = TriggerModel.intrabar


def parameters_of(seed: int) -> type[RandomParameters]:
    """Return the parameters of a seed: every second one looks into candles."""
    return IntrabarParameters if seed % 2 else Parameters


def place_orders_by_seed(seed: int):
    """Return a decide_trades that places, changes and cancels orders at random, the same way at every cycle."""

    def decide_trades(input):
        pm = input.get_position_manager()
        rng = random.Random(seed * 1_000_003 + input.cycle)
        trades = []
        for pair in input.strategy_universe.iterate_pairs():
            roll = rng.random()
            position = pm.get_current_position_for_pair(pair, pending=True)
            if position is None:
                trades += _enter(pm, pair, rng, roll)
            elif position.is_pending():
                if roll < 0.15:
                    pm.close_position(position, pending=True)
                elif roll < 0.3:
                    _add_profits(pm, position, rng)
            elif roll < 0.1:
                trades += pm.close_position(position)
            elif roll < 0.2 and position.pending_trades:
                pm.cancel_waiting_trades(position, [rng.choice(list(position.pending_trades.values()))])
            elif roll < 0.4:
                _add_profits(pm, position, rng)
            elif roll < 0.5:
                mid = input.pricing_model.get_mid_price(input.timestamp, pair)
                pm.adjust_position(pair, rng.uniform(100, 4_000), None, 0.1, pending=True, trigger_price=mid * 1.01)
            elif roll < 0.6:
                trades += pm.adjust_position(pair, -1.0, -position.get_quantity() * Decimal(rng.uniform(0.1, 0.9)), 0.1)
            elif roll < 0.7 and position.stop_loss is not None:
                pm.update_stop_loss(position, position.stop_loss * 1.001, trailing=True)
        return trades

    return decide_trades


def _enter(pm, pair, rng, roll):
    levels = rng.choice([{}, {"stop_loss_pct": 0.97}, {"trailing_stop_loss_pct": 0.97}, {"take_profit_pct": 1.05}])
    value = rng.uniform(100, 6_000)  # three of them may need more cash than there is when they fire
    if roll < 0.5:
        mid = pm.pricing_model.get_mid_price(pm.timestamp, pair)
        is_dip = rng.random() < 0.5
        position, _ = pm.open_spot_with_market_limit(
            pair,
            value,
            mid * rng.uniform(0.97, 1.0) if is_dip else mid * rng.uniform(1.0, 1.03),
            expires_at=rng.choice([None, pm.timestamp + 30 * HOUR]),
            condition=TriggerCondition.cross_below if is_dip else TriggerCondition.cross_above,
            **levels,
        )
        if rng.random() < 0.5:
            _add_profits(pm, position, rng)
        return []
    cash = pm.get_current_cash() / 4
    if roll < 0.7 and cash > 10:
        trades = pm.open_spot(pair, cash, **levels)
        _add_profits(pm, pm.get_current_position_for_pair(pair), rng)
        return trades
    return []


def _add_profits(pm, position, rng):
    quantity = position.get_quantity(planned=True) + position.get_pending_quantity()
    mid = pm.pricing_model.get_mid_price(pm.timestamp, position.pair)
    when = [mid * rng.uniform(0.99, 1.04), rng.randint(1, 40) * HOUR, pm.timestamp + rng.randint(1, 40) * HOUR]
    pm.prepare_take_profit_trades(
        position,
        [(rng.choice(when), -quantity * Decimal(rng.uniform(0.05, 1)), rng.random() < 0.3) for _ in range(3)],
    )


def describe_orders(state: State) -> dict:
    """Return everything a state holds, orders that wait or waited as well; equal exactly when the states are."""
    portfolio = state.portfolio
    positions = [*portfolio.get_all_positions(pending=True), *portfolio.expired_positions.values()]
    return describe(state) | {
        "pending": list(portfolio.pending_positions),
        "orders": {
            p.position_id: (
                (p.opened_at, p.pending_since_at, p.expired_at, p.last_fired_at, p.unfinished_trade_count),
                [
                    (t.trade_id, t.plan, t.triggers, t.activated_trigger, t.expired_triggers, t.expired_at, t.failure)
                    for trades in (p.trades, p.pending_trades, p.expired_trades)
                    for t in trades.values()
                ],
            )
            for p in positions
        },
    }
