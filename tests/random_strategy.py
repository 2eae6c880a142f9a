"""A strategy that does anything it may, decided by a seed; and a way to compare two states exactly."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal

import pandas as pd

from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.market.dataset import Dataset
from trading_dagster.market.synthetic import generate_exchange, generate_ohlcv_candles
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy.routing import TradeRouting

START = datetime(2022, 1, 1)
BARS = 24 * 20
USDC = AssetIdentifier(ChainId.ethereum, "0x01", "USDC", 6)
PAIRS = tuple(
    TradingPairIdentifier(
        AssetIdentifier(ChainId.ethereum, f"0x1{n}", symbol, 18),
        USDC,
        f"0x2{n}",
        "0x30",
        internal_id=n,
        internal_exchange_id=1,
        fee=fee,
    )
    for n, (symbol, fee) in enumerate((("WETH", 0.003), ("AAVE", 0.0005), ("LINK", 0.01)), start=1)
)


class Parameters:
    cycle_duration = CycleDuration.cycle_4h
    routing = TradeRouting.default
    initial_cash = 10_000
    backtest_start = START
    backtest_end = START + timedelta(hours=BARS)


def make_universe(seed: int) -> TradingStrategyUniverse:
    """Hourly candles of three pairs that move 1 % a bar, with half-hourly stop-loss candles."""
    end = START + timedelta(hours=BARS)

    def candles(bucket: TimeBucket):
        return pd.concat(
            generate_ohlcv_candles(
                bucket,
                START,
                end,
                start_price=100.0 * pair.internal_id,
                daily_drift=(0.99, 1.0101),
                high_drift=1.02,
                low_drift=0.98,
                random_seed=seed + pair.internal_id,
                pair_id=pair.internal_id,
            )
            for pair in PAIRS
        )

    return TradingStrategyUniverse.create_from_dataset(
        Dataset(
            time_bucket=TimeBucket.h1,
            exchanges=[generate_exchange(1, ChainId.ethereum, "0x30")],
            pairs=list(PAIRS),
            candles=candles(TimeBucket.h1),
            backtest_stop_loss_candles=candles(TimeBucket.m30),
            backtest_stop_loss_time_bucket=TimeBucket.m30,
        ),
        reserve_asset="USDC",
    )


def decide_by_seed(seed: int):
    """Return a decide_trades that opens, adjusts, trails and closes at random, the same way at every cycle."""

    def decide_trades(input):
        pm = input.get_position_manager()
        rng = random.Random(seed * 1_000_003 + input.cycle)
        input.state.visualisation.add_message(input.timestamp, f"cycle {input.cycle}")
        trades = []
        for pair in input.strategy_universe.iterate_pairs():
            roll = rng.random()
            position = pm.get_current_position_for_pair(pair)
            cash = pm.get_current_cash() / 4
            if position is None:
                if roll < 0.4 and cash > 10:
                    trigger = rng.choice(
                        [{}, {"stop_loss_pct": 0.97}, {"trailing_stop_loss_pct": 0.95}, {"take_profit_pct": 1.04}]
                    )
                    trades += pm.open_spot(pair, cash * rng.uniform(0.2, 1), notes=f"roll {roll:.3f}", **trigger)
            elif roll < 0.2:
                trades += pm.close_position(position)
            elif roll < 0.4 and cash > 10:
                trades += pm.adjust_position(pair, cash * 0.5, None, 0.1)
            elif roll < 0.6:
                sold = position.get_quantity() * Decimal(rng.uniform(0.1, 0.9))
                trades += pm.adjust_position(pair, -1.0, -sold, 0.1)
            elif roll < 0.7 and position.stop_loss is not None:
                pm.update_stop_loss(position, position.stop_loss * 1.001, trailing=True)
        if rng.random() < 0.1:
            input.other_data.save(input.cycle, "note", {"cash": pm.get_current_cash(), "cycle": input.cycle})
        return trades

    return decide_trades


def deposit_sometimes(cycle, timestamp, state, sync_model):
    """An execution test hook: deposits every 17 cycles, redeems every 23."""
    if cycle % 17 == 0:
        sync_model.simulate_funding(timestamp, 500)
    if cycle % 23 == 0:
        sync_model.simulate_funding(timestamp, -100)


def describe(state: State) -> dict:
    """Return everything a state holds as plain values; equal exactly when the states are."""
    portfolio = state.portfolio
    return {
        "cycle": state.cycle,
        "last_cycle_at": state.last_cycle_at,
        "cash": str(portfolio.reserve.quantity),
        "next_ids": (portfolio.next_position_id, portfolio.next_trade_id, portfolio.next_balance_update_id),
        "open": sorted(portfolio.open_positions),
        "closed": list(portfolio.closed_positions),
        "expired": sorted(portfolio.expired_positions),
        "shares": str(state.sync.treasury.share_count),
        "flows": [(r.balance_update_id, r.usd_value, r.cause) for r in state.sync.treasury.balance_update_refs],
        "other_data": state.other_data.data,
        "positions": {p.position_id: describe_position(p) for p in portfolio.get_all_positions()},
    }


def describe_position(p) -> dict:
    return {
        "pair": p.pair.get_ticker(),
        "times": (p.opened_at, p.closed_at, p.frozen_at),
        "quantity": str(p.quantity),
        "profit": (p.get_realised_profit_usd(), p.get_buy_value(), p.get_sell_value(), p.fees_paid),
        "triggers": (p.stop_loss, p.take_profit, p.trailing_stop_loss_pct, p.trigger_updates),
        "value_at_open": p.portfolio_value_at_open,
        "notes": p.notes,
        "loan": (p.loan, p.liquidation_price, p.claimed_interest, p.repaid_interest),
        "trades": [(t.plan, t.opened_at, t.started_at, t.fill, t.failure) for t in p.trades.values()],
    }
