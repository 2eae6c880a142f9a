"""A strategy with shorts and credit supply on the test chain: its universe has the lending reserves of Aave's pool."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from evm.deployment import FAST, Market, Rig
from evm.deployment_aave import Aave
from evm.node import CHAIN_ID
from evm.trader import make_pairs
from live.evm_life import make_venue

import trading_dagster as td
from trading_dagster.domain.state import State
from trading_dagster.evm.aave_v3 import AaveV3Deployment
from trading_dagster.evm.alarm import Alarm
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.lending_desk import LendingPool
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.lending import LendingProtocolType, LendingReserve
from trading_dagster.market.synthetic import (
    create_synthetic_single_pair_universe,
    generate_exchange,
    generate_fixed_price_candles,
    generate_lending_universe,
)
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.strategy_ledger import StrategyLedger
from trading_dagster.strategy.execution_context import ExecutionMode
from trading_dagster.strategy.module import StrategyModule
from trading_dagster.strategy.parameters import StrategyParameters

START = datetime(2026, 1, 10, tzinfo=UTC)
APRS = {"supply": 2.0, "variable": 5.0}


def read_reserves(client: EvmClient, pool: AaveV3Deployment, market: Market) -> list[LendingReserve]:
    """Return the reserves of USD and ETH as a universe has them."""
    head, reserves = client.connect(), []
    for number, address in enumerate((market.usd, market.eth), start=1):
        atoken, vtoken = pool.read_assets(client, pool.read_reserve(client, address, head), head)
        assert atoken.underlying is not None
        reserves.append(
            LendingReserve(number, td.ChainId(CHAIN_ID), LendingProtocolType.aave_v3, atoken.underlying, atoken, vtoken)
        )
    return reserves


def make_lending_universe(
    market: Market, reserves: list[LendingReserve], start: datetime, end: datetime
) -> td.TradingStrategyUniverse:
    pair = make_pairs(market).eth_usd
    candles = generate_fixed_price_candles(td.TimeBucket.d1, start, end, {pair: 4000.0})
    rates = generate_lending_universe(td.TimeBucket.d1, start, end + timedelta(days=1), reserves, APRS)
    exchange = generate_exchange(1, CHAIN_ID, market.uniswap.factory)
    return create_synthetic_single_pair_universe(
        candles, CHAIN_ID, exchange, td.TimeBucket.d1, pair, lending_candles=rates
    )


@dataclass
class LoanWorld:
    """A live strategy whose decisions a test gives, with its clock and its chain."""

    rig: Rig
    aave: Aave
    folder: Path
    decide: Any
    alarms: list[Alarm] = field(default_factory=list)

    def __post_init__(self) -> None:
        market = self.rig.market
        market.node.mine(5)
        self.clock = ManualClock(START + timedelta(minutes=5))
        reserves = self.reserves = read_reserves(market.client(), self.aave.deployment, market)

        def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
            today = input.timestamp.replace(hour=0, minute=0)
            return make_lending_universe(market, reserves, today - timedelta(days=20), today)

        self.venue = make_venue(
            market,
            self.folder / "journal.sqlite",
            self.alarms,
            clock=self.clock,
            max_decision_age=timedelta(hours=1),
            sleep=lambda seconds: market.node.mine(),
            lending=LendingPool(self.aave.deployment),
            swap_timeout_s=60.0,
        )
        parameters = StrategyParameters({"cycle_duration": td.CycleDuration.cycle_1d, "slippage_tolerance": 0.02})
        module = StrategyModule("Loans", self.decide, parameters, create_trading_universe=create_trading_universe)
        self.store = SqlLedgerStore(self.folder / "ledger.sqlite")
        self.live = LiveStrategy(
            id="loans",
            strategy=module,
            source=None,
            venue=self.venue,
            store=self.store,
            clock=self.clock,
            mode=ExecutionMode.real_trading,
            wait_s=0.0,
        )

    def close(self) -> None:
        self.store.close()
        self.venue.journal.close()

    def next_day(self) -> None:
        """Let a day pass, on the chain too."""
        self.clock.moment += timedelta(days=1)
        node = self.rig.market.node
        node.rpc("evm_setNextBlockTimestamp", node.timestamp() + 86_400)
        node.mine(FAST.confirmations + 1)

    def state(self) -> State:
        state = StrategyLedger(self.store, self.live.id).load()
        assert state is not None
        return state
