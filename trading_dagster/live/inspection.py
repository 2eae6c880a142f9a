"""What a ledger says of a strategy, to be looked at: no node, no lease and no key is needed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from trading_dagster.accounting.account_check import expected_balances
from trading_dagster.domain.error import BadInput
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import from_unix_us, to_unix_us
from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.domain.treasury import Redemption
from trading_dagster.live.binding import find_purse
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.statistics.cost_table import summarise_costs
from trading_dagster.storage.lease import strategy_resource
from trading_dagster.storage.ledger_store import LedgerStore, Sample
from trading_dagster.storage.strategy_ledger import StrategyLedger
from trading_dagster.storage.visualisation_codec import MESSAGE

UNFINISHED = (
    TradeStatus.planned,
    TradeStatus.started,
    TradeStatus.broadcasted,
    TradeStatus.vault_settlement_pending,
)
RECENT = timedelta(days=2)
NO_LEDGER = "{} has no ledger yet: it begins with its first cycle, or with init"


@dataclass(frozen=True, slots=True)
class PositionRow:
    """A position; times are naive UTC, prices USD per token.

    ``price`` is the last one that the ledger knows, of ``priced_at``; ``value`` and ``profit`` (USD) are at that price.
    """

    position_id: int
    pair: str
    status: str
    opened_at: datetime
    closed_at: datetime | None
    quantity: Decimal
    average_price: float | None
    price: float
    priced_at: datetime
    value: float
    profit: float
    stop_loss: float | None
    take_profit: float | None
    trades: int
    failed_trades: int
    notes: str


@dataclass(frozen=True, slots=True)
class TradeRow:
    """A trade that is not finished."""

    trade_id: int
    position_id: int
    pair: str
    side: str
    quantity: Decimal
    price: float
    status: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """What the ledger expects to be held of a token."""

    token: str
    address: str
    quantity: Decimal
    position_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SampleRow:
    """Equity at a moment, naive UTC; USD."""

    at: datetime
    equity: float
    cash: float
    position_equity: float
    open_positions: int
    share_price: float | None


@dataclass(frozen=True, slots=True)
class Valuation:
    """Cash, positions at the last prices the ledger knows, and the newest equity sample; USD.

    The sample was taken at the prices of its moment; prefer it where the two differ. Of ``share_count`` shares
    ``fee_shares`` were made for the manager as fees of the fund; None while it is not known.
    """

    strategy_id: str
    cash: float
    positions: tuple[PositionRow, ...]
    frozen_value: float
    equity: float
    sample: SampleRow | None
    share_count: Decimal | None
    fee_shares: Decimal


@dataclass(frozen=True, slots=True)
class Status:
    """Where a strategy stands; times are naive UTC.

    Attributes:
        strategy_id: Its id.
        events: How many events its ledger has, 0 before it began.
        last_event_at: When the newest of them happened.
        cycle: Number of the next cycle, or of the one in progress.
        last_decision_at: The newest decision time that was decided or skipped.
        open_decision_at: The decision time of a cycle in progress.
        next_decision_at: The next decision time by the strategy's clock.
        unfinished: Trades that did not end.
        open_positions: How many positions are open.
        frozen: Positions that a failed trade put aside.
        balances: What the ledger expects to be held.
        blacklist: Tokens that may not be bought, with reasons.
        lease: Who works on it now, "" for nobody.
        kill_switch: Why nothing may be traded, "" when trading is allowed.
        sample: The newest equity sample.
        redemptions: Redemptions that wait for cash.
        money: Whose money the ledger counts, "" while nothing tells.
        ended: When and why the ledger was ended, "" while it goes on.
    """

    strategy_id: str
    events: int
    last_event_at: datetime | None
    cycle: int
    last_decision_at: datetime | None
    open_decision_at: datetime | None
    next_decision_at: datetime
    unfinished: tuple[TradeRow, ...]
    open_positions: int
    frozen: tuple[PositionRow, ...]
    balances: tuple[BalanceRow, ...]
    blacklist: tuple[tuple[str, str], ...]
    lease: str
    kill_switch: str
    sample: SampleRow | None
    redemptions: tuple[Redemption, ...] = ()
    money: str = ""
    ended: str = ""


@dataclass(frozen=True, slots=True)
class MessageRow:
    """What a strategy said: ``at`` is the time it gave, ``decision_at`` that of the cycle; naive UTC."""

    decision_at: datetime
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class CostRow:
    """A kind of cost of all trades that executed: USD, USD a trade, a fraction of what was traded; None without any."""

    cost: str
    usd: float | None
    usd_per_trade: float | None
    of_volume: float | None


def show_messages(live: LiveStrategy, count: int = 20) -> tuple[MessageRow, ...]:
    """Return the newest messages of the strategy itself, in order; raises BadInput where there is no ledger."""
    if count < 1:
        raise BadInput(f"{count} messages cannot be shown: ask for at least one")
    if not live.store.head(live.id):
        raise BadInput(NO_LEDGER.format(live.id))
    rows = live.store.read_shown(live.id, MESSAGE, newest=count)
    said = ((row, json.loads(row.body)) for row in rows)
    return tuple(
        MessageRow(from_unix_us(row.at_us), from_unix_us(body["at_us"]), str(body["text"])) for row, body in said
    )


def show_positions(live: LiveStrategy, *, with_closed: bool = False) -> tuple[PositionRow, ...]:
    """Return open, frozen and pending positions, with closed ones if asked; by id."""
    state = _load(live)
    portfolio = state.portfolio
    positions = portfolio.get_all_positions() if with_closed else portfolio.get_open_and_frozen_positions()
    shown = [*positions, *portfolio.pending_positions.values()]
    return tuple(describe_position(position) for position in sorted(shown, key=lambda p: p.position_id))


def show_valuation(live: LiveStrategy) -> Valuation:
    """Return what the portfolio is worth by the ledger."""
    state = _load(live)
    rows = [describe_position(position) for position in state.portfolio.get_open_and_frozen_positions()]
    cash = state.portfolio.get_cash()
    counted = tuple(row for row in rows if row.status == "open")
    return Valuation(
        live.id,
        cash,
        tuple(rows),
        sum(row.value for row in rows if row.status == "frozen"),
        cash + sum(row.value for row in counted),
        find_newest_sample(live.store, live.id, state),
        state.sync.treasury.share_count,
        state.sync.treasury.fee_shares,
    )


def show_costs(live: LiveStrategy) -> tuple[CostRow, ...]:
    """Return what the trades of a ledger cost, by kind, as a backtest's ``cost_summary`` does."""
    table = summarise_costs(_load(live))
    values = ([None if math.isnan(value) else value for value in row] for row in table.to_numpy().tolist())
    return tuple(CostRow(str(cost), *row) for cost, row in zip(table.index, values, strict=True))


def show_status(live: LiveStrategy) -> Status:
    """Return where a strategy stands; works before its first cycle, too."""
    state = StrategyLedger(live.store, live.id).load()
    holder = live.store.find_holder(strategy_resource(live.id))
    lease = "" if holder is None else f"{holder.holder}, for another {holder.remaining_s:.0f} s"
    cycle, next_at = live.cycle_duration.to_timedelta(), live.newest_decision_at()
    if state is not None and state.last_decision_at is not None and state.last_decision_at >= next_at:
        next_at = state.last_decision_at + cycle
    if state is None:
        return Status(live.id, 0, None, 1, None, None, next_at, (), 0, (), (), (), lease, live.forbid_trading(), None)
    portfolio, decision, binding, purse = state.portfolio, state.decision, state.binding, find_purse(state)
    unfinished = [t for p in portfolio.get_open_and_frozen_positions() for t in p.trades.values()]
    return Status(
        strategy_id=live.id,
        events=live.store.head(live.id),
        last_event_at=state.clock_at().replace(tzinfo=None),
        cycle=state.cycle,
        last_decision_at=state.last_decision_at,
        open_decision_at=None if decision is None else decision.decision_at,
        next_decision_at=next_at,
        unfinished=tuple(_describe_trade(trade) for trade in unfinished if trade.get_status() in UNFINISHED),
        open_positions=len(portfolio.open_positions),
        frozen=tuple(describe_position(position) for position in portfolio.frozen_positions.values()),
        balances=show_balances(state),
        blacklist=tuple((asset.token_symbol, reason) for asset, reason in state.blacklisted_assets.items()),
        lease=lease,
        kill_switch=live.forbid_trading(),
        sample=find_newest_sample(live.store, live.id, state),
        redemptions=tuple(state.sync.treasury.redemptions.values()),
        money="" if purse is None else str(purse),
        ended="" if binding.ended_at is None else f"{binding.ended_at:%Y-%m-%d %H:%M:%S} UTC, {binding.end_reason}",
    )


def show_balances(state: State) -> tuple[BalanceRow, ...]:
    """Return what a ledger expects to be held, cash first."""
    return tuple(
        BalanceRow(asset.token_symbol, asset.address, held.quantity, tuple(p.position_id for p in held.positions))
        for asset, held in expected_balances(state).items()
    )


def describe_position(position: TradingPosition) -> PositionRow:
    """Return a position at the last price that the ledger knows of it."""
    price, priced_at = _last_known_price(position)
    quantity, average = position.get_quantity(), position.get_average_buy()
    value = 0.0 if position.is_closed() else float(quantity) * price + float(position.allocated)
    realised = position.get_realised_profit_usd() or 0.0
    unrealised = 0.0 if position.is_closed() or average is None else (price - average) * float(quantity)
    return PositionRow(
        position_id=position.position_id,
        pair=position.pair.get_ticker(),
        status=position.get_status(),
        opened_at=position.opened_at,
        closed_at=position.closed_at,
        quantity=quantity,
        average_price=average,
        price=price,
        priced_at=priced_at,
        value=value,
        profit=realised + unrealised,
        stop_loss=position.stop_loss,
        take_profit=position.take_profit,
        trades=position.executed_trade_count,
        failed_trades=sum(trade.is_failed() for trade in position.trades.values()),
        notes=position.notes or "",
    )


def find_newest_sample(store: LedgerStore, strategy_id: str, state: State) -> SampleRow | None:
    """Return the newest equity sample, None before the first."""
    since = to_unix_us(state.clock_at().replace(tzinfo=None) - RECENT)
    samples: Sequence[Sample] = store.read_samples(strategy_id, since) or store.read_samples(strategy_id)
    if not samples:
        return None
    newest = samples[-1]
    at = from_unix_us(newest.at_us)
    return SampleRow(at, newest.equity, newest.cash, newest.position_equity, newest.open_positions, newest.share_price)


def _load(live: LiveStrategy) -> State:
    state = StrategyLedger(live.store, live.id).load()
    if state is None:
        raise BadInput(NO_LEDGER.format(live.id))
    return state


def _last_known_price(position: TradingPosition) -> tuple[float, datetime]:
    """Return the price of the last trade or trigger update, whichever is newer, and its time."""
    last = position.last_executed_trade
    if last is None or last.executed_at is None or last.executed_price is None:
        price, at = position.get_opening_price(), position.opened_at
    else:
        price, at = last.executed_price, last.executed_at
    for update in position.trigger_updates:
        if update.mid_price is not None and update.timestamp > at:
            price, at = update.mid_price, update.timestamp
    return price, at


def _describe_trade(trade: TradeExecution) -> TradeRow:
    return TradeRow(
        trade.trade_id,
        trade.position_id,
        trade.pair.get_ticker(),
        "buy" if trade.is_buy() else "sell",
        abs(trade.planned_quantity),
        trade.planned_price,
        trade.get_status().value,
        trade.opened_at,
    )
