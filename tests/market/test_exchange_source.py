"""Candles of an exchange through ccxt, from a server on this machine that speaks Binance's protocol."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from market.exchange_server import FakeExchange, hours, serve_exchange, to_ms

from trading_dagster.domain.error import BadConfiguration, SourceUnavailable, UnknownPair
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.exchange_api import CcxtApi, Patience
from trading_dagster.market.exchange_source import ExchangeSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles

CEX = ChainId.centralised_exchange
BTC = (CEX, "binance", "BTC", "USDT")
ETH = (CEX, "binance", "ETH", "USDT")
NOW = datetime(2024, 3, 10, 12, 30)


class World:
    """An exchange, its server and a source on it that records how long it would have waited."""

    def __init__(self, exchange, url):
        self.exchange, self.url, self.waits = exchange, url, []

    def open(self, *pairs, **options):
        patience = Patience(sleep=self.waits.append)
        api = CcxtApi("binance", api_url=self.url, patience=patience)
        api._exchange.enableRateLimit = False
        return ExchangeSource(api, pairs=pairs or None, now=lambda: self.exchange.now.replace(tzinfo=UTC), **options)

    def count_pages(self):
        return sum(path.endswith("klines") for path, _ in self.exchange.requests)


@pytest.fixture
def world():
    exchange = FakeExchange(NOW, BTCUSDT=datetime(2024, 1, 1), ETHUSDT=datetime(2024, 2, 7, 5), LUNAUSDT=NOW - hours(9))
    with serve_exchange(exchange) as url:
        yield World(exchange, url)


def load(source, pair, start, end, bucket=TimeBucket.h1):
    (market,) = [item for item in source.list_markets() if (item.pair, item.bucket) == (pair, bucket)]
    frames = list(source.load_candles([market], start, end))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"timestamp": []})


def expected_times(start, end, *holes):
    return [time for time in pd.date_range(start, end, freq="h", inclusive="left") if time not in holes]


def test_all_spot_pairs_are_listed_delisted_ones_too(world):
    markets = world.open().list_markets()
    assert sorted({market.pair for market in markets}) == ["BTC/USDT", "ETH/USDT", "LUNA/USDT"]
    assert {TimeBucket.m1, TimeBucket.h1, TimeBucket.d1} <= {market.bucket for market in markets}
    assert {market.last_at for market in markets if market.bucket is TimeBucket.h1} == {datetime(2024, 3, 10, 12)}


def test_pages_join_without_hole_or_repetition(world):
    candles = load(world.open(), "BTC/USDT", datetime(2024, 1, 1), datetime(2024, 3, 1))
    assert candles["timestamp"].tolist() == expected_times("2024-01-01", "2024-03-01")
    assert world.count_pages() == 2
    first = world.exchange.rows("BTCUSDT", "1h", to_ms(datetime(2024, 1, 1)), 1)[0]
    assert candles.loc[0, ["open", "high", "low", "close", "volume"]].tolist() == [float(text) for text in first[1:6]]
    assert set(candles["pair"]) == {"BTC/USDT"}


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        ("429:7", [7.0]),
        ("418:90", [90.0]),
        ("429", [1.0]),
        ("500", [1.0]),
        ("drop", [1.0]),
        ("half", [1.0]),
        ("cut", [1.0]),
        ("short:3", []),
        ("empty", []),
        ("overlap:5", []),
        ("shuffled", []),
    ],
)
def test_bad_answer_costs_time_and_no_candle(world, fault, waits):
    world.exchange.faults.append(fault)
    candles = load(world.open(), "BTC/USDT", datetime(2024, 1, 1), datetime(2024, 2, 20))
    assert candles["timestamp"].tolist() == expected_times("2024-01-01", "2024-02-20")
    assert world.waits == waits


def test_every_fault_in_a_row_costs_no_candle(world):
    world.exchange.faults.extend(["short:400", "drop", "500", "half", "overlap:9", "empty", "429:3", "short:1"])
    candles = load(world.open(), "BTC/USDT", datetime(2024, 1, 1), datetime(2024, 3, 10))
    assert candles["timestamp"].tolist() == expected_times("2024-01-01", "2024-03-10")
    assert world.waits == [1.0, 2.0, 4.0, 3.0]


def test_exchange_that_stays_down_is_named_after_the_last_attempt(world):
    world.exchange.faults.extend(["500"] * 6)
    with pytest.raises(SourceUnavailable, match=r"binance did not give 1h candles of BTC/USDT .* in 6 attempts"):
        load(world.open(), "BTC/USDT", datetime(2024, 1, 1), datetime(2024, 2, 1))
    assert world.waits == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_long_ban_is_told_at_once(world):
    world.exchange.faults.append("418:7200")
    with pytest.raises(SourceUnavailable, match="binance asks to wait 7200 s before"):
        load(world.open(), "BTC/USDT", datetime(2024, 1, 1), datetime(2024, 2, 1))
    assert world.waits == []


def test_unknown_pair_and_exchange_name_the_closest(world):
    with pytest.raises(UnknownPair, match=r"no BTC/USDC; did you mean .*BTC"):
        world.open("BTC/USDC").list_markets()
    with pytest.raises(BadConfiguration, match="did you mean binance"):
        CcxtApi("binanse")


def test_hours_without_trades_are_holes(world):
    hole = datetime(2024, 1, 20, 4)
    world.exchange.holes.add(to_ms(hole))
    candles = load(world.open(), "BTC/USDT", datetime(2024, 1, 1), datetime(2024, 2, 1))
    assert candles["timestamp"].tolist() == expected_times("2024-01-01", "2024-02-01", hole)


def test_candle_in_progress_shows_its_open_only(world):
    candles = load(world.open(), "BTC/USDT", datetime(2024, 3, 10, 10), datetime(2024, 3, 11))
    last = candles.iloc[-1]
    assert last["timestamp"] == datetime(2024, 3, 10, 12)
    assert last["high"] == last["low"] == last["close"] == last["open"]
    assert last["volume"] == 0.0
    assert candles.iloc[-2]["high"] > candles.iloc[-2]["open"]


def test_measured_markets_begin_with_their_first_candle(world):
    source = world.open()
    markets = [market for market in source.list_markets() if market.bucket is TimeBucket.h1]
    measured = {market.pair: market.first_at for market in source.measure(markets)}
    assert measured["BTC/USDT"] == datetime(2024, 1, 1)
    assert datetime(2024, 1, 29) <= measured["ETH/USDT"] <= datetime(2024, 2, 7, 5)
    asked = world.count_pages()
    source.measure(markets)
    assert world.count_pages() == asked


def test_candles_count_as_closed_once_a_later_one_has_begun(world):
    source, exchange = world.open("BTC/USDT", "ETH/USDT"), world.exchange
    exchange.now = datetime(2024, 3, 10, 13, 0, 0, 500_000)
    exchange.holes.add(to_ms(datetime(2024, 3, 10, 13)))
    before = source.read_availability([BTC], TimeBucket.h1)[0]
    assert (before.last_candle_at, before.is_ready(datetime(2024, 3, 10, 13))) == (datetime(2024, 3, 10, 11), False)
    exchange.holes.clear()
    ready = source.read_availability([BTC, ETH], TimeBucket.h1)
    assert [item.last_candle_at for item in ready] == [datetime(2024, 3, 10, 12)] * 2
    assert all(item.is_ready(datetime(2024, 3, 10, 13)) for item in ready)
    asked = world.count_pages()
    source.read_availability([BTC, ETH], TimeBucket.h1)
    assert world.count_pages() == asked


def test_clock_that_is_ahead_closes_no_candle_early(world, tmp_path):
    exchange = world.exchange
    exchange.now, exchange.behind_s = datetime(2024, 3, 10, 12, 55), 600.0
    source = world.open("BTC/USDT")
    source._now = lambda: (exchange.now + timedelta(minutes=10)).replace(tzinfo=UTC)  # 13:05 on this machine
    available = source.read_availability([BTC], TimeBucket.h1)[0]
    assert (available.last_candle_at, available.is_ready(datetime(2024, 3, 10, 13))) == (
        datetime(2024, 3, 10, 11),
        False,
    )
    lake = Lake(tmp_path)
    import_candles(lake, source, bucket=TimeBucket.h1, start_at=datetime(2024, 3, 10))
    assert lake.query("SELECT max(timestamp) AS last FROM candles")["last"].dt.hour.tolist() == [11]
    exchange.behind_s = 2.0  # as between any two machines
    fresh = world.open("BTC/USDT")
    fresh._now = source._now
    assert fresh.list_markets()
    assert fresh.closed_until(TimeBucket.h1) == datetime(2024, 3, 10, 13)


def test_bar_without_trades_is_known_after_a_while(world):
    source, exchange = world.open("BTC/USDT"), world.exchange
    exchange.now = datetime(2024, 3, 10, 14, 0, 30)
    exchange.holes.update({to_ms(datetime(2024, 3, 10, 13)), to_ms(datetime(2024, 3, 10, 14))})
    early = source.read_availability([BTC], TimeBucket.h1)[0]
    assert not early.is_ready(datetime(2024, 3, 10, 14))
    exchange.now += timedelta(minutes=2)
    late = source.read_availability([BTC], TimeBucket.h1)[0]
    assert late.last_candle_at == datetime(2024, 3, 10, 12)
    assert late.last_supposed_candle_at == datetime(2024, 3, 10, 13)
    assert late.is_ready(datetime(2024, 3, 10, 14))
