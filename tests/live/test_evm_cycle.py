"""Whole live cycles on a chain: decided on candles, filled by a pool, checked against the wallet."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from evm.conftest import deployed, evm_packages, market, rig  # noqa: F401 - fixtures
from evm.deployment import FAST
from live.evm_wallet import life, next_day  # noqa: F401 - fixture

import trading_dagster as td
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.evm.uniswap_v2 import SWAP
from trading_dagster.live.cycle import CycleStatus, run_cycle
from trading_dagster.live.evm_venue import EvmVenue
from trading_dagster.live.revaluation import check_live_accounts, revalue
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.live.trigger_check import check_triggers
from trading_dagster.storage.strategy_ledger import StrategyLedger


def test_three_cycles_buy_add_and_close(life):  # noqa: F811
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


def test_stop_loss_is_sold_at_the_pool(life):  # noqa: F811
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


def test_waiting_orders_are_made_once_at_the_pool(life):  # noqa: F811
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
