"""A strategy that shorts, lends out and buys at random, decided by a seed, with rates that change."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
from random_strategy import BARS, PAIRS, START, USDC, make_universe

from trading_dagster.domain.error import LiquidationRisked, TooSmallTrade
from trading_dagster.domain.time import TimeBucket
from trading_dagster.domain.trigger import TriggerCondition
from trading_dagster.market.lending import RATE_COLUMNS, LendingCandleType, LendingUniverse
from trading_dagster.market.synthetic import generate_lending_reserve
from trading_dagster.market.universe import TradingStrategyUniverse


def make_lending_universe(seed: int) -> TradingStrategyUniverse:
    """Three pairs, whose tokens can be borrowed at rates up to 60 % a year that change every two hours."""
    reserves = tuple(generate_lending_reserve(token, n) for n, token in enumerate((USDC, *(p.base for p in PAIRS)), 1))
    index = pd.date_range(START, START + timedelta(hours=BARS), freq="2h", inclusive="left", name="timestamp")
    generator = np.random.default_rng(seed)
    rates = {
        (reserve.reserve_id, kind): pd.DataFrame(
            np.sort(generator.uniform(0, 60, (len(index), 4)), axis=1)[:, [1, 3, 0, 2]], index, list(RATE_COLUMNS)
        )
        for reserve in reserves
        for kind in LendingCandleType
    }
    return replace(make_universe(seed), lending=LendingUniverse(TimeBucket.h2, reserves, rates))


def decide_loans_by_seed(seed: int):
    """Return a decide_trades that opens, adjusts and closes shorts, credit and spot, the same way at every cycle."""

    def decide_trades(input):
        pm = input.get_position_manager()
        rng = random.Random(seed * 1_000_003 + input.cycle)
        trades = []
        left = pm.get_current_cash()
        if rng.random() < 0.3:
            trades += pm.manage_credit_flow(
                pm.calculate_credit_flow_needed(trades, allocation_pct=rng.uniform(0.4, 0.7)),
                cash_change_tolerance_usd=rng.choice([0, 50]),
            )
            left -= sum(float(t.plan.allocation) for t in trades)
        for pair in input.strategy_universe.iterate_pairs():
            short = pm.get_current_position_for_pair(input.strategy_universe.get_shorting_pair(pair), pending=True)
            try:
                made = _change_short(pm, rng, pair, short, max(left, 0) / 4)
            except (TooSmallTrade, LiquidationRisked):
                made = []
            left -= sum(float(t.plan.allocation) for t in made)
            trades += made
        spot = pm.get_current_position_for_pair(PAIRS[0])
        if spot is None and left > 50 and rng.random() < 0.3:
            trades += pm.open_spot(PAIRS[0], left * 0.2)
        elif spot is not None and rng.random() < 0.3:
            trades += pm.close_position(spot)
        return trades

    return decide_trades


def _change_short(pm, rng, pair, short, amount):
    roll = rng.random()
    if short is None:
        if 0.4 < roll < 0.5:
            return _wait(pm, rng, pair)
        if roll > 0.4 or amount < 10:
            return []
        trigger = rng.choice([{}, {"stop_loss_pct": 0.99}, {"take_profit_pct": 1.02}])
        return pm.open_short(pair, amount * rng.uniform(0.2, 1), leverage=rng.uniform(0.5, 5.2), **trigger)
    if short.is_pending():
        return pm.close_position(short, pending=True) if roll < 0.05 else []
    if roll < 0.15 or not short.loan.borrowed.quantity:  # only interest is owed: there is no leverage to keep
        return pm.close_position(short)
    if roll < 0.3:
        return pm.close_short(short, quantity=-short.get_quantity() * Decimal(rng.uniform(0.1, 0.9)))
    if roll < 0.5 and amount > 10:
        return pm.adjust_short(short, short.get_value() + amount * rng.uniform(0, 0.9))
    return pm.adjust_short(short, short.get_value() * rng.uniform(0.3, 1)) if roll < 0.7 else []


def _wait(pm, rng, pair):
    """Let a short wait, for less cash than there may be when it fires, or for more."""
    pm.open_short_with_market_limit(
        pair,
        rng.uniform(50, 3_000),
        pm.pricing_model.get_mid_price(pm.timestamp, pair) * rng.uniform(0.97, 1.03),
        expires_at=rng.choice([None, pm.timestamp + timedelta(hours=30)]),
        leverage=rng.uniform(0.5, 5),
        condition=rng.choice([TriggerCondition.cross_above, TriggerCondition.cross_below]),
        **rng.choice([{}, {"stop_loss_pct": 0.99}, {"take_profit_pct": 1.02}]),
    )
    return []
