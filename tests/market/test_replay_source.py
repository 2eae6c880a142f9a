"""A replay shows the past up to its present and nothing of what comes after, whatever it is asked."""

import pickle
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadConfiguration, BadInput, MarketDataMissing, UnknownPair
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket, to_aware
from trading_dagster.market.availability import AvailabilitySource
from trading_dagster.market.file_source import EmbeddedSample
from trading_dagster.market.loader import load_partial_data
from trading_dagster.market.memory_source import MemorySource
from trading_dagster.market.replay_source import ReplaySource
from trading_dagster.market.source import find_markets
from trading_dagster.market.universe import TradingStrategyUniverse

CEX = ChainId.centralised_exchange
START = datetime(2024, 1, 1)
HOUR = timedelta(hours=1)
BARS = 60
BTC, ETH = (CEX, "memory", "BTC", "USD"), (CEX, "memory", "ETH", "USD")


@dataclass
class Clock:
    moment: datetime

    def now(self) -> datetime:
        return to_aware(self.moment)


def candles(present, pair, seed=0):
    """Candles of the hours for which ``present`` is true; after each open the price moves away from it."""
    draw = np.random.default_rng(seed)
    opens = draw.uniform(50, 150, len(present))
    closes = opens * draw.uniform(0.9, 1.1, len(present))
    frame = pd.DataFrame(
        {
            "timestamp": [START + HOUR * bar for bar in range(len(present))],
            "pair": pair,
            "open": opens,
            "high": np.maximum(opens, closes) + 1,
            "low": np.minimum(opens, closes) - 1,
            "close": closes,
            "volume": draw.uniform(1, 2, len(present)),
            "note": "of the source only",
        }
    )
    return frame[np.asarray(present)]


def source_of(*frames, liquidity=None):
    both = pd.concat(frames, ignore_index=True).sort_values(["timestamp", "pair"], ignore_index=True)
    return MemorySource({TimeBucket.h1: both}, liquidity=liquidity)


def full(bars=BARS):
    return source_of(candles([True] * bars, "BTC/USD"), candles([True] * bars, "ETH/USD", 1))


def at(source, moment, **more):
    return ReplaySource(source, Clock(moment).now, **more)


def read(source, start=START, end=START + HOUR * BARS, pair="BTC/USD"):
    markets = [market for market in source.list_markets() if market.pair == pair]
    return pd.concat(list(source.load_candles(markets, start, end)), ignore_index=True)


presence = st.lists(st.booleans(), min_size=1, max_size=BARS).filter(any)


@given(
    present=presence,
    minutes=st.integers(-60, 60 * (BARS + 5)),
    delay_minutes=st.integers(0, 150),
    start=st.integers(-5, BARS + 5),
    length=st.integers(0, BARS + 10),
)
def test_what_happens_later_never_changes_what_is_shown(present, minutes, delay_minutes, start, length):
    """Change every price that is unknown at the present: all answers stay as they are."""
    now, delay = START + timedelta(minutes=minutes), timedelta(minutes=delay_minutes)
    seen = now - delay
    frame = candles(present, "BTC/USD")
    other = frame.copy()
    open_later = other["timestamp"] > seen
    closed_later = other["timestamp"] + HOUR > seen
    other.loc[closed_later, ["high", "low", "close", "volume"]] *= 7.0
    other.loc[open_later, "open"] *= 7.0
    shift = other["timestamp"].where(~open_later, other["timestamp"] + HOUR)  # even when the next trade comes is hidden
    other["timestamp"] = shift
    answers = []
    for content in (frame, other):
        replay = at(source_of(content), now, publication_delay=delay)
        markets = replay.list_markets()
        span = (START + HOUR * start, START + HOUR * (start + length))
        rows = [part.to_csv() for part in replay.load_candles(markets, *span)] if markets else []
        answers.append((markets, "".join(rows), replay.read_open(BTC, TimeBucket.h1)))
    assert answers[0] == answers[1]


@given(present=presence, minutes=st.integers(0, 60 * (BARS + 5)))
def test_what_is_closed_is_shown_as_it_was_and_what_is_in_progress_by_its_open(present, minutes):
    now = START + timedelta(minutes=minutes)
    frame = candles(present, "BTC/USD")
    replay = at(source_of(frame), now)
    known = frame[frame["timestamp"] <= now]
    if known.empty:
        assert replay.list_markets() == ()
        return
    (market,) = replay.list_markets()
    assert (market.first_at, market.last_at) == (frame["timestamp"].min(), known["timestamp"].max())
    shown = read(replay)
    closed = known[known["timestamp"] + HOUR <= now]
    columns = ["timestamp", "pair", "open", "high", "low", "close", "volume"]
    pd.testing.assert_frame_equal(shown.head(len(closed)), closed[columns].reset_index(drop=True))
    for row in shown.iloc[len(closed) :].itertuples():
        assert row.timestamp == known["timestamp"].max()
        assert (row.high, row.low, row.close, row.volume) == (row.open, row.open, row.open, 0.0)
        assert row.open == known["open"].iloc[-1]
    assert len(shown) == len(known)


def test_candles_appear_when_they_are_published():
    source = full()
    close = START + 10 * HOUR
    late = timedelta(seconds=90)
    before = at(source, close + late - timedelta(microseconds=1), publication_delay=late)
    after = at(source, close + late, publication_delay=late)
    assert before.read_availability([BTC], TimeBucket.h1)[0].last_candle_at == START + 8 * HOUR
    assert not before.read_availability([BTC], TimeBucket.h1)[0].is_ready(close)
    assert after.read_availability([BTC], TimeBucket.h1)[0].is_ready(close)
    assert read(before)["timestamp"].max() == START + 9 * HOUR
    assert read(before)["volume"].iloc[-1] == 0
    assert read(after)["timestamp"].max() == close
    assert read(after)["volume"].iloc[-2] > 0


def test_bar_without_trades_is_known_to_have_had_none_once_it_is_over():
    frame = candles([True, True, False, False, True, True], "BTC/USD")
    during = at(source_of(frame), START + 3.5 * HOUR).read_availability([BTC], TimeBucket.h1)[0]
    assert (during.last_candle_at, during.last_supposed_candle_at) == (START + HOUR, START + 2 * HOUR)
    assert during.is_ready(START + 3 * HOUR)
    assert not during.is_ready(START + 4 * HOUR)
    after = at(source_of(frame), START + 5 * HOUR).read_availability([BTC], TimeBucket.h1)[0]
    assert (after.last_candle_at, after.last_supposed_candle_at) == (START + 4 * HOUR, None)


def test_end_of_the_data_is_no_lack_of_trades_unless_the_data_is_complete():
    source, later = full(5), START + 9 * HOUR
    (unknown,) = at(source, later).read_availability([BTC], TimeBucket.h1)
    assert (unknown.last_candle_at, unknown.last_supposed_candle_at) == (START + 4 * HOUR, None)
    assert not unknown.is_ready(later)
    (quiet,) = at(source, later, complete_until=later).read_availability([BTC], TimeBucket.h1)
    assert quiet.last_supposed_candle_at == START + 8 * HOUR
    assert quiet.is_ready(later)


def test_pair_that_has_not_begun_is_not_ready_and_not_listed():
    source = source_of(candles([True] * 9, "BTC/USD"), candles([False] * 5 + [True] * 4, "ETH/USD"))
    replay = at(source, START + 3 * HOUR)
    btc, eth = replay.read_availability([BTC, ETH], TimeBucket.h1)
    assert btc.is_ready(START + 3 * HOUR)
    assert (eth.last_candle_at, eth.last_supposed_candle_at) == (None, None)
    assert [market.pair for market in replay.list_markets()] == ["BTC/USD"]
    assert replay.read_open(ETH, TimeBucket.h1) is None
    with pytest.raises(UnknownPair, match="ETH"):
        find_markets(replay.list_markets(), ETH, replay.name)


@pytest.mark.parametrize(("hours", "last_bar"), [(24, 0), (47.9, 0), (48, 1)])
def test_day_made_of_hours_is_closed_at_midnight(hours, last_bar):
    (day,) = at(full(), START + hours * HOUR).read_availability([BTC], TimeBucket.d1)
    assert day.last_candle_at == START + timedelta(days=last_bar)
    assert day.last_supposed_candle_at is None


def test_first_day_is_not_closed_before_it_is_over():
    (day,) = at(full(), START + 23.9 * HOUR).read_availability([BTC], TimeBucket.d1)
    assert day.newest_at is None


def test_day_in_progress_is_made_of_the_hours_so_far_and_triggers_run_on_hours():
    replay = at(full(), START + 30.5 * HOUR)
    dataset = load_partial_data(
        replay,
        time_bucket=TimeBucket.d1,
        stop_loss_time_bucket=TimeBucket.h1,
        pairs=[BTC],
        end_at=START + 30 * HOUR,
        required_history_period=timedelta(days=1),
    )
    universe = TradingStrategyUniverse.create_from_dataset(dataset)
    hours = candles([True] * BARS, "BTC/USD").reset_index(drop=True)
    today = universe.candles.frame(1).iloc[-1]
    assert universe.candles.index[-1] == START + timedelta(days=1)
    assert today["open"] == hours["open"][24]
    assert today["high"] == max(hours["high"][24:30].max(), hours["open"][30])
    assert today["close"] == hours["open"][30]
    assert today["volume"] == pytest.approx(hours["volume"][24:30].sum(), rel=1e-12)
    feed = universe.stop_loss_candles
    assert feed is not None
    assert feed.index[-1] == START + 30 * HOUR
    assert feed.frame(1)["close"].iloc[-1] == hours["open"][30]


def test_finer_bars_than_the_data_has_are_refused():
    with pytest.raises(BadInput, match="m15"):
        at(full(), START + 10 * HOUR).read_availability([BTC], TimeBucket.m15)


def test_tvl_in_progress_shows_its_open_only():
    tvl = candles([True] * 9, "BTC/USD").drop(columns="volume")
    replay = at(source_of(candles([True] * 9, "BTC/USD"), liquidity={TimeBucket.h1: tvl}), START + 3.5 * HOUR)
    (market,) = replay.list_liquidity()
    assert market.last_at == START + 3 * HOUR
    (frame,) = replay.load_liquidity([market], START, START + 9 * HOUR)
    assert list(frame.columns) == ["timestamp", "pair", "open", "high", "low", "close"]
    assert frame["close"].iloc[-1] == frame["open"].iloc[-1] == tvl["open"].iloc[3]
    with pytest.raises(BadInput, match="has no TVL"):
        at(EmbeddedSample(), START).list_liquidity()


def test_sample_is_replayed_and_can_be_taken_to_another_process():
    moment = datetime(2018, 6, 1, 12, 30)
    replay = pickle.loads(pickle.dumps(ReplaySource(EmbeddedSample(), Clock(moment).now)))
    assert isinstance(replay, AvailabilitySource)
    hourly = (CEX, "coinbase", "BTC", "USD")
    (hour,) = replay.read_availability([hourly], TimeBucket.h1)
    assert hour.last_candle_at == datetime(2018, 6, 1, 11)
    opened_at, price = replay.read_open(hourly, TimeBucket.h1)
    assert opened_at == datetime(2018, 6, 1, 12)
    universe = TradingStrategyUniverse.create_from_dataset(
        load_partial_data(replay, time_bucket=TimeBucket.h1, pairs=[hourly])
    )
    assert universe.candles.index[-1] == opened_at
    assert universe.candles.columns["open"][0, -1] == price
    daily = (CEX, "bitstamp", "ETH", "USD")
    assert replay.read_availability([daily], TimeBucket.d1)[0].last_candle_at == datetime(2018, 5, 31)


def test_what_is_not_in_the_data_is_refused():
    replay = at(full(), START + 3 * HOUR)
    (stranger,) = [market for market in EmbeddedSample().list_markets() if market.exchange_slug == "coinbase"]
    with pytest.raises(MarketDataMissing, match="coinbase"):
        list(replay.load_candles([stranger], START, START + HOUR))
    with pytest.raises(UnknownPair, match="DOGE"):
        replay.read_availability([(CEX, "memory", "DOGE", "USD")], TimeBucket.h1)
    with pytest.raises(BadConfiguration, match="publication_delay"):
        at(full(), START, publication_delay=timedelta(seconds=-1))


def test_clock_without_a_zone_is_refused():
    with pytest.raises(BadInput, match="UTC"):
        ReplaySource(full(), lambda: datetime(2024, 1, 1)).list_markets()
    assert ReplaySource(full(), lambda: datetime(2024, 1, 1, tzinfo=UTC)).list_markets()
