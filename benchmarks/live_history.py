"""A paper deployment whose ledger has as long a history as one likes, written as the events that live cycles write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from trading_dagster.accounting.simulated_treasury import SimulatedTreasury
from trading_dagster.domain.event import (
    CycleCompleted,
    CycleDecided,
    PairIntroduced,
    PositionOpened,
    StateCreated,
    TradeExecuted,
    TradePlanned,
    TradeStarted,
    TriggersMoved,
)
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_aware, to_unix_us
from trading_dagster.domain.trade import TradePlan, TradePricing, TradeType
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_live
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.universe import load_universe
from trading_dagster.storage.lease import Lease, strategy_resource
from trading_dagster.storage.ledger_store import Sample
from trading_dagster.storage.strategy_ledger import StrategyLedger

DAY = timedelta(days=1)
FIRST_MEASURED = datetime(2018, 6, 1)  # noqa: DTZ001 - naive means UTC
CASH, PRICE, HELD = 1_000_000, 100.0, 2
TRADES_AT_ONCE = 2
DEPLOYMENT = "benchmark.yaml"
LIMITS = "{max_trade_usd: 100000, max_day_turnover_usd: 1000000, max_day_loss_share: 0.9, max_cycle_loss_share: 0.9}"


def open_deployment(folder: Path, at: datetime) -> LiveStrategy:
    """Put the deployment of a folder together, at a naive UTC time."""
    return open_live(read_deployment(folder / DEPLOYMENT), LiveHome(folder), ManualClock(at.replace(tzinfo=UTC)))


def make_deployment(folder: Path, cycles: int, trades: int) -> None:
    """Write a deployment with limits and its ledger of daily cycles, the last a day before the first measured one.

    Args:
        folder: A new folder.
        cycles: How many cycles there were after the first, which opens the positions that are held.
        trades: How many trades they made: some cycles close the oldest position and open one on the free pair.
    """
    folder.mkdir(parents=True)
    strategy = Path(__file__).with_name("live_strategy.py").absolute()
    (folder / DEPLOYMENT).write_text(f"strategy: {strategy}\nmode: paper\nlimits: {LIMITS}\n", encoding="utf-8")
    live = open_deployment(folder, FIRST_MEASURED - DAY)
    universe = load_universe(live, FIRST_MEASURED - DAY)
    lease = live.store.acquire("history", [strategy_resource(live.id)], 3_600)
    assert isinstance(lease, Lease)
    ledger = StrategyLedger(live.store, live.id, lease)
    first = FIRST_MEASURED - (cycles + 1) * DAY
    state = ledger.create(StateCreated(to_aware(first), live.id, universe.get_reserve_asset()))
    for number in range(cycles + 1):
        at = first + number * DAY
        past = trades * number // cycles // TRADES_AT_ONCE if cycles else 0
        before = trades * (number - 1) // cycles // TRADES_AT_ONCE if cycles else 0
        trade_ids: tuple[int, ...] = ()
        if not number:
            trade_ids = _begin(state, universe.pairs, at)
        elif past > before:
            trade_ids = _rotate(state, universe.pairs, at)
        cycle = state.cycle
        state.record(CycleDecided(to_aware(at), cycle, to_aware(at), trade_ids))
        state.record(CycleCompleted(to_aware(at), cycle))
        cash, held = state.portfolio.get_cash(), HELD * PRICE
        ledger.save([Sample(to_unix_us(at), cash + held, cash, held, HELD, float(CASH), (cash + held) / CASH)])
    live.store.release(lease)
    live.store.close()


def _begin(state: State, pairs: Sequence[TradingPairIdentifier], at: datetime) -> tuple[int, ...]:
    treasury = SimulatedTreasury(lambda _asset, _amount: None)
    treasury.simulate_funding(at, CASH)
    treasury.sync_treasury(at, state)
    for pair in pairs:
        state.record(PairIntroduced(to_aware(at), pair))
    return tuple(_open(state, pair, at) for pair in pairs[:HELD])


def _rotate(state: State, pairs: Sequence[TradingPairIdentifier], at: datetime) -> tuple[int, ...]:
    oldest = state.portfolio.get_open_positions()[0]
    free = next(pair for pair in pairs if state.portfolio.get_open_position_for_pair(pair) is None)
    closed = _trade(state, oldest.position_id, oldest.pair, -oldest.quantity, at)
    return (closed, _open(state, free, at))


def _open(state: State, pair: TradingPairIdentifier, at: datetime) -> int:
    position_id = state.portfolio.next_position_id
    state.record(PositionOpened(to_aware(at), position_id, pair, float(CASH)))
    trade_id = _trade(state, position_id, pair, Decimal(1), at)
    state.record(TriggersMoved(to_aware(at), position_id, PRICE, PRICE / 100, None, None))
    return trade_id


def _trade(state: State, position_id: int, pair: TradingPairIdentifier, quantity: Decimal, at: datetime) -> int:
    moment, number, is_buy = to_aware(at), state.portfolio.next_trade_id, quantity > 0
    reserve = abs(quantity) * Decimal(PRICE)
    plan = TradePlan(
        trade_id=number,
        position_id=position_id,
        pair=pair,
        trade_type=TradeType.rebalance,
        quantity=quantity,
        reserve=reserve,
        pricing=TradePricing(PRICE, PRICE, 0.1, 0.001, is_buy, at, (pair,)),
        reserve_currency=state.portfolio.reserve.asset,
        closing=not is_buy,
    )
    state.record(TradePlanned(moment, plan))
    state.record(TradeStarted(moment, number, position_id))
    state.record(TradeExecuted(moment, number, position_id, quantity, reserve, PRICE, 0.1))
    return number
