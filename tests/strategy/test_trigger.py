"""Stop loss, take profit and trailing stop: small tables of feed opens, and a plain loop as oracle."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tape import AAVE_USDC, START, USDC, WETH_USDC, Opens, pair_of, run_on, token, universe_of

from trading_dagster.backtest.result import BacktestResult
from trading_dagster.backtest.trigger_checks import SCAN_FROM_BARS
from trading_dagster.domain.error import InvalidTrade
from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trade import TradeFlag
from trading_dagster.strategy.trigger import NO_LEVELS, TriggerLevels, opening_levels

HOUR = timedelta(hours=1)
OTHER_USDC = pair_of(2, token(3, "AAVE"), USDC, fee=0.0)

# -- levels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "levels"),
    [
        ({}, NO_LEVELS),
        ({"stop_loss_pct": 0.9}, TriggerLevels(180, None, None)),
        ({"trailing_stop_loss_pct": 0.75, "take_profit_pct": 1.5}, TriggerLevels(150, 300, 0.75)),
        ({"stop_loss_usd": 199, "take_profit_usd": 201}, TriggerLevels(199, 201, None)),
        ({"is_short": True, "stop_loss_pct": 0.9}, TriggerLevels(200 * (2 - 0.9), None, None)),
        ({"is_short": True, "take_profit_pct": 1.5}, TriggerLevels(None, 100, None)),
        ({"is_short": True, "trailing_stop_loss_pct": 0.75}, TriggerLevels(250, None, 0.75)),
        ({"is_short": True, "stop_loss_usd": 201, "take_profit_usd": 199}, TriggerLevels(201, 199, None)),
    ],
)
def test_levels_of_longs_and_shorts_at_mid_200(asked, levels):
    assert opening_levels(200.0, **asked) == levels


@pytest.mark.parametrize("asked", [{"stop_loss_usd": 199}, {"take_profit_usd": 201}])
def test_levels_of_a_short_lie_on_the_other_side(asked):
    opening_levels(200.0, **asked)
    with pytest.raises(InvalidTrade, match="wrong side"):
        opening_levels(200.0, is_short=True, **asked)


# -- tables -----------------------------------------------------------------------------------------------------------


def closes(result: BacktestResult) -> list[tuple[float, str, float]]:
    """Return (hours after START, trade type, price) of every sell."""
    return [
        ((t.executed_at - START) / HOUR, t.trade_type.value, t.executed_price)
        for t in result.state.portfolio.get_all_trades()
        if t.is_sell()
    ]


def play(
    feed: Opens,
    *,
    pair: TradingPairIdentifier = WETH_USDC,
    cycle: CycleDuration = CycleDuration.cycle_4h,
    feed_bucket: TimeBucket = TimeBucket.h1,
    cycles: int = 2,
    mid: float = 100.0,
    tolerance: timedelta | None = None,
    **triggers: Any,
) -> BacktestResult:
    """Open one position at START at a mid of 100 and let the feed run; decisions do nothing else."""
    count = cycles + 1
    universe = universe_of(
        {pair: [mid] * count}, cycle.to_timebucket(), feed={pair: feed}, feed_bucket=feed_bucket, tolerance=tolerance
    )

    def decide(input):
        return input.get_position_manager().open_spot(pair, 1000, **triggers) if input.cycle == 1 else []

    return run_on(universe, decide, cycle=cycle, cycles=cycles)


STOP, PROFIT, TRAIL = {"stop_loss_pct": 0.95}, {"take_profit_pct": 1.25}, {"trailing_stop_loss_pct": 0.9}
BOTH = {**STOP, **PROFIT}
SL, TP = "stop_loss", "take_profit"
N = None


@pytest.mark.parametrize(
    ("feed", "triggers", "expected"),
    [
        # hours:  0    1    2    3    4    5    6    7    8
        pytest.param([100, 96, 95.1, 99, 98, 97, 96, 99, 99], STOP, [], id="stop not reached"),
        pytest.param([100, 96, 94, 99, 98, 97, 96, 99, 99], STOP, [(2, SL, 94)], id="filled at the open"),
        pytest.param([100, 96, 95, 99, 98, 97, 96, 99, 99], STOP, [(2, SL, 95)], id="touching the stop fires"),
        pytest.param([100, 96, 40, 30, 98, 97, 96, 99, 99], STOP, [(2, SL, 40)], id="fired once"),
        pytest.param([94, 99, 99, 99, 99, 99, 99, 99, 99], STOP, [(0, SL, 94)], id="checked at ts"),
        pytest.param([100, 99, 99, 99, 94, 99, 99, 99, 99], STOP, [(4, SL, 94)], id="checked at next ts"),
        pytest.param([100, 99, 99, 99, 99, 99, 99, 99, 94], STOP, [(8, SL, 94)], id="checked at the very end"),
        pytest.param([100, 124, 125, 99, 99, 99, 99, 99, 99], PROFIT, [(2, TP, 125)], id="touching the profit"),
        pytest.param([100, 124, 150, 99, 99, 99, 99, 99, 99], PROFIT, [(2, TP, 150)], id="profit at the open"),
        pytest.param([100, 99, 125, 94, 99, 99, 99, 99, 99], BOTH, [(2, TP, 125)], id="profit before stop in time"),
        pytest.param([100, 99, 94, 125, 99, 99, 99, 99, 99], BOTH, [(2, SL, 94)], id="stop before profit in time"),
        pytest.param([100, 99, N, N, N, N, 94, 99, 99], STOP, [(6, SL, 94)], id="after a gap in the feed"),
        pytest.param([100, 96, N, N, N, N, 99, 99, 99], STOP, [], id="a gap alone fires nothing"),
        pytest.param([100, N, N, N, N, N, N, N, 94], STOP, [(8, SL, 94)], id="gap up to the end"),
        pytest.param([100, 120, 109, 108, 100, 99, 99, 99, 99], TRAIL, [(3, SL, 108)], id="trailing stop is raised"),
        pytest.param([100, 91, 120, 110, 109, 108, 99, 99, 99], TRAIL, [(5, SL, 108)], id="trailing stop stays up"),
        pytest.param([100, 90.5, 91, 90, 99, 99, 99, 99, 99], TRAIL, [(3, SL, 90)], id="trailing stop never falls"),
        pytest.param([100, 99, 94, 99, 99, 99, 99, 99, 99], {"stop_loss_usd": 94.5}, [(2, SL, 94)], id="stop in USD"),
        pytest.param(
            [100, 99, 102, 99, 99, 99, 99, 99, 99], {"take_profit_usd": 101}, [(2, TP, 102)], id="profit in USD"
        ),
        pytest.param([100, 50, 200, 50, 200, 50, 200, 50, 200], {}, [], id="no trigger"),
    ],
)
def test_table_of_feed_opens(feed, triggers, expected):
    result = play(feed, **triggers)
    assert closes(result) == [(hour, kind, pytest.approx(price)) for hour, kind, price in expected]
    assert len(result.state.portfolio.closed_positions) == len(expected)


def test_highs_and_lows_are_not_looked_at():
    """The candles of these tables have highs of 3 times and lows of a third of the open."""
    result = play([100] * 9, **BOTH)
    candles = result.universe.stop_loss_candles
    assert candles.columns["low"].min() < 95
    assert candles.columns["high"].max() > 125
    assert closes(result) == []


def test_triggered_sale_pays_the_fee_from_the_mid_of_the_instant():
    result = play([100, 99, 90, 99, 99], pair=AAVE_USDC, cycles=1, **STOP)
    assert closes(result) == [(2, SL, pytest.approx(90 * 0.997))]
    sell = result.state.portfolio.get_all_trades()[1]
    assert sell.planned_mid_price == 90
    assert sell.lp_fees_paid == pytest.approx(abs(float(sell.executed_quantity)) * 90 * 0.003)
    assert sell.flags == {TradeFlag.close, TradeFlag.triggered}
    assert "stop_loss at level 95" in sell.notes
    assert "mid 90" in sell.notes


def test_closed_position_tells_which_trigger_closed_it():
    def position(feed, **triggers):
        (closed,) = play(feed, cycles=1, **triggers).state.portfolio.closed_positions.values()
        return closed.is_stop_loss(), closed.is_take_profit(), closed.is_trailing_stop_loss()

    assert position([100, 90, 99, 99, 99], **STOP) == (True, False, False)
    assert position([100, 130, 99, 99, 99], **PROFIT) == (False, True, False)
    assert position([100, 80, 99, 99, 99], **TRAIL) == (True, False, True)


def test_trailing_moves_are_recorded_with_their_instant_and_mid():
    result = play([100, 120, 110, 130, 115], cycles=1, **TRAIL)
    (position,) = result.state.portfolio.closed_positions.values()
    moves = [(u.timestamp, u.mid_price, u.stop_loss_before, u.stop_loss_after) for u in position.trigger_updates]
    assert moves == [
        (START, 100, None, pytest.approx(90)),
        (START + HOUR, 120, pytest.approx(90), pytest.approx(108)),
        (START + 3 * HOUR, 130, pytest.approx(108), pytest.approx(117)),
    ]
    assert closes(result) == [(4, SL, pytest.approx(115))]


def test_trailing_update_comes_before_the_stop_test_of_the_same_instant():
    """At 1 h the mid of 50 first sets the level to 50 x 0.9, so nothing fires; 45 then touches it."""

    def decide(input):
        return input.get_position_manager().adjust_position(WETH_USDC, 1000, None, 0.1, trailing_stop_loss=0.9) * (
            input.cycle == 1
        )

    feed = {WETH_USDC: [50, 46, 45, 60]}
    universe = universe_of(
        {WETH_USDC: [100, 100]}, TimeBucket.h4, feed=feed, feed_bucket=TimeBucket.h1, feed_start=START + HOUR
    )
    result = run_on(universe, decide, cycle=CycleDuration.cycle_4h, cycles=1)
    (position,) = result.state.portfolio.closed_positions.values()
    first = position.trigger_updates[1]
    assert (first.timestamp, first.stop_loss_before, first.stop_loss_after) == (START + HOUR, None, 45)
    assert closes(result) == [(3, SL, 45)]


def test_levels_stay_where_they_were_set_when_the_feed_disagrees_with_the_candles():
    """The decision buys at a mid of 100 on the candles; the feed says 97 at the same instant."""
    assert closes(play([97, 96, 94, 99, 99], cycles=1, **STOP)) == [(2, SL, 94)]


def test_feed_older_than_the_tolerance_is_no_sample():
    """After 2 h without candles a trailing position is skipped, not checked against an old price."""
    feed = [100, N, N, N, N, 94, 99, 99, 99]
    (position,) = play(feed, tolerance=2 * HOUR, **STOP).state.portfolio.closed_positions.values()
    assert position.closed_at == START + 5 * HOUR


# -- decisions and instants -------------------------------------------------------------------------------------------


def test_trigger_at_next_ts_runs_before_the_decision_and_again_after_it():
    """At 4 h the stop fires; the decision sees no position and opens one, which the same instant closes again."""
    seen = []

    def decide(input):
        manager = input.get_position_manager()
        seen.append(manager.is_any_open())
        return [] if manager.is_any_open() else manager.open_spot(WETH_USDC, 1000, stop_loss_pct=0.95)

    feed = [100, 100, 100, 100, 90, 100, 100, 100, 100]
    universe = universe_of({WETH_USDC: [100.0] * 3}, TimeBucket.h4, feed={WETH_USDC: feed}, feed_bucket=TimeBucket.h1)
    result = run_on(universe, decide, cycle=CycleDuration.cycle_4h, cycles=2)
    assert seen == [False, False]
    assert closes(result) == [(4, SL, 90), (4, SL, 90)]
    assert [p.position_id for p in result.state.portfolio.closed_positions.values()] == [1, 2]


def test_stop_moved_by_a_decision_is_checked_at_that_instant():
    def decide(input):
        manager = input.get_position_manager()
        if input.cycle == 1:
            return manager.open_spot(WETH_USDC, 1000, stop_loss_pct=0.5)
        manager.update_stop_loss(manager.get_current_position(), 99.5)
        return []

    feed = [100, 98, 97, 98, 99, 101, 102, 103, 104]
    universe = universe_of({WETH_USDC: [100.0] * 3}, TimeBucket.h4, feed={WETH_USDC: feed}, feed_bucket=TimeBucket.h1)
    assert closes(run_on(universe, decide, cycle=CycleDuration.cycle_4h, cycles=2)) == [(4, SL, 99)]


def test_every_position_may_trade_once_in_an_instant():
    def decide(input):
        manager = input.get_position_manager()
        if input.cycle > 1:
            return []
        return [t for pair in (WETH_USDC, OTHER_USDC) for t in manager.open_spot(pair, 1000, stop_loss_pct=0.95)]

    opens = {WETH_USDC: [100.0, 80.0, 70.0], OTHER_USDC: [100.0, 90.0, 60.0]}
    result = run_on(universe_of(opens, feed=opens), decide, cycles=2)
    assert closes(result) == [(1, SL, 80), (1, SL, 90)]
    times = result.samples["timestamp"].tolist()
    assert times == [START, START + HOUR, START + HOUR]  # one sample of the instant, for both trades


def test_position_on_an_unwatched_pair_does_not_disturb_samples_of_an_instant():
    """The feed lacks AAVE: at the instant of the stop it is valued on the candles."""

    def decide(input):
        manager = input.get_position_manager()
        if input.cycle > 1:
            return []
        return manager.open_spot(WETH_USDC, 1000, stop_loss_pct=0.95) + manager.open_spot(OTHER_USDC, 1000)

    universe = universe_of({WETH_USDC: [100.0, 90.0], OTHER_USDC: [100.0, 150.0]}, feed={WETH_USDC: [100.0, 90.0]})
    result = run_on(universe, decide, cycles=1)
    assert result.samples["equity"].tolist() == pytest.approx([10_000, 8000 + 900 + 1500])


@pytest.mark.parametrize(
    ("cycle", "feed_bucket", "cycles", "hit", "expected"),
    [
        (CycleDuration.cycle_1h, TimeBucket.h4, 8, 1, 4),
        (CycleDuration.cycle_4h, TimeBucket.h4, 2, 1, 4),
        (CycleDuration.cycle_4h, TimeBucket.m15, 2, 5, 1.25),
        (CycleDuration.cycle_1d, TimeBucket.m5, 1, 100, 100 / 12),
        (CycleDuration.cycle_1h, TimeBucket.h1, 8, 5, 5),
    ],
)
def test_feed_may_be_coarser_or_finer_than_the_cycle(cycle, feed_bucket, cycles, hit, expected):
    width = feed_bucket.to_timedelta()
    count = int(cycles * cycle.to_timedelta() / width) + 1
    feed = [90.0 if number == hit else 100.0 for number in range(count)]
    bucket = max(cycle.to_timebucket(), feed_bucket, key=lambda b: b.to_timedelta())
    universe = universe_of({WETH_USDC: [100.0] * 9}, bucket, feed={WETH_USDC: feed}, feed_bucket=feed_bucket)

    def decide(input):
        return input.get_position_manager().open_spot(WETH_USDC, 1000, **STOP) if input.cycle == 1 else []

    assert closes(run_on(universe, decide, cycle=cycle, cycles=cycles)) == [(pytest.approx(expected), SL, 90)]


@pytest.mark.parametrize("extra", [-1, 0, 1, 40])
@pytest.mark.parametrize(
    ("triggers", "spike"),
    [(STOP, 90.0), (PROFIT, 130.0), (TRAIL, 89.0), (STOP, None)],
    ids=["stop", "profit", "trail", "none"],
)
def test_long_windows_find_a_spike_at_any_instant(extra, triggers, spike):
    """Windows of at least 24 bars are scanned as arrays first; the spike must be found wherever it is."""
    bars = SCAN_FROM_BARS + extra
    for place in (1, bars // 2, bars - 1):
        feed = [100.0] * bars
        if spike is not None:
            feed[place] = spike
        feed[0] = None if place == 1 else 100.0
        universe = universe_of(
            {WETH_USDC: [100.0, 100.0]}, TimeBucket.d1, feed={WETH_USDC: [100.0, *feed[1:]]}, feed_bucket=TimeBucket.m15
        )

        def decide(input):
            return input.get_position_manager().open_spot(WETH_USDC, 1000, **triggers)

        found = closes(run_on(universe, decide, cycle=CycleDuration.cycle_1d, cycles=1))
        assert [(hour, price) for hour, _, price in found] == ([] if spike is None else [(place / 4, spike)])


def test_instants_after_the_end_of_the_feed_are_sampled_within_the_tolerance():
    """The feed ends at 1 h at 90; the decision at 4 h buys at 100 on the candles, with a stop at 95."""

    def decide(input):
        return input.get_position_manager().open_spot(WETH_USDC, 1000, **STOP) if input.cycle == 2 else []

    universe = universe_of(
        {WETH_USDC: [100.0] * 3}, TimeBucket.h4, feed={WETH_USDC: [100.0, 90.0]}, feed_bucket=TimeBucket.h1
    )
    assert closes(run_on(universe, decide, cycle=CycleDuration.cycle_4h, cycles=2)) == [(4, SL, 90)]


# -- oracle -----------------------------------------------------------------------------------------------------------


@dataclass
class Watched:
    """A long position as reference section 5 sees it."""

    opened: datetime
    stop: float | None
    profit: float | None
    trailing: float | None
    moves: list[tuple[datetime, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Plan:
    """What the decisions of a run do: by cycle, the triggers of an opening, or a new stop level."""

    candles: tuple[float, ...]
    feed: tuple[float | None, ...]
    feed_lag: int
    bars_a_cycle: int
    tolerance: int
    openings: dict[int, dict[str, float]]
    moves: dict[int, float]


def sample(plan: Plan, bar: int) -> float | None:
    """Return the open at a feed instant, counted from START, or the latest earlier one within the tolerance."""
    for back in range(plan.tolerance + 1):
        place = bar - back - plan.feed_lag
        if 0 <= place < len(plan.feed) and plan.feed[place] is not None:
            return plan.feed[place]
    return None


def oracle(plan: Plan) -> tuple[list, list]:
    """Run the plan by a plain loop over every instant; returns sells and stop moves as (time, value)."""
    width = timedelta(minutes=5)
    last_feed_bar = plan.feed_lag + len(plan.feed) - 1
    position: Watched | None = None
    sells, moves = [], []
    for cycle in range(len(plan.candles) - 1):
        first = cycle * plan.bars_a_cycle
        ts, mid = START + first * width, plan.candles[cycle]
        if position is None and cycle in plan.openings:
            asked = plan.openings[cycle]
            trailing = asked.get("trailing_stop_loss_pct")
            stop_pct = asked.get("stop_loss_pct", trailing)
            position = Watched(
                ts,
                None if stop_pct is None else mid * stop_pct,
                mid * asked["take_profit_pct"] if "take_profit_pct" in asked else None,
                trailing,
            )
        elif position is not None and cycle in plan.moves:
            position.stop = mid * plan.moves[cycle]
        for bar in range(first, first + plan.bars_a_cycle + 1):
            x, price = START + bar * width, sample(plan, bar)
            if position is None or price is None or bar > last_feed_bar:
                continue
            if position.trailing is not None:
                level = price * position.trailing
                if position.stop is None or level > position.stop:
                    position.stop = level
                    moves.append((x, level))
            if position.stop is not None and price <= position.stop:
                sells.append((x, SL, price))
                position = None
            elif position.profit is not None and price >= position.profit:
                sells.append((x, TP, price))
                position = None
    return sells, moves


def run_plan(plan: Plan) -> tuple[list, list]:
    """Run the same by the engine."""
    cycle = {12: CycleDuration.cycle_1h, 48: CycleDuration.cycle_4h, 3: CycleDuration.cycle_15m}[plan.bars_a_cycle]
    universe = universe_of(
        {WETH_USDC: plan.candles},
        cycle.to_timebucket(),
        feed={WETH_USDC: plan.feed},
        feed_bucket=TimeBucket.m5,
        feed_start=START + plan.feed_lag * timedelta(minutes=5),
        tolerance=max(plan.tolerance * timedelta(minutes=5), timedelta(0)),
    )

    def decide(input):
        manager, number = input.get_position_manager(), input.cycle - 1
        if not manager.is_any_open():
            return manager.open_spot(WETH_USDC, 100, **plan.openings[number]) if number in plan.openings else []
        if number in plan.moves:
            manager.update_stop_loss(manager.get_current_position(), plan.candles[number] * plan.moves[number])
        return []

    result = run_on(universe, decide, cycle=cycle, cycles=len(plan.candles) - 1)
    trades = [t for t in result.state.portfolio.get_all_trades() if t.is_sell()]
    positions = sorted(result.state.portfolio.get_all_positions(), key=lambda p: p.position_id)
    moves = [
        (u.timestamp, u.stop_loss_after)
        for p in positions
        for u in p.trigger_updates
        if u.timestamp != p.opened_at and (u.timestamp, u.stop_loss_after) not in decided(plan, p)
    ]
    return [(t.executed_at, t.trade_type.value, t.planned_mid_price) for t in trades], moves


def decided(plan: Plan, position: Any) -> set[tuple[datetime, float]]:
    width = timedelta(minutes=5)
    return {
        (START + n * plan.bars_a_cycle * width, plan.candles[n] * pct)
        for n, pct in plan.moves.items()
        if n < len(plan.candles)
    }


PRICES = st.floats(min_value=80, max_value=125)
TRIGGERS = st.sampled_from(
    [
        {"stop_loss_pct": 0.9},
        {"take_profit_pct": 1.1},
        {"stop_loss_pct": 0.85, "take_profit_pct": 1.2},
        {"trailing_stop_loss_pct": 0.85},
        {"trailing_stop_loss_pct": 0.8, "take_profit_pct": 1.22},
        {},
    ]
)


@st.composite
def plans(draw) -> Plan:
    bars = draw(st.sampled_from([3, 12, 48]))
    cycles = draw(st.integers(2, 5))
    total = bars * cycles + 1
    lag = draw(st.sampled_from([0, 0, 1, bars + 1]))
    calm = draw(st.booleans())
    price = st.floats(min_value=95, max_value=105) if calm else PRICES
    feed = draw(st.lists(st.one_of(st.none(), price, price, price, price), min_size=total, max_size=total))
    feed[0] = feed[0] or 100.0
    if calm:  # a few spikes in a calm feed, so that the scan of long windows has something to find
        for place in draw(st.lists(st.integers(0, total - 1), max_size=4)):
            feed[place] = draw(PRICES)
    kept = max(1, total - lag - draw(st.sampled_from([0, 0, 2, bars])))
    return Plan(
        candles=tuple(draw(st.lists(st.floats(95, 105), min_size=cycles + 1, max_size=cycles + 1))),
        feed=tuple(feed[:kept]),
        feed_lag=lag,
        bars_a_cycle=bars,
        tolerance=draw(st.sampled_from([0, 1, 5, 1000])),
        openings=draw(st.dictionaries(st.integers(0, cycles - 1), TRIGGERS, max_size=cycles)),
        moves=draw(st.dictionaries(st.integers(1, cycles), st.floats(0.8, 1.02), max_size=2)),
    )


@settings(max_examples=300)
@given(plans())
def test_engine_trades_and_moves_stops_like_a_plain_loop(plan):
    expected_sells, expected_moves = oracle(plan)
    sells, moves = run_plan(plan)
    assert sells == expected_sells
    trailing = [m for m in expected_moves if m not in decided(plan, None) and m[0] not in opening_times(plan)]
    assert [m for m in moves if m[0] not in opening_times(plan)] == trailing


def opening_times(plan: Plan) -> set[datetime]:
    """Instants at which a level may be set both by an opening and by a check."""
    return {START + n * plan.bars_a_cycle * timedelta(minutes=5) for n in plan.openings}
