"""Live cycles of a wallet on the test chain: one pair whose candles stand still, and everything else real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from evm.conftest import deployed, evm_packages, market, rig  # noqa: F401 - fixtures
from evm.deployment import FAST, Market, Rig
from evm.node import CHAIN_ID
from evm.trader import make_pairs
from live.evm_life import make_venue

import trading_dagster as td
from trading_dagster.evm.alarm import Alarm
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.synthetic import (
    create_synthetic_single_pair_universe,
    generate_exchange,
    generate_fixed_price_candles,
)
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.strategy.execution_context import ExecutionMode
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters

START = datetime(2026, 1, 10, tzinfo=UTC)


def buy_add_and_close(input: td.StrategyInput) -> list[td.TradeExecution]:
    """Buy in the first cycle with a stop loss, add in the second, get out in the third."""
    manager = input.get_position_manager()
    pair = input.get_default_pair()
    if input.cycle == 1:
        return manager.open_spot(pair, value=2_000.0, stop_loss_pct=0.9)
    if input.cycle == 2:
        return manager.adjust_position(pair, 500.0, None, 1.0)
    return manager.close_all() if manager.is_any_open() else []


@contextmanager
def live_on(
    market: Market,  # noqa: F811
    folder: Path,
    decide: Callable[[td.StrategyInput], list[td.TradeExecution]],
    *,
    pair: td.TradingPairIdentifier,
    price: float,
    factory: str,
    **venue_parts: Any,
) -> Iterator[SimpleNamespace]:
    """Yield a strategy that trades one pair of the test chain each day, with what it is made of.

    Args:
        market: The chain and what is deployed on it.
        folder: Where ledger and journal are kept.
        decide: The strategy's function.
        pair: What it trades.
        price: Of all its candles.
        factory: Address of the exchange.
        venue_parts: Fields of the venue.
    """
    market.node.mine(5)
    clock = ManualClock(START + timedelta(minutes=5))

    def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
        today = input.timestamp.replace(hour=0, minute=0)
        candles = generate_fixed_price_candles(td.TimeBucket.d1, today - timedelta(days=20), today, {pair: price})
        exchange = generate_exchange(1, CHAIN_ID, factory)
        return create_synthetic_single_pair_universe(candles, CHAIN_ID, exchange, td.TimeBucket.d1, pair)

    alarms: list[Alarm] = []
    venue = make_venue(
        market,
        folder / "journal.sqlite",
        alarms,
        clock=clock,
        max_decision_age=timedelta(hours=1),
        sleep=lambda seconds: market.node.mine(),
        **venue_parts,
    )
    parameters = StrategyParameters({"cycle_duration": td.CycleDuration.cycle_1d, "slippage_tolerance": 0.01})
    module = StrategyModule("Wallet", decide, parameters, create_trading_universe=create_trading_universe)
    with SqlLedgerStore(folder / "ledger.sqlite") as store:
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
        yield SimpleNamespace(live=live, venue=venue, clock=clock, market=market, alarms=alarms, store=store)
    venue.journal.close()


@pytest.fixture
def life(rig: Rig, tmp_path: Path) -> Iterator[SimpleNamespace]:  # noqa: F811
    """Give a strategy that buys, adds and sells ETH at the exchange of the test chain."""
    pair, factory = make_pairs(rig.market).eth_usd, rig.market.uniswap.factory
    with live_on(rig.market, tmp_path, buy_add_and_close, pair=pair, price=4000.0, factory=factory) as life:
        yield life


def next_day(life: SimpleNamespace) -> None:
    """Go to the next decision time, and let what was sent settle."""
    life.clock.moment += timedelta(days=1)
    life.market.node.mine(FAST.confirmations)
