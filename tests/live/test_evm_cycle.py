"""Whole live cycles on a chain: decided on candles, filled by a pool, checked against the wallet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import pytest
from evm.conftest import deployed, evm_packages, market, rig  # noqa: F401 - fixtures
from evm.deployment import FAST, Rig
from evm.node import CHAIN_ID
from evm.trader import make_pairs
from live.evm_life import make_venue

import trading_dagster as td
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.evm.uniswap_v2 import SWAP
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.evm_venue import EvmVenue
from trading_dagster.live.revaluation import check_live_accounts, revalue
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.market.synthetic import (
    create_synthetic_single_pair_universe,
    generate_exchange,
    generate_fixed_price_candles,
)
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.strategy_ledger import StrategyLedger
from trading_dagster.strategy.execution_context import ExecutionMode
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters

START = datetime(2026, 1, 10, tzinfo=UTC)


def decide(input: td.StrategyInput) -> list[td.TradeExecution]:
    """Buy in the first cycle with a stop loss, add in the second, get out in the third."""
    manager = input.get_position_manager()
    pair = input.get_default_pair()
    if input.cycle == 1:
        return manager.open_spot(pair, value=2_000.0, stop_loss_pct=0.9)
    if input.cycle == 2:
        return manager.adjust_position(pair, 500.0, None, 1.0)
    return manager.close_all() if manager.is_any_open() else []


@pytest.fixture
def life(rig: Rig, tmp_path: Path):  # noqa: F811
    rig.market.node.mine(5)
    clock = ManualClock(START + timedelta(minutes=5))
    pair = make_pairs(rig.market).eth_usd

    def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
        today = input.timestamp.replace(hour=0, minute=0)
        candles = generate_fixed_price_candles(td.TimeBucket.d1, today - timedelta(days=20), today, {pair: 4000.0})
        exchange = generate_exchange(1, CHAIN_ID, rig.market.uniswap.factory)
        return create_synthetic_single_pair_universe(candles, CHAIN_ID, exchange, td.TimeBucket.d1, pair)

    alarms = []
    venue = make_venue(
        rig.market,
        tmp_path / "journal.sqlite",
        alarms,
        clock=clock,
        max_decision_age=timedelta(hours=1),
        sleep=lambda seconds: rig.market.node.mine(),
    )
    parameters = StrategyParameters({"cycle_duration": td.CycleDuration.cycle_1d, "slippage_tolerance": 0.01})
    module = StrategyModule("Wallet", decide, parameters, create_trading_universe=create_trading_universe)
    with SqlLedgerStore(tmp_path / "ledger.sqlite") as store:
        live = LiveStrategy(
            id="wallet",
            strategy=module,
            source=None,
            venue=venue,
            store=store,
            clock=clock,
            mode=ExecutionMode.real_trading,
            wait_s=0.0,
        )
        yield SimpleNamespace(live=live, venue=venue, clock=clock, market=rig.market, alarms=alarms, store=store)
    venue.journal.close()


def next_day(life) -> None:
    life.clock.moment += timedelta(days=1)
    life.market.node.mine(FAST.confirmations)


def test_three_cycles_buy_add_and_close(life):
    live: LiveStrategy = life.live
    venue: EvmVenue = life.venue
    first = run_cycle(live)
    assert first.status is CycleStatus.done
    assert first.sample.equity == pytest.approx(1_000_000 - 2_000 * 0.006, abs=3)
    next_day(life)
    run_cycle(live)
    assert check_live_accounts(live).is_clean
    assert revalue(live).position_equity == pytest.approx(2_500 * 0.997**2, rel=1e-3)
    next_day(life)
    last = run_cycle(live)
    assert last.sample.open_positions == 0

    state = StrategyLedger(life.store, live.id).load()
    trades = state.portfolio.get_all_trades()
    assert [t.get_status() for t in trades] == [TradeStatus.success] * 3
    assert [t.fill.gas_cost > 0 for t in trades] == [True] * 3
    finished = venue.journal.list_finished(venue.account, 0)
    assert {t.fill.tx_hash for t in trades} <= {record.outcome.tx_hash for record in finished}
    balances = check_live_accounts(live)
    assert [row.difference for row in balances.rows] == [Decimal(0)] * len(balances.rows)
    assert life.alarms == []


def test_stop_loss_is_sold_at_the_pool(life):
    live: LiveStrategy = life.live
    market = life.market  # noqa: F811
    run_cycle(live)
    assert check_triggers(live).trades == ()
    path, deadline = [market.eth, market.usd], market.node.timestamp() + 1000
    data = SWAP.encode(100 * 10**18, 0, path, market.owner, deadline)
    market.node.do(market.owner, market.uniswap.router, data)
    life.clock.moment += timedelta(minutes=3)

    (trade,) = check_triggers(live).trades

    assert trade.is_stop_loss()
    assert trade.get_status() is TradeStatus.success
    assert 0.7 < trade.executed_price / 4000 < 0.9
    assert check_live_accounts(live).is_clean


def test_waiting_orders_are_made_once_at_the_pool(life):
    """A limit entry fires at the first check, a part is sold after a rise, and the rest when its time is up."""

    def place(input: td.StrategyInput) -> list[td.TradeExecution]:
        manager, pair = input.get_position_manager(), input.get_default_pair()
        if input.cycle == 1:
            position, _ = manager.open_spot_with_market_limit(pair, 2_000.0, 100.0)
            part = -position.get_pending_quantity() / 2
            manager.prepare_take_profit_trades(position, [(4_200.0, part, False), (timedelta(days=2), part, True)])
        return []

    live = replace(life.live, strategy=replace(life.live.strategy, decide_trades=place))
    market = life.market  # noqa: F811
    assert run_cycle(live).trades == ()
    (entry,) = check_triggers(live).trades
    assert (entry.trade_type, entry.get_status()) == (td.TradeType.market_limit, TradeStatus.success)
    assert check_triggers(live).trades == ()

    usd, eth, deadline = market.usd, market.eth, market.node.timestamp() + 1000
    data = SWAP.encode(300_000 * 10**6, 0, [usd, eth], market.owner, deadline)
    market.node.do(market.owner, market.uniswap.router, data)
    life.clock.moment += timedelta(minutes=3)
    (part,) = check_triggers(live).trades
    assert part.is_partial_take_profit()
    assert part.executed_price > 4_200
    life.clock.moment += timedelta(minutes=3)
    assert check_triggers(live).trades == ()

    life.clock.moment += timedelta(days=3)
    market.node.mine(FAST.confirmations)
    (rest,) = check_triggers(live).trades
    assert (rest.closing, rest.get_status()) == (True, TradeStatus.success)
    state = StrategyLedger(life.store, live.id).load()
    assert list(state.portfolio.closed_positions) == [1]
    finished = life.venue.journal.list_finished(life.venue.account, 0)
    assert {t.fill.tx_hash for t in (entry, part, rest)} <= {record.outcome.tx_hash for record in finished}
    assert check_live_accounts(live).is_clean
