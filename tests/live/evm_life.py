"""A strategy that lives on the test chain: its venue, its universe, and a life of it that can be killed anywhere."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from evm.deployment import FAST, GAS, KEY_VARIABLE, PATIENT, Market
from evm.node import CHAIN_ID
from evm.request_trader import RequestVault
from evm.share_trader import ShareVault
from evm.trader import STRATEGY, make_pairs

from trading_dagster.domain.error import UncleanState
from trading_dagster.domain.event import PairIntroduced, PositionOpened, TradePlanned
from trading_dagster.domain.state import State
from trading_dagster.domain.time import TimeBucket, to_naive
from trading_dagster.domain.trade import TradeExecution, TradePlan, TradeStatus, TradeType
from trading_dagster.evm.alarm import Alarm, Step
from trading_dagster.evm.erc4626 import VaultDeployment
from trading_dagster.evm.swap_intent import SwapLimits
from trading_dagster.evm.uniswap_v2 import UniswapV2Deployment, UniswapV2Dex
from trading_dagster.evm.vault_dex import TradedVault
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.desk import Desk, DeskRequest
from trading_dagster.live.evm_venue import EvmVenue, WalletKey
from trading_dagster.live.session import LiveSession, open_session
from trading_dagster.market.synthetic import (
    create_synthetic_single_pair_universe,
    generate_exchange,
    generate_fixed_price_candles,
)
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.storage.ledger_store import LedgerStore
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.storage.transaction_journal import SqliteTransactionJournal
from trading_dagster.strategy.clock import DecisionClock

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MARK = 100_000_000
"""Buy number i gives MARK + i units of USD: what identifies it on the chain."""


def make_universe(market: Market, shares: str = "", *, later: bool = False) -> TradingStrategyUniverse:
    """Return the universe of ETH, or a vault's shares, against USD, with made-up candles: prices are the chain's."""
    vault = RequestVault(market, shares) if later else ShareVault(market, shares)
    pair = vault.pair if shares else make_pairs(market).eth_usd
    candles = generate_fixed_price_candles(TimeBucket.d1, datetime(2025, 12, 1), datetime(2026, 1, 2), {pair: 4000.0})
    exchange = generate_exchange(1, CHAIN_ID, market.uniswap.factory)
    return create_synthetic_single_pair_universe(candles, CHAIN_ID, exchange, TimeBucket.d1, pair)


def make_venue(market: Market, journal: Path, alarms: list[Alarm], urls: Sequence[str] = (), **more: Any) -> EvmVenue:
    parts: dict[str, Any] = {
        "chain_id": CHAIN_ID,
        "key": WalletKey(KEY_VARIABLE),
        "dex": UniswapV2Dex(market.uniswap),
        "open_journal": lambda: SqliteTransactionJournal(journal),
        "alarm": alarms.append,
        "rpc_urls": tuple(urls) or (market.node.url,),
        "client": PATIENT,
        "gas": GAS,
        "transaction": FAST,
        "swap_timeout_s": 20.0,
        "max_decision_age": None,
        "multicall": market.aggregator,
        "clock": ManualClock(NOW),
    }
    return EvmVenue(**parts | more)


PATIENT_LIMITS = SwapLimits(deadline_s=1_200)
"""A chain whose blocks come every 30 ms is minutes older when a killed process has been started again."""


@contextmanager
def open_desk(
    venue: EvmVenue, universe: TradingStrategyUniverse, store: LedgerStore, **more: Any
) -> Iterator[tuple[LiveSession, Desk]]:
    """Open a session and the venue's desk in it, as a live step does."""
    save = more.pop("save", None)
    with open_session(
        store,
        more.pop("strategy_id", STRATEGY),
        reserve_asset=universe.get_reserve_asset(),
        created_at=NOW,
        resources=list(venue.lease_resources),
        known_pairs=universe.pairs,
        **more,
    ) as session:
        request = DeskRequest(
            universe=universe,
            clock=DecisionClock([int(NOW.timestamp() * 10**6)]),
            state=session.state,
            save=session.save if save is None else lambda: save(session.save),
            lease_token=session.lease_token(venue.lease_resources[0]),
            check_lease=session.check_lease,
        )
        desk = venue.open_desk(request)
        session.state.use_marks(desk.marks)
        yield session, desk


@dataclass(frozen=True)
class Life:
    """One life of the strategy: how many trades there must be at its end, where it is killed, whose money it trades."""

    folder: Path
    url: str
    key: str
    market: dict[str, Any]
    trades: int
    kill_point: str = ""
    kill_at: int = 1
    vault: str = ""
    shares: str = ""
    """The vault whose shares are traded; none trades ETH."""
    later: bool = False
    """Whether that vault settles later."""


@dataclass
class Executioner:
    """Kills the process when it has passed a point often enough."""

    point: str
    at: int
    seen: int = field(default=0)

    def pass_point(self, name: str) -> None:
        if name == self.point:
            self.seen += 1
            if self.seen == self.at:
                os.kill(os.getpid(), signal.SIGKILL)

    def observe(self, step: Step, intent_id: str) -> None:
        kind = intent_id.rsplit("/", 1)[-1] if intent_id.count("/") > 3 else "swap"
        self.pass_point(f"{step.value} {kind}")

    def save(self, store: Any) -> None:
        self.pass_point("before save")
        store()
        self.pass_point("after save")


def live(life: Life) -> None:
    """Trade until the ledger has as many trades as asked for; the target of a child process."""
    os.environ[KEY_VARIABLE] = life.key
    executioner = Executioner(life.kill_point, life.kill_at)
    uniswap = UniswapV2Deployment(**life.market.pop("uniswap"))
    market = Market(node=None, uniswap=uniswap, **life.market)  # type: ignore[arg-type]
    universe = make_universe(market, life.shares, later=life.later)
    alarms: list[Alarm] = []
    vault = VaultDeployment(life.vault, 0) if life.vault else None
    journal = life.folder / "journal.sqlite"
    vaults = (TradedVault(life.shares),) if life.shares else ()
    more: dict[str, Any] = {"observe": executioner.observe, "vault": vault, "vaults": vaults, "limits": PATIENT_LIMITS}
    venue = make_venue(market, journal, alarms, [life.url], **more)
    with (
        SqlLedgerStore(life.folder / "ledger.sqlite") as store,
        open_desk(venue, universe, store, save=executioner.save, lease_s=0.8, wait_s=30.0) as (session, desk),
    ):
        (work_with_requests if life.later else work)(life, session, desk, universe)
    os._exit(0)


def work(life: Life, session: LiveSession, desk: Desk, universe: TradingStrategyUniverse) -> None:
    state, at = session.state, to_naive(NOW)
    while desk.execution.resume(at, state):
        pass
    desk.treasury.sync_treasury(at, state)
    session.save()
    while True:
        planned = [t for t in list_trades(state) if t.get_status() is TradeStatus.planned]
        if not planned and state.portfolio.next_trade_id > life.trades:
            break
        batch = planned or [plan(state, desk, universe), plan(state, desk, universe)]
        session.save()
        desk.execution.execute_trades(at, state, batch)
        for trade in batch:
            if trade.get_status() is not TradeStatus.success:
                raise UncleanState(f"{trade} is no success: {trade.failure}")


def work_with_requests(life: Life, session: LiveSession, desk: Desk, universe: TradingStrategyUniverse) -> None:
    """Trade one order after the other, each when the vault has settled the last and it is claimed."""
    state, at = session.state, to_naive(NOW)
    while True:
        if desk.execution.resume(at, state) or state.portfolio.settlements:
            time.sleep(0.02)
            continue
        desk.treasury.sync_treasury(at, state)
        session.save()
        planned = [t for t in list_trades(state) if t.get_status() is TradeStatus.planned]
        if not planned and state.portfolio.next_trade_id > life.trades:
            break
        batch = planned or [plan(state, desk, universe)]
        session.save()
        desk.execution.execute_trades(at, state, batch)
        for trade in batch:
            if trade.failure:
                raise UncleanState(f"{trade} failed: {trade.failure}")


def buy_numbers(last: int) -> list[int]:
    """Return the trades up to a number that are buys."""
    return [number for number in range(1, last + 1) if number % 4 in {1, 2}]


def list_trades(state: State) -> list[TradeExecution]:
    return [t for p in state.portfolio.get_all_positions() for t in p.trades.values()]


def plan(state: State, desk: Desk, universe: TradingStrategyUniverse) -> TradeExecution:
    """Plan the next trade: two buys, then two sells of what they bought."""
    portfolio, pair, at = state.portfolio, universe.pairs[0], to_naive(NOW)
    number = portfolio.next_trade_id
    is_buy = number in buy_numbers(number)
    if is_buy:
        reserve = Decimal(MARK + number) / 10**6
        pricing = desk.pricing.get_buy_price(at, pair, float(reserve))
        quantity, position_id = reserve / Decimal(pricing.price), portfolio.next_position_id
        if pair.get_identifier() not in state.known_pairs:
            state.record(PairIntroduced(NOW, pair))
        state.record(PositionOpened(NOW, position_id, pair, 1000.0))
    else:
        held = next(p for p in portfolio.open_positions.values() if not p.unfinished_trade_count)
        pricing = desk.pricing.get_sell_price(at, pair, float(held.quantity))
        position_id, quantity, reserve = held.position_id, -held.quantity, held.quantity * Decimal(pricing.price)
    made = TradePlan(
        number,
        position_id,
        pair,
        TradeType.rebalance,
        quantity,
        reserve,
        pricing,
        universe.get_reserve_asset(),
        0.05,
        not is_buy,
    )
    state.record(TradePlanned(NOW, made))
    return portfolio.get_position_by_id(position_id).trades[number]
