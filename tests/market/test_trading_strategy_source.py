"""Candles of the Trading Strategy data service, from a server on this machine that speaks its protocol."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pandas as pd
import pytest
from market.trading_strategy_server import ETH_POOL, KEY, UNI_POOL, FakeService, seconds, serve_service

from trading_dagster.domain.error import (
    BadConfiguration,
    BadInput,
    MarketDataMissing,
    SourceUnavailable,
    UnknownPair,
)
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.market.availability import AvailabilitySource
from trading_dagster.market.exchange_api import Patience
from trading_dagster.market.lake import Lake
from trading_dagster.market.lake_import import import_candles
from trading_dagster.market.source import RemoteSource
from trading_dagster.market.trading_strategy_api import TradingStrategyApi
from trading_dagster.market.trading_strategy_pair import choose_pairs
from trading_dagster.market.trading_strategy_source import TradingStrategySource

NOW = datetime(2024, 3, 10, 12, 30)
ETH = (ChainId.ethereum, "uniswap-v3", "WETH", "USDC", 0.0005)
UNI = (ChainId.ethereum, "uniswap-v3", "UNI", "WETH", 0.003)


class World:
    """The service, its server and sources on it that record how long they would have waited."""

    def __init__(self, service, url, folder):
        self.service, self.url, self.waits = service, url, []
        self.file = folder / "pairs.parquet"

    def api(self, **options):
        patience = Patience(sleep=self.waits.append)
        return TradingStrategyApi(self.url, patience=patience, **{"requests_per_second": 1e9, **options})

    def open(self, *pairs, **options):
        api = self.api()
        served = choose_pairs(pairs or [ETH_POOL, UNI_POOL], file=self.file, api=api)
        return TradingStrategySource(api, served, now=lambda: self.service.now.replace(tzinfo=UTC), **options)

    def count_pages(self):
        return sum(path == "candles-jsonl" for path, _ in self.service.requests)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.delenv("TRADING_STRATEGY_API_KEY", raising=False)
    service = FakeService(NOW, p11=datetime(2024, 1, 1, 3), p12=datetime(2024, 2, 7, 5))
    with serve_service(service) as url:
        yield World(service, url, tmp_path)


def market_of(source, pair="WETH/USDC", bucket=TimeBucket.h1):
    (market,) = [item for item in source.list_markets() if (item.pair, item.bucket) == (pair, bucket)]
    return market


def load(source, start, end):
    frames = list(source.load_candles([market_of(source)], start, end))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame({"timestamp": []})


def expected_times(start, end, *holes):
    return [time for time in pd.date_range(start, end, freq="h", inclusive="left") if time not in holes]


def test_pairs_are_what_the_table_says_with_base_and_quote_in_order(world):
    source = world.open()
    assert isinstance(source, AvailabilitySource)
    assert isinstance(source, RemoteSource)
    market = market_of(source)
    assert market.description == ETH
    own = market.identifier
    assert (own.base.token_symbol, own.base.decimals, own.quote.token_symbol, own.quote.decimals) == (
        "WETH",
        18,
        "USDC",
        6,
    )
    assert (own.pool_address, own.exchange_address) == (ETH_POOL, "0x" + "f" * 40)
    assert market_of(source, "UNI/WETH").description == UNI
    world.open()
    assert [path for path, _ in world.service.requests].count("pair-universe") == 1


def test_candle_has_dollar_prices_and_volume_in_base_tokens(world):
    first = load(world.open(), datetime(2024, 1, 1), datetime(2024, 1, 2)).iloc[0]
    told = world.service.candle(11, seconds(datetime(2024, 1, 1, 3)))
    assert first[["open", "high", "low", "close"]].tolist() == [told[name] for name in "ohlc"]
    assert first["volume"] * first["close"] == pytest.approx(100.0)
    assert (first["buys"], first["pair"]) == (3.0, "WETH/USDC")


@pytest.mark.parametrize("is_gzip", [True, False])
def test_pages_join_without_hole_or_repetition(world, is_gzip):
    world.service.is_gzip = is_gzip
    candles = load(world.open(page_bars=100), datetime(2024, 1, 2), datetime(2024, 1, 22))
    assert candles["timestamp"].tolist() == expected_times("2024-01-02", "2024-01-22")
    assert world.count_pages() == 5


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        ("429:7", [7.0]),
        ("503", [1.0]),
        ("drop", [1.0]),
        ("half", [1.0]),
        ("cut", [1.0]),
        ("torn", [1.0]),
        ("torn_at_line", [1.0]),
        ("other", [1.0]),
        ("short:3", []),
        ("empty", []),
        ("twice", []),
        ("shuffled", []),
    ],
)
@pytest.mark.parametrize("is_gzip", [True, False])
def test_bad_answer_costs_time_and_no_candle(world, fault, waits, is_gzip):
    world.service.is_gzip = is_gzip
    world.service.faults.append(fault)
    candles = load(world.open(page_bars=300), datetime(2024, 1, 2), datetime(2024, 2, 20))
    assert candles["timestamp"].tolist() == expected_times("2024-01-02", "2024-02-20")
    assert world.waits == waits


def test_answer_that_the_service_ends_is_asked_for_in_smaller_parts(world):
    world.service.longest = 60
    candles = load(world.open(), datetime(2024, 1, 2), datetime(2024, 1, 22))
    assert candles["timestamp"].tolist() == expected_times("2024-01-02", "2024-01-22")
    world.service.longest = 0
    with pytest.raises(SourceUnavailable, match="ended an answer: too many candles"):
        load(world.open(), datetime(2024, 1, 2), datetime(2024, 1, 22))


@pytest.mark.parametrize("is_shuffled", [False, True])
def test_candles_repeated_at_the_borders_of_pages_come_once(world, is_shuffled):
    world.service.overlap = 2
    world.service.faults.extend(["shuffled"] * 20 * is_shuffled)
    candles = load(world.open(page_bars=30), datetime(2024, 1, 2), datetime(2024, 1, 12))
    assert candles["timestamp"].tolist() == expected_times("2024-01-02", "2024-01-12")


def test_hours_without_trades_are_holes_also_over_whole_pages(world):
    holes = [datetime(2024, 1, 4) + timedelta(hours=hour) for hour in range(100)]
    world.service.holes.update(map(seconds, holes))
    candles = load(world.open(page_bars=24), datetime(2024, 1, 2), datetime(2024, 1, 20))
    assert candles["timestamp"].tolist() == expected_times("2024-01-02", "2024-01-20", *holes)
    assert load(world.open(), holes[0], holes[-1]).empty


def test_wait_may_be_a_date_and_a_long_one_is_told_at_once(world):
    world.service.faults.append("429:" + format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True))
    load(world.open(), datetime(2024, 1, 2), datetime(2024, 1, 3))
    assert 30 < world.waits[0] <= 40
    world.service.faults.append("429:7200")
    with pytest.raises(SourceUnavailable, match="asks to wait 7200 s before 1h candles of pair 11"):
        load(world.open(), datetime(2024, 1, 2), datetime(2024, 1, 3))


def test_service_that_stays_down_is_named_after_the_last_attempt(world):
    world.service.faults.extend(["500"] * 6)
    with pytest.raises(SourceUnavailable, match=r"did not give 1h candles of pair 11 .* in 6 attempts: status 500"):
        load(world.open(), datetime(2024, 1, 2), datetime(2024, 1, 3))
    assert world.waits == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_questions_are_spaced(world):
    api = world.api(requests_per_second=0.1)
    for _ in range(2):
        api.fetch_availability([11], TimeBucket.h1)
    assert len(world.waits) == 1
    assert 9 < world.waits[0] <= 10


def test_key_is_sent_and_missing_or_refused_ones_are_told_without_it(world, monkeypatch):
    world.open()
    world.service.key = KEY
    with pytest.raises(BadConfiguration, match=r"wants a key .* set the environment variable TRADING_STRATEGY_API_KEY"):
        world.open().read_availability([ETH], TimeBucket.h1)
    monkeypatch.setenv("TRADING_STRATEGY_API_KEY", KEY)
    world.open().read_availability([ETH], TimeBucket.h1)
    assert world.service.keys[-1] == KEY
    world.service.key = "another"
    with pytest.raises(
        BadConfiguration, match=r"refuses the key in the environment variable .*no access for \*\*\*"
    ) as told:
        world.open().read_availability([ETH], TimeBucket.h1)
    assert KEY not in str(told.value)
    assert KEY not in repr(world.api())
    monkeypatch.setenv("TRADING_STRATEGY_API_KEY", "two\nlines of it")
    with pytest.raises(BadConfiguration, match="characters that no key has") as told:
        world.open().read_availability([ETH], TimeBucket.h1)
    assert "lines" not in str(told.value)


def test_key_goes_nowhere_unencrypted(monkeypatch):
    monkeypatch.setenv("TRADING_STRATEGY_API_KEY", KEY)
    with pytest.raises(BadConfiguration, match="is not https"):
        TradingStrategyApi("http://example.invalid/api").fetch_availability([11], TimeBucket.h1)
    for url in ("https://user:word@example.invalid", "example.invalid", "https://example.invalid?key=1"):
        with pytest.raises(BadConfiguration, match="api_url"):
            TradingStrategyApi(url)


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ([], BadInput, "pairs is empty"),
        (["DOGE/USDC"], UnknownPair, "no DOGE/USDC"),
        (["0x" + "9" * 40], UnknownPair, "no 0x9"),
        (["WETH/USDC"], BadInput, "fits 2 pairs: give the address"),
        (["UNI/USDC@uniswap-v3"], UnknownPair, "no UNI/USDC@uniswap-v3"),
    ],
)
def test_pair_that_cannot_be_told_is_refused(world, wanted, error, message):
    with pytest.raises(error, match=message):
        choose_pairs(wanted, file=world.file, api=world.api())


def test_own_table_of_pairs_with_their_numbers_serves_too(world, tmp_path):
    own = {"chain_id": 1, "exchange_slug": "mine", "pool_address": ETH_POOL.upper().replace("X", "x"), "fee": 0.003}
    tokens = {"base_symbol": "WETH", "base_address": "0xA", "base_decimals": 18}
    tokens |= {"quote_symbol": "USDC", "quote_address": "0xB", "quote_decimals": 6}
    file = tmp_path / "own.csv"
    pd.DataFrame([{**own, **tokens, "pair_id": 11}]).to_csv(file, index=False)
    (pair,) = choose_pairs(["WETH/USDC@mine"], file=file)
    assert (pair.pair_id, pair.identifier.fee, pair.identifier.pool_address) == (11, 0.003, ETH_POOL)
    pd.DataFrame([{**own, **tokens}]).to_csv(file, index=False)
    with pytest.raises(BadInput, match="column pair_id is missing"):
        choose_pairs(["WETH/USDC@mine"], file=file)
    assert world.service.requests == []


def test_chain_tells_pairs_of_one_name_apart(world):
    (pair,) = choose_pairs(["WETH/USDC"], file=world.file, api=world.api(), chain="base")
    assert (pair.pair_id, pair.chain) == (14, ChainId.base)
    with pytest.raises(BadInput, match="chain is 'bose'"):
        choose_pairs(["WETH/USDC"], file=world.file, chain="bose")


def test_pair_that_the_service_does_not_know_or_knows_otherwise_is_refused(world):
    unknown = choose_pairs(["UNI/USDC"], file=world.file, api=world.api())
    source = TradingStrategySource(world.api(), unknown, now=lambda: NOW.replace(tzinfo=UTC))
    with pytest.raises(UnknownPair, match="does not know pair 13"):
        source.read_availability([(ChainId.ethereum, "fake-swap", "UNI", "USDC")], TimeBucket.h1)
    with pytest.raises(UnknownPair, match="does not have 1h candles of pair 13"):
        list(source.load_candles([market_of(source, "UNI/USDC")], datetime(2024, 1, 1), datetime(2024, 1, 2)))
    world.service.addresses[11] = UNI_POOL
    with pytest.raises(BadInput, match="delete the file to have it downloaded anew"):
        world.open().read_availability([ETH], TimeBucket.h1)


def test_only_whole_candles_count_and_quiet_bars_are_known(world):
    source = world.open()
    (eth,) = source.read_availability([ETH], TimeBucket.h1)
    assert (eth.last_candle_at, eth.is_ready(datetime(2024, 3, 10, 12))) == (datetime(2024, 3, 10, 11), True)
    world.service.holes.add(seconds(datetime(2024, 3, 10, 11)))
    uni, eth = source.read_availability([UNI, ETH], TimeBucket.h1)
    assert (uni.pair, eth.last_candle_at) == (UNI, datetime(2024, 3, 10, 10))
    assert eth.is_ready(datetime(2024, 3, 10, 12))
    world.service.lag = timedelta(minutes=40)
    (late,) = source.read_availability([ETH], TimeBucket.h1)
    assert not late.is_ready(datetime(2024, 3, 10, 12))
    (week,) = source.read_availability([ETH], TimeBucket.d7)
    assert week.last_candle_at == datetime(2024, 2, 26)


def test_candle_in_progress_shows_its_open_only(world):
    candles = load(world.open(), datetime(2024, 3, 10, 10), datetime(2024, 3, 11))
    last = candles.iloc[-1]
    assert last["timestamp"] == datetime(2024, 3, 10, 12)
    assert last["high"] == last["low"] == last["close"] == last["open"]
    assert (last["volume"], last["buys"]) == (0.0, 0.0)
    assert candles.iloc[-2]["high"] > candles.iloc[-2]["open"]


def test_download_takes_what_is_missing_and_waits_for_what_the_service_lacks(world, tmp_path):
    lake, service = Lake(tmp_path / "lake"), world.service
    service.lag = timedelta(hours=3)
    wanted = {"bucket": TimeBucket.h1, "start_at": datetime(2024, 2, 1)}
    first = import_candles(lake, world.open(), **wanted)
    whole = len(expected_times("2024-02-01", "2024-03-10 09:00"))
    assert first.rows_added == whole + len(expected_times("2024-02-07 05:00", "2024-03-10 09:00"))
    assert import_candles(lake, world.open(), **wanted).rows_added == 0
    service.lag = timedelta(0)
    assert import_candles(lake, world.open(), **wanted).rows_added == 2 * 3
    stored = lake.source("trading_strategy")
    (market,) = [item for item in stored.list_markets() if item.pair == "WETH/USDC"]
    assert (market.description, market.identifier.pool_address) == (ETH, ETH_POOL)
    frame = pd.concat(stored.load_candles([market], datetime(2024, 2, 1), NOW))
    assert sorted(frame["timestamp"]) == expected_times("2024-02-01", "2024-03-10 12:00")


def test_download_that_broke_off_goes_on(world, tmp_path):
    lake = Lake(tmp_path / "lake")
    wanted = {"bucket": TimeBucket.h1, "pairs": [ETH]}
    world.service.faults.extend(["", "", "", *["500"] * 6])
    with pytest.raises(SourceUnavailable):
        import_candles(lake, world.open(), **wanted)
    report = import_candles(lake, world.open(), **wanted)
    assert report.rows_added < len(expected_times("2024-01-01 03:00", "2024-03-10 12:00"))
    assert import_candles(lake, world.open(), **wanted).rows_added == 0


def test_pair_without_any_candle_is_named(world):
    world.service.first_of[12] = NOW + timedelta(days=3)
    with pytest.raises(MarketDataMissing, match="no candles of UNI/WETH, pair 12, at all: leave it out"):
        world.open().measure([market_of(world.open(), "UNI/WETH")])
