"""The example strategies: on the embedded sample against plain loops, on other real data by what must always hold."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from plain_alpha import plain_index_by_volume, plain_momentum_alpha, plain_rsi_regime_rotation
from plain_loop import ALLOCATION, DAY, PlainBook, ema, read_candles, read_daily, rsi, smooth_like_wilder, value_at
from plain_order import plain_dip_limit_entry, plain_take_profit_grid

import trading_dagster as td
from trading_dagster.domain.error import BadInput, IndicatorDataNotFoundWithinDataTolerance
from trading_dagster.market.file_source import FileSource

STRATEGIES = Path(__file__).parents[2] / "strategies"
NAMES = (
    "ema_cross",
    "buy_and_hold",
    "rsi_mean_reversion",
    "breakout_atr",
    "momentum_rotation",
    "index_by_volume",
    "rsi_regime_rotation",
    "momentum_alpha",
    "take_profit_grid",
    "dip_limit_entry",
)

GOLDEN = {
    # (trades, final equity in USD) on the embedded sample; each is also computed by a plain loop below.
    "ema_cross": (132, 14922.59340454424),
    "buy_and_hold": (3, 3830.691036260786),
    "rsi_mean_reversion": (52, 9944.545068434136),
    "breakout_atr": (34, 16090.106352497243),
    "momentum_rotation": (76, 2893.326390155352),
    "index_by_volume": (129, 3298.786155162748),
    "rsi_regime_rotation": (124, 17775.49884482121),
    "momentum_alpha": (462, 14084.103625564581),
    "take_profit_grid": (104, 10400.251903165363),
    "dip_limit_entry": (80, 12407.56767805298),
}


def run(name: str, **arguments: Any) -> td.BacktestResult:
    return td.run_backtest(STRATEGIES / f"{name}.py", progress=False, **arguments)


# -- plain loops: nothing of the engine is used below but the number it is compared with -------------------------------


def plain_ema_cross(_: datetime) -> tuple[PlainBook, float]:
    candles = read_candles("sample_btc_1h.parquet", "BTC/USD")
    opens, closes = candles["open"].tolist(), candles["close"].tolist()
    trend = [fast - slow for fast, slow in zip(ema(closes, 24), ema(closes, 168), strict=True)]
    book, stop = PlainBook(), 0.0
    end = int(candles.index.searchsorted(pd.Timestamp(2019, 10, 17)))
    for bar in range(end + 1):
        if book.held and opens[bar] <= stop:
            book.sell(candles.index[bar], "BTC/USD", opens[bar])
        if bar < 2 or bar == end:
            continue
        before, now = trend[bar - 2], trend[bar - 1]
        if not book.held and before <= 0 < now:
            book.buy(candles.index[bar], "BTC/USD", book.cash * ALLOCATION, opens[bar])
            stop = opens[bar] * 0.95
        elif book.held and now < 0:
            book.sell(candles.index[bar], "BTC/USD", opens[bar])
    return book, book.equity({"BTC/USD": opens[end - 1]})


def plain_buy_and_hold(start: datetime) -> tuple[PlainBook, float]:
    book = PlainBook()
    opens = {pair: candles["open"] for pair, candles in read_daily(start).items()}
    for pair, prices in opens.items():
        book.buy(prices.index[0], pair, 10_000 * ALLOCATION / 3, prices.iloc[0])
    return book, book.equity({pair: prices[pd.Timestamp(2020, 1, 16)] for pair, prices in opens.items()})


def plain_rsi_mean_reversion(start: datetime) -> tuple[PlainBook, float]:
    daily = read_daily(start)
    strength = {pair: rsi(candles["close"], 14) for pair, candles in daily.items()}
    book, stops, mids = PlainBook(), dict[str, float](), dict[str, float]()
    for time in pd.date_range("2018-01-01", "2020-01-17", freq="D"):
        mids_now = {pair: value_at(candles["open"], time, 2 * DAY) for pair, candles in daily.items()}
        for pair in sorted(book.held):
            if mids_now[pair] <= stops[pair]:
                book.sell(time, pair, mids_now[pair])
        if time == pd.Timestamp(2020, 1, 17):
            break
        mids, cash, free = mids_now, book.cash, 3 - len(book.held)
        for pair, series in strength.items():
            before, now = value_at(series, time - 2 * DAY, DAY), value_at(series, time - DAY, DAY)
            if pair in book.held and now > 50:
                book.sell(time, pair, mids[pair])
            elif pair not in book.held and before < 30 <= now:
                book.buy(time, pair, cash * ALLOCATION / free, mids[pair])
                stops[pair] = mids[pair] * 0.85
    return book, book.equity(mids)


def plain_breakout_atr(start: datetime) -> tuple[PlainBook, float]:
    hourly = read_candles("sample_btc_1h.parquet", "BTC/USD", start)
    four = hourly.resample("4h").agg({"open": "first", "high": "max", "low": "min", "close": "last"})
    previous = four["close"].shift(1)
    true_range = np.maximum(four["high"], previous) - np.minimum(four["low"], previous)
    atr = [float("nan"), *smooth_like_wilder(true_range.tolist()[1:], 14)]
    book, stop, pct, mid = PlainBook(), 0.0, 0.0, 0.0
    for time, hour_open in hourly["open"].items():
        if time < pd.Timestamp(2018, 2, 1) or time > pd.Timestamp(2019, 10, 17):
            continue
        if book.held:
            stop = max(stop, hour_open * pct)
            if hour_open <= stop:
                book.sell(time, "BTC/USD", hour_open)
        if time.hour % 4 or time == pd.Timestamp(2019, 10, 17):
            continue
        row, mid = int(four.index.searchsorted(time)) - 1, hour_open
        closes = four["close"].tolist()
        if not book.held and closes[row] > max(closes[row - 120 : row]):
            book.buy(time, "BTC/USD", book.cash * ALLOCATION, mid)
            pct = 1 - 4 * atr[row] / closes[row]
            stop = mid * pct
    return book, book.equity({"BTC/USD": mid})


def plain_momentum_rotation(start: datetime) -> tuple[PlainBook, float]:
    daily = read_daily(start)
    risen = {pair: candles["close"] / candles["close"].shift(28) - 1 for pair, candles in daily.items()}
    book, mids = PlainBook(), dict[str, float]()
    for time in pd.date_range("2018-01-01", "2020-01-16", freq="7D"):
        mids = {pair: value_at(candles["open"], time, 2 * DAY) for pair, candles in daily.items()}
        now = {pair: value_at(series, time - DAY, DAY) for pair, series in risen.items()}
        best = [pair for pair in sorted(now, key=now.__getitem__, reverse=True)[:2] if now[pair] > 0]
        for pair in [pair for pair in book.held if pair not in best and mids[pair] > 0]:  # not while its price is NaN
            book.sell(time, pair, mids[pair])
        free, cash = 2 - len(book.held), book.cash
        for pair in best:
            if pair not in book.held:
                book.buy(time, pair, cash * ALLOCATION / free, mids[pair])
    return book, book.equity(mids)


PLAIN: dict[str, Callable[[datetime], tuple[PlainBook, float]]] = {
    "ema_cross": plain_ema_cross,
    "buy_and_hold": plain_buy_and_hold,
    "rsi_mean_reversion": plain_rsi_mean_reversion,
    "breakout_atr": plain_breakout_atr,
    "momentum_rotation": plain_momentum_rotation,
    "index_by_volume": plain_index_by_volume,
    "rsi_regime_rotation": plain_rsi_regime_rotation,
    "momentum_alpha": plain_momentum_alpha,
    "take_profit_grid": plain_take_profit_grid,
    "dip_limit_entry": plain_dip_limit_entry,
}


@pytest.mark.parametrize("name", NAMES)
def test_example_on_the_sample_equals_a_plain_loop_over_its_candles(name: str) -> None:
    result = run(name)

    book, equity = PLAIN[name](result.universe.candles.start_at)  # Wilder's averages remember their first bar

    fills = zip(
        result.trades["executed_at"],
        result.trades["pair"].str.replace("-", "/"),
        result.trades["side"],
        result.trades["mid_price"],
        strict=True,
    )
    assert sorted(fills) == sorted(book.fills)
    assert result.equity_curve.iloc[-1] == pytest.approx(equity, rel=1e-9)
    assert result.state.portfolio.get_cash() == pytest.approx(book.cash, rel=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_example_on_the_sample_gives_its_golden_numbers(name: str) -> None:
    result = run(name)

    count, equity = GOLDEN[name]
    assert len(result.trades) == count
    assert result.equity_curve.iloc[-1] == pytest.approx(equity, rel=1e-9)


# -- other real data ---------------------------------------------------------------------------------------------------

CHAIN = td.ChainId.centralised_exchange
BTC_USDT, ETH_USDT = (CHAIN, None, "BTC", "USDT"), (CHAIN, "binance", "ETH", "USDT")
BTC_USD, LTC_USD = (CHAIN, None, "BTC", "USD"), (CHAIN, None, "LTC", "USD")
D1 = td.TimeBucket.d1

BINANCE_1H = ("binance_12pairs_1h.parquet", datetime(2024, 3, 4), datetime(2024, 9, 6))
BINANCE_1D = ("binance_136pairs_1d.parquet", datetime(2024, 3, 4), datetime(2024, 9, 6))
BITFINEX_1H = ("bitfinex_7pairs_1h.parquet", datetime(2017, 1, 2), datetime(2019, 12, 31))
DAILY = {"candle_time_bucket": D1, "stop_loss_time_bucket": D1, "cycle_duration": td.CycleDuration.cycle_1d}
SHORT_DAILY = {**DAILY, "fast_bars": 5, "slow_bars": 20, "channel_bars": 20}

OTHER_DATA = [
    ("ema_cross", BINANCE_1H, {"pairs": (BTC_USDT,)}),
    ("ema_cross", BINANCE_1D, {**SHORT_DAILY, "pairs": (ETH_USDT,)}),
    ("ema_cross", BITFINEX_1H, {"pairs": (BTC_USD,)}),
    ("rsi_mean_reversion", BINANCE_1H, {"pairs": (BTC_USDT, ETH_USDT)}),
    ("rsi_mean_reversion", BINANCE_1D, {"pairs": (ETH_USDT,)}),
    ("rsi_mean_reversion", BITFINEX_1H, {"pairs": (BTC_USD, LTC_USD)}),
    ("breakout_atr", BINANCE_1H, {"pairs": (BTC_USDT, ETH_USDT)}),
    ("breakout_atr", BINANCE_1D, {**SHORT_DAILY, "pairs": (BTC_USDT, ETH_USDT)}),
    ("breakout_atr", BITFINEX_1H, {"pairs": (BTC_USD, LTC_USD)}),
    ("momentum_rotation", BINANCE_1H, {"max_assets_in_portfolio": 4}),
    ("momentum_rotation", BINANCE_1D, {"max_assets_in_portfolio": 20}),
    ("momentum_rotation", BITFINEX_1H, {}),
    ("index_by_volume", BINANCE_1H, {"min_volume": 3e8}),
    ("index_by_volume", BINANCE_1D, {"max_assets_in_portfolio": 20, "max_concentration": 0.1}),
    ("index_by_volume", BITFINEX_1H, {}),
    ("rsi_regime_rotation", BINANCE_1H, {"pairs": (BTC_USDT, ETH_USDT)}),
    ("rsi_regime_rotation", BINANCE_1D, {"pairs": (ETH_USDT, BTC_USDT)}),
    ("rsi_regime_rotation", BITFINEX_1H, {"pairs": (BTC_USD, LTC_USD)}),
    ("momentum_alpha", BINANCE_1H, {}),
    ("momentum_alpha", BINANCE_1D, {"max_assets_in_portfolio": 20}),
    ("momentum_alpha", BITFINEX_1H, {}),
    ("take_profit_grid", BINANCE_1H, {"pairs": (BTC_USDT, ETH_USDT)}),
    ("take_profit_grid", BITFINEX_1H, {"pairs": (BTC_USD, LTC_USD)}),
    ("dip_limit_entry", BINANCE_1H, {"pairs": (BTC_USDT, ETH_USDT)}),
    ("dip_limit_entry", BITFINEX_1H, {"pairs": (BTC_USD, LTC_USD)}),
    ("buy_and_hold", BINANCE_1H, {}),
    ("buy_and_hold", BINANCE_1D, {}),
    ("buy_and_hold", BITFINEX_1H, {}),
]


@pytest.mark.parametrize(("name", "data", "changes"), OTHER_DATA, ids=[f"{n}-{d[0][:-8]}" for n, d, _ in OTHER_DATA])
def test_example_trades_on_other_real_data(
    name: str, data: tuple[str, datetime, datetime], changes: dict[str, Any], shared_data: Path
) -> None:
    file, start, end = data
    source = FileSource(shared_data / file, exchange=file.split("_", 1)[0])

    result = run(name, client=source, parameters=changes, start=start, end=end)

    assert len(result.trades) > 0
    assert (result.trades["status"] == "success").all()
    assert result.samples["cash"].min() >= 0
    assert np.isfinite(result.samples["equity"]).all()
    assert result.equity_curve.min() > 0
    all_pairs = {BINANCE_1H: 12, BINANCE_1D: 136, BITFINEX_1H: 7}[data]
    assert result.universe.get_pair_count() == (len(changes["pairs"]) if "pairs" in changes else all_pairs)


def test_buy_and_hold_buys_a_pair_that_is_listed_later_at_its_first_midnight(shared_data: Path) -> None:
    file, start, end = BITFINEX_1H
    first_candle = pd.read_parquet(shared_data / file).groupby("pair")["timestamp"].min().dt.tz_localize(None)

    result = run("buy_and_hold", client=FileSource(shared_data / file), start=start, end=end)

    bought = dict(zip(result.trades["pair"].str.replace("-", "/"), result.trades["executed_at"], strict=True))
    assert bought == first_candle.dt.ceil("D").clip(lower=pd.Timestamp(start)).to_dict()


def test_ema_cross_refuses_to_decide_in_a_hole_of_forty_days(shared_data: Path) -> None:
    source = FileSource(shared_data / "bitfinex_7pairs_1h.parquet")
    start, end = datetime(2014, 10, 1), datetime(2015, 3, 1)

    with pytest.raises(td.StrategyFailed, match=r"has no value at 2014-11-2.*older than the tolerance") as caught:
        run("ema_cross", client=source, parameters={"pairs": (BTC_USD,)}, start=start, end=end)
    assert isinstance(caught.value.__cause__, IndicatorDataNotFoundWithinDataTolerance)


@pytest.mark.parametrize(
    "name",
    [
        "rsi_mean_reversion",
        "breakout_atr",
        "momentum_rotation",
        "index_by_volume",
        "rsi_regime_rotation",
        "momentum_alpha",
    ],
)
def test_strategies_that_read_all_pairs_at_once_do_not_trade_in_a_hole(name: str, shared_data: Path) -> None:
    source = FileSource(shared_data / "bitfinex_7pairs_1h.parquet")
    start, end = datetime(2014, 6, 2), datetime(2015, 12, 1)
    changes = {"pairs": (BTC_USD, LTC_USD)}

    result = run(name, client=source, parameters=changes, start=start, end=end)

    at = result.trades["executed_at"]
    assert len(at) > 0
    assert not ((at > datetime(2014, 11, 26)) & (at < datetime(2015, 1, 1))).any()


def test_ema_cross_on_data_of_many_pairs_asks_for_one(shared_data: Path) -> None:
    file, start, end = BINANCE_1H

    with pytest.raises(BadInput, match="12"):
        run("ema_cross", client=FileSource(shared_data / file), start=start, end=end)
