"""A strategy with loans that can be killed anywhere: opens and closes shorts and credit supply until it is done."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from evm.deployment import KEY_VARIABLE, Market
from live.evm_life import NOW, PATIENT_LIMITS, Executioner, list_trades, make_venue, open_desk
from live.evm_loans import make_lending_universe, read_reserves

from trading_dagster.domain.error import UncleanState
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.evm.aave_v3 import AaveV3Deployment
from trading_dagster.evm.alarm import Alarm
from trading_dagster.evm.lending_desk import LendingPool
from trading_dagster.evm.uniswap_v2 import UniswapV2Deployment
from trading_dagster.live.desk import Desk
from trading_dagster.live.evm_venue import EvmVenue
from trading_dagster.live.session import LiveSession
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.position_manager import PositionManager

RESERVE, LENT = 8_000.0, 500.0


@dataclass(frozen=True)
class LoanLife:
    """One life: how many trades it makes until the last is the fourth of a row, and where it is killed."""

    folder: Path
    url: str
    key: str
    market: dict[str, Any]
    pool: str
    at_least: int
    kill_point: str = ""
    kill_at: int = 1


class LoanExecutioner(Executioner):
    """Names steps of loans by their number, approvals as such."""

    def observe(self, step: Any, intent_id: str) -> None:
        self.pass_point(f"{step.value} {intent_id.rsplit('/', 1)[-1]}")


def make_loan_venue(market: Market, folder: Path, pool: str, alarms: list[Alarm], **more: Any) -> EvmVenue:
    lending = LendingPool(AaveV3Deployment(pool))
    return make_venue(market, folder / "journal.sqlite", alarms, lending=lending, **{"limits": PATIENT_LIMITS} | more)


def make_life_universe(venue: EvmVenue, market: Market, pool: str) -> TradingStrategyUniverse:
    reserves = read_reserves(venue.node, AaveV3Deployment(pool), market)
    return make_lending_universe(market, reserves, datetime(2025, 12, 1), datetime(2026, 1, 2))


def live(life: LoanLife) -> None:
    """Trade as much as asked for; the target of a child process."""
    os.environ[KEY_VARIABLE] = life.key
    executioner = LoanExecutioner(life.kill_point, life.kill_at)
    uniswap = UniswapV2Deployment(**life.market.pop("uniswap"))
    market = Market(node=None, uniswap=uniswap, **life.market)  # type: ignore[arg-type]
    venue = make_loan_venue(market, life.folder, life.pool, [], urls=[life.url], observe=executioner.observe)
    universe = make_life_universe(venue, market, life.pool)
    with (
        SqlLedgerStore(life.folder / "ledger.sqlite") as store,
        open_desk(venue, universe, store, save=executioner.save, lease_s=0.8, wait_s=30.0) as (session, desk),
    ):
        work(life, session, desk, universe)
    os._exit(0)


def work(life: LoanLife, session: LiveSession, desk: Desk, universe: TradingStrategyUniverse) -> None:
    state, at = session.state, to_naive(NOW)
    while desk.execution.resume(at, state):
        pass
    desk.treasury.sync_treasury(at, state)
    if desk.interest is not None:
        desk.interest.sync_interests(at, state)
    session.save()
    last = state.portfolio.next_trade_id - 1 + life.at_least
    last += -last % 4
    while True:
        planned = [t for t in list_trades(state) if t.get_status() is TradeStatus.planned]
        if not planned and state.portfolio.next_trade_id > last:
            break
        batch = planned or plan(state, desk, universe)
        session.save()
        desk.execution.execute_trades(at, state, batch)
        for trade in batch:
            if trade.get_status() is not TradeStatus.success:
                raise UncleanState(f"{trade} is no success: {trade.failure}")


def plan(state: State, desk: Desk, universe: TradingStrategyUniverse) -> list[TradeExecution]:
    """Plan the next trade: open a short, lend out, close the short, take back what was lent."""
    clock = DecisionClock([int(NOW.timestamp() * 10**6) + state.portfolio.next_trade_id])
    manager = PositionManager(clock, universe, state, desk.pricing, 0.05)
    positions = {position.pair.kind: position for position in state.portfolio.open_positions.values()}
    held = {kind.value: position for kind, position in positions.items()}
    number = state.portfolio.next_trade_id % 4
    if number == 1:
        return manager.open_short(universe.pairs[0], RESERVE, leverage=0.5)
    if number == 2:
        return manager.open_credit_supply_position_for_reserves(LENT)
    if number == 3:
        return manager.close_short(held["lending_protocol_short"])
    return manager.close_credit_supply_position(held["credit_supply"])
