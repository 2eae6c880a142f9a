"""Vaults in a backtest: shares at their price, closed deposits and redemptions, orders that settle later."""

import itertools
import random
from datetime import time, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tape import START, USDC, WETH_USDC, pair_of, run_on, token, universe_of

from trading_dagster.backtest import BacktestRun, plan_backtest, run_plan
from trading_dagster.backtest.partition import PartitionedBacktest
from trading_dagster.backtest.segment_writer import PartitionWindow
from trading_dagster.domain.error import NotEnoughCashForBuys, SettlementPending, StrategyFailed, VaultClosed
from trading_dagster.domain.identifier import TradingPairKind
from trading_dagster.domain.state import State
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.domain.vault import VaultLimit, VaultTerms
from trading_dagster.market.vault import to_vault
from trading_dagster.pricing.cost import GasPerTrade
from trading_dagster.storage.event_codec import EventDecoder, encode_event
from trading_dagster.strategy.routing import TradeRouting

DAY = timedelta(days=1)
BARS = 12
RISING = [1 + 0.01 * day for day in range(BARS)]


def vault(number=5, **terms):
    return to_vault(pair_of(number, token(number, f"SHARE{number}"), USDC), VaultTerms(**terms))


def run(decide, pair, *, prices=RISING, others=None, cycles=BARS, **arguments):
    universe = universe_of({pair: prices, **(others or {})}, TimeBucket.d1)
    return run_on(universe, decide, cycle=CycleDuration.cycle_1d, cycles=cycles, **arguments)


def script(**by_cycle):
    """Return a decide_trades that does at cycle n what ``_n`` says."""

    def decide_trades(input):
        action = by_cycle.get(f"_{input.cycle}")
        return [] if action is None else action(input.get_position_manager(), input)

    return decide_trades


def test_vault_that_settles_at_once_trades_like_a_market_without_fee():
    pair = vault()
    buy = script(_1=lambda pm, _: pm.open_spot(pair, 1_000), _6=lambda pm, _: pm.close_all())

    result = run(buy, pair)

    assert pair.kind is TradingPairKind.vault
    assert result.state.portfolio.get_cash() == pytest.approx(9_000 + 1_000 * 1.05, rel=1e-12)
    assert result.equity_curve.iloc[2] == pytest.approx(9_000 + 1_000 * 1.02, rel=1e-12)


def test_deposit_leaves_at_once_and_gives_shares_at_the_price_of_its_settlement():
    pair = vault(settlement_delay=2 * DAY)
    seen = []

    def decide(input):
        pm = input.get_position_manager()
        position = pm.get_current_position_for_pair(pair)
        seen.append((pm.get_current_cash(), None if position is None else float(position.get_quantity())))
        return pm.open_spot(pair, 1_000) if input.cycle == 1 else []

    result = run(decide, pair)

    shares = float(Decimal(1000) / Decimal(RISING[2]))
    assert seen[:4] == [(10_000.0, None), (9_000.0, 0.0), (9_000.0, shares), (9_000.0, shares)]
    trade = result.state.portfolio.get_all_trades()[0]
    assert trade.executed_at == START + 2 * DAY
    assert trade.get_status() is TradeStatus.success
    assert result.equity_curve.iloc[:4].tolist() == pytest.approx([10_000, 10_000, 10_000, 9_000 + 1_000 / 1.02 * 1.03])
    assert result.samples["position_equity"][:2].tolist() == pytest.approx([1_000, 1_000])


def test_redemption_keeps_its_shares_until_it_settles_at_the_price_then():
    pair = vault(settlement_time=time(18))
    decide = script(_1=lambda pm, _: pm.open_spot(pair, 1_000), _5=lambda pm, _: pm.close_all())

    result = run(decide, pair)

    buy, sell = result.state.portfolio.get_all_trades()
    assert (buy.executed_at, sell.executed_at) == (START + 2 * DAY, START + 6 * DAY)
    assert sell.executed_price == pytest.approx(1.06)
    assert result.state.portfolio.get_cash() == pytest.approx(9_000 + 1_000 / 1.02 * 1.06, rel=1e-12)
    assert result.equity_curve.iloc[5] == pytest.approx(9_000 + 1_000 / 1.02 * 1.05)
    position = result.state.portfolio.closed_positions[1]
    assert position.get_realised_profit_usd() == pytest.approx(1_000 * (1.06 / 1.02 - 1))


def test_position_cannot_trade_while_its_vault_has_an_order():
    pair = vault(settlement_delay=5 * DAY)
    decide = script(
        _1=lambda pm, _: pm.open_spot(pair, 1_000), _3=lambda pm, _: pm.adjust_position(pair, 100, None, 0.5)
    )

    with pytest.raises(StrategyFailed, match="waits for its vault to settle") as caught:
        run(decide, pair)
    assert isinstance(caught.value.__cause__, SettlementPending)


def test_close_of_a_settling_position_plans_nothing_and_says_so(caplog):
    pair = vault(settlement_delay=5 * DAY)
    decide = script(_1=lambda pm, _: pm.open_spot(pair, 1_000), _2=lambda pm, _: pm.close_all())

    result = run(decide, pair, cycles=4)

    assert len(result.trades) == 1
    assert "waits for its vault to settle an order" in caplog.text
    assert result.equity_curve.iloc[-1] == pytest.approx(10_000)
    assert result.state.portfolio.get_pending_settlement_value() == 1_000


@pytest.mark.parametrize(
    ("limit", "action", "message"),
    [
        (VaultLimit(START, 0, None), lambda pm, p: pm.open_spot(p, 500), r"at most 0 USD at 2022-01-03 .*got 500"),
        (VaultLimit(START, 400, None), lambda pm, p: pm.open_spot(p, 500), "at most 400 USD"),
        (VaultLimit(START, 400, None), lambda pm, p: pm.adjust_position(p, 401, None, 0.5), "at most 400 USD"),
    ],
)
def test_closed_or_full_vault_refuses_the_deposit(limit, action, message):
    pair = vault(limits=(limit,))

    with pytest.raises(StrategyFailed, match=message) as caught:
        run(script(_1=lambda pm, _: action(pm, pair)), pair)
    assert isinstance(caught.value.__cause__, VaultClosed)


def test_redemption_is_refused_above_its_limit_and_runs_below_it():
    pair = vault(limits=(VaultLimit(START, None, 200),))
    small = Decimal(150)
    decide = script(
        _1=lambda pm, _: pm.open_spot(pair, 1_000),
        _2=lambda pm, _: pm.close_spot_position(pm.get_current_position(), quantity=small),
    )

    assert len(run(decide, pair).trades) == 2
    with pytest.raises(StrategyFailed, match="redemptions of at most 200 USD"):
        run(script(_1=lambda pm, _: pm.open_spot(pair, 1_000), _2=lambda pm, _: pm.close_all()), pair)


def test_redemption_of_just_as_much_as_the_vault_gives_is_not_refused_for_its_rounding():
    """1,500 USD at 1.07 a share are 1401.869... shares, which times the price are a little more than 1,500."""
    limit = 1_500.0
    price = next(p for p in (1 + n / 997 for n in range(1, 500)) if float(Decimal(limit / p) * Decimal(p)) > limit)
    pair = vault(limits=(VaultLimit(START, None, limit),))
    decide = script(
        _1=lambda pm, _: pm.open_spot(pair, 5_000),
        _2=lambda pm, _: pm.adjust_position(pair, -limit, -limit / price, 0.5),
    )

    result = run(decide, pair, prices=[price] * BARS)

    assert result.trades["trade_type"].tolist() == ["rebalance", "rebalance"]


def test_strategy_may_ask_before_it_enters():
    pair = vault(limits=(VaultLimit(START, 0, 0), VaultLimit(START + DAY, None, None)))
    answers = []

    def decide(input):
        pm = input.get_position_manager()
        check = pm.check_enter_position(pair)
        model = input.pricing_model
        answers.append((bool(check), check.reason, model.can_deposit(input.timestamp, pair)))
        assert model.check_redemption(input.timestamp, pair) is check.can_enter
        return []

    run(decide, pair, cycles=2)

    assert answers == [(False, f"SHARE5-USDC takes no deposits at {START}", False), (True, "", True)]


def test_check_enter_position_of_a_market_looks_at_blacklist_and_price():
    prices = [100.0, *[None] * 5, 100.0]
    said = []

    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 7:
            input.state.blacklist_asset(WETH_USDC.base, "hacked")
        said.append(pm.check_enter_position(WETH_USDC).reason)
        return []

    run(decide, vault(), prices=[1.0] * 7, others={WETH_USDC: prices}, cycles=7)

    assert said[:3] == ["", "", ""]
    assert "No candle" in said[4]
    assert said[6] == "WETH-USDC is blacklisted"


def test_settlement_waits_for_a_share_price():
    pair = vault(settlement_delay=2 * DAY)
    prices = [1.0, *[None] * 6, *[1.1] * 5]

    result = run(script(_1=lambda pm, _: pm.open_spot(pair, 1_000)), pair, prices=prices)

    trade = result.state.portfolio.get_all_trades()[0]
    assert trade.executed_at in (START + 2 * DAY, START + 7 * DAY)
    assert trade.executed_at == START + 2 * DAY  # the price of two days ago is within the tolerance


def test_stop_loss_on_a_settling_position_is_asked_for_once():
    pair = vault(settlement_delay=2 * DAY)
    falling = [1.0] * 4 + [0.5] * 8
    universe = universe_of({pair: falling}, TimeBucket.d1, feed={pair: falling}, feed_bucket=TimeBucket.d1)
    decide = script(_1=lambda pm, _: pm.open_spot(pair, 1_000, stop_loss_pct=0.9))

    result = run_on(universe, decide, cycle=CycleDuration.cycle_1d, cycles=BARS)

    assert result.trades["trade_type"].tolist() == ["rebalance", "stop_loss"]
    assert result.state.portfolio.get_cash() == pytest.approx(9_500)


def test_close_all_with_a_closed_vault_plans_nothing_at_all():
    """Refused before the position on the market, which is older, is planned to be closed."""
    pair = vault(limits=(VaultLimit(START, None, 200),))
    left = []

    def decide(input):
        pm = input.get_position_manager()
        if input.cycle == 1:
            return pm.open_spot(WETH_USDC, 500) + pm.open_spot(pair, 1_000)
        if input.cycle == 2:
            before = len(input.state.new_events)
            with pytest.raises(VaultClosed, match="at most 200 USD"):
                pm.close_all()
            left.extend(input.state.new_events[before:])
        return []

    result = run(decide, pair, others={WETH_USDC: [100.0] * BARS}, cycles=4)

    assert left == []
    assert (result.positions["status"] == "open").all()


def test_stop_loss_waits_while_the_vault_gives_too_little_back():
    pair = vault(limits=(VaultLimit(START, None, 100), VaultLimit(START + 6 * DAY, None, None)))
    falling = [1.0] * 3 + [0.5] * 9
    universe = universe_of({pair: falling}, TimeBucket.d1, feed={pair: falling}, feed_bucket=TimeBucket.d1)
    decide = script(_1=lambda pm, _: pm.open_spot(pair, 1_000, stop_loss_pct=0.9))

    result = run_on(universe, decide, cycle=CycleDuration.cycle_1d, cycles=BARS)

    assert result.trades["trade_type"].tolist() == ["rebalance", "stop_loss"]
    assert result.trades["executed_at"].iloc[-1] == START + 6 * DAY


def test_no_second_position_is_opened_while_a_redemption_settles():
    pair = vault(settlement_delay=3 * DAY)
    decide = script(
        _1=lambda pm, _: pm.open_spot(pair, 1_000),
        _6=lambda pm, _: pm.close_all(),
        _7=lambda pm, _: pm.open_spot(pair, 500),
    )

    with pytest.raises(StrategyFailed, match="waits for its vault to settle") as caught:
        run(decide, pair)
    assert isinstance(caught.value.__cause__, SettlementPending)


def test_money_that_a_vault_pays_later_is_not_enough_cash_for_buys():
    pair = vault(settlement_delay=DAY)

    def swap(pm, _):
        trades = pm.close_position(pm.get_current_position()) + pm.open_spot(WETH_USDC, 5_000)
        pm.check_enough_cash(trades)
        return trades

    decide = script(_1=lambda pm, _: pm.open_spot(pair, 9_000), _4=swap)
    with pytest.raises(StrategyFailed, match="Buys need 5000 but there is cash 1000") as caught:
        run(decide, pair, others={WETH_USDC: [100.0] * BARS})
    assert isinstance(caught.value.__cause__, NotEnoughCashForBuys)


@pytest.mark.parametrize("delay", [None, 2 * DAY])
def test_vault_orders_pay_gas_of_their_own_money(delay):
    """All cash is deposited: 5 of it is gas, at once or when the vault settles; so it is with what is paid back."""
    pair = vault(settlement_delay=delay)
    decide = script(
        _1=lambda pm, _: pm.open_spot(pair, pm.get_current_cash()),
        _6=lambda pm, _: pm.close_all(),
    )

    result = run(decide, pair, prices=[1.0] * BARS, costs=[GasPerTrade(usd=5)])

    assert result.costs["gas"].tolist() == [5, 5]
    assert result.state.portfolio.get_cash() == pytest.approx(9_990, rel=1e-12)
    assert result.trades["gas"].tolist() == [5, 5]


# -- as a fold, and however it is cut ----------------------------------------------------------------------------------

SLOW = vault(6, settlement_delay=timedelta(days=2, hours=12))
NEXT_DAY = vault(7, settlement_time=time(18), protocol="slow")
INSTANT = vault(8, limits=(VaultLimit(START + 3 * DAY, 0, None), VaultLimit(START + 6 * DAY, 3_000, 2_000)))
VAULTS = (SLOW, NEXT_DAY, INSTANT)
LENGTH = 30


def seeded_plan(seed):
    walk = random.Random(seed)
    opens = {}
    for pair in VAULTS:
        price, prices = 1.0, []
        for _ in range(LENGTH):
            prices.append(price)
            price *= walk.uniform(0.98, 1.03)
        opens[pair] = prices

    def decide_trades(input):
        pm, rng = input.get_position_manager(), random.Random(seed * 7919 + input.cycle)
        trades = []
        for pair in input.strategy_universe.iterate_pairs():
            position, roll = pm.get_current_position_for_pair(pair), rng.random()
            value = pm.get_current_cash() / 4 * rng.random()
            if position is None:
                if roll < 0.6 and value > 1 and pm.check_enter_position(pair):
                    limit = input.pricing_model.get_max_deposit(input.timestamp, pair)
                    trades += pm.open_spot(pair, value if limit is None else min(value, limit))
            elif not pm.can_redeem(position):
                continue
            elif roll < 0.4:
                limit = input.pricing_model.get_max_redemption(input.timestamp, pair)
                if limit is None or position.get_value() < limit:
                    trades += pm.close_position(position)
            elif roll < 0.6:
                quantity = position.get_quantity() * Decimal(rng.uniform(0.1, 0.5))
                trades += pm.adjust_position(pair, -1.0, -quantity, 0.5)
        return trades

    return plan_backtest(
        decide_trades=decide_trades,
        universe=universe_of(opens, TimeBucket.d1),
        parameters={
            "cycle_duration": CycleDuration.cycle_1d,
            "routing": TradeRouting.default,
            "initial_cash": 10_000,
            "backtest_start": START,
            "backtest_end": START + LENGTH * DAY,
        },
    )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000), st.sets(st.integers(1, LENGTH - 1), max_size=5))
def test_cut_anywhere_and_replayed_the_answer_is_the_same(seed, cuts):
    plan = seeded_plan(seed)
    whole = BacktestRun(plan)
    whole.advance(plan.cycle_count)
    events, samples = whole.take_segment()

    decoder, lines, parts, run = EventDecoder(plan.universe.pairs), [], [], BacktestRun(plan)
    for end in [*sorted(cuts), plan.cycle_count]:
        run.advance(end)
        new, part = run.take_segment()
        lines += [encode_event(event) for event in new]
        parts.append(part.columns["equity"])
        run = BacktestRun.resume(
            plan,
            EventDecoder(plan.universe.pairs).decode_all(lines),
            next_cycle=end,
            wallet=dict(run.wallet.balances),
            queue=run.treasury.queue,
        )

    assert np.concatenate(parts).tobytes() == samples.columns["equity"].tobytes()
    trades = [e for e in decoder.decode_all(lines) if type(e).__name__ != "CycleCompleted"]
    assert trades == [e for e in events if type(e).__name__ != "CycleCompleted"]
    replayed = State.replay(events, whole.marks)
    assert replayed.portfolio.settlements == whole.state.portfolio.settlements
    assert replayed.portfolio.calculate_total_equity() == whole.state.portfolio.calculate_total_equity()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 10_000))
def test_value_is_conserved_and_nothing_is_negative(seed):
    plan = seeded_plan(seed)
    run = BacktestRun(plan)
    for cycle in range(1, plan.cycle_count + 1):
        run.advance(cycle)
        portfolio = run.state.portfolio
        spent = sum(
            (t.allocated if t.fill is None else t.fill.reserve)
            for t in portfolio.get_all_trades()
            if t.is_buy() and t.started_at
        )
        got = sum(t.fill.reserve for t in portfolio.get_all_trades() if t.is_sell() and t.fill)
        assert abs(portfolio.reserve.quantity - (Decimal(10_000) - spent + got)) < Decimal("1e-20")
        assert all(balance >= 0 for balance in run.wallet.balances.values())
        assert portfolio.reserve.quantity >= 0


def trades_by_id(frame):
    return frame.sort_values("trade_id").reset_index(drop=True)


@pytest.mark.parametrize("seed", range(4))
def test_stored_rows_of_pieces_are_those_of_the_whole(tmp_path, seed):
    plan = seeded_plan(seed)
    run = BacktestRun(plan)
    run.advance(plan.cycle_count)
    waiting = set(run.state.portfolio.settlements)
    edges = [START + number * 3 * DAY for number in range(LENGTH // 3 + 1)]
    windows = [PartitionWindow(f"{n:03d}", a, b) for n, (a, b) in enumerate(itertools.pairwise(edges))]

    outcomes = list(PartitionedBacktest(plan, tmp_path, windows).run([window.key for window in windows]))

    whole = run_plan(plan, progress=False)
    stored = pd.concat([outcome.tables["trades"].frame for outcome in outcomes])
    expected = whole.trades[~whole.trades["trade_id"].isin(waiting)]
    pd.testing.assert_frame_equal(trades_by_id(stored), trades_by_id(expected), check_exact=True)
    decisions = pd.concat([outcome.tables["decisions"].frame for outcome in outcomes], ignore_index=True)
    pd.testing.assert_frame_equal(decisions, whole.decisions, check_exact=True)
    assert len(stored) > 10
