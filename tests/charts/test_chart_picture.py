"""Pictures are valid, small, of the right size and not blank."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from trading_dagster.charts.palette import GAIN, LOSS, STOP_LOSS
from trading_dagster.charts.picture import (
    EXISTING,
    FILLED,
    MISSING,
    paint_coverage,
    paint_indicators,
    paint_monthly_returns,
    paint_price,
    to_markdown_image,
)


def pixels(png: bytes) -> np.ndarray:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    image = Image.open(io.BytesIO(png))
    image.load()
    return np.asarray(image.convert("RGB"))


def count_near(image: np.ndarray, colour: str) -> int:
    sought = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)])
    return int((np.abs(image.astype(int) - sought).sum(axis=2) < 60).sum())


def assert_picture(png: bytes, size: tuple[int, int] = (900, 360)) -> np.ndarray:
    image = pixels(png)
    assert image.shape == (size[1], size[0], 3)
    assert len(png) < 80_000
    assert (image < 200).any(axis=2).sum() > 500
    return image


def test_price_picture_shows_each_kind_of_marker(candles, trading):
    image = assert_picture(paint_price(candles, trading[0], title="BTC-USD"))
    assert count_near(image, GAIN) > 200
    assert count_near(image, LOSS) > 100
    assert count_near(image, STOP_LOSS) > 100


def test_monthly_picture_grows_with_the_years(make_candles):
    equity = make_candles(4_000, "D")["close"]
    image = pixels(paint_monthly_returns(equity))
    assert image.shape[0] > 400
    assert image.shape[1] == 900


def test_indicator_overview_shows_six_at_most(candles):
    curves = {f"indicator {number}": candles["close"].rolling(number + 2).mean() for number in range(9)}
    assert_picture(paint_indicators(curves))


def test_coverage_picture_shows_a_single_hole(make_candles):
    index = make_candles(9_000).index
    states = np.full((9_000, 3), EXISTING)
    whole = paint_coverage(pd.DataFrame(states, index=index, columns=["A", "B", "C"]))
    states[4_000, 1], states[7_000, 2] = MISSING, FILLED
    holed = paint_coverage(pd.DataFrame(states, index=index, columns=["A", "B", "C"]))
    plot = slice(60, 320), slice(100, 880)
    changed = np.abs(pixels(whole)[plot].astype(int) - pixels(holed)[plot].astype(int)).sum(axis=2) > 60
    assert changed.any(axis=0).sum() >= 2
    assert_picture(holed)


def test_coverage_of_many_pairs_and_bars_is_small():
    random = np.random.default_rng(3)
    index = pd.date_range("2023", periods=8_760, freq="h")
    frame = pd.DataFrame(random.choice([0, 1, 2], size=(8_760, 500), p=[0.02, 0.97, 0.01]), index=index)
    assert_picture(paint_coverage(frame))


def test_half_a_million_bars_make_a_picture(make_candles, make_trading):
    candles = make_candles(500_000, "min")
    trades, _ = make_trading(candles, 2_000)
    assert_picture(paint_price(candles, trades))


def test_empty_input_makes_a_picture_with_a_sentence(equity, candles, no_trades):
    for png in (
        paint_price(candles.iloc[:0], no_trades),
        paint_monthly_returns(equity.iloc[:0]),
        paint_coverage(pd.DataFrame()),
        paint_indicators({}),
    ):
        assert (pixels(png) < 200).any()


def test_one_sample_makes_a_picture(equity, candles):
    assert_picture(paint_price(candles.iloc[:1]))
    assert pixels(paint_coverage(pd.DataFrame({"A": [EXISTING]}, index=equity.index[:1]))).any()


@pytest.mark.parametrize("name", ["$\\frac{1}{$", "\u4e2d\u6587\U0001f680", "a\nb\tc", "x" * 500, "_^%&#"])
def test_any_title_is_painted_without_warnings(candles, name):
    assert_picture(paint_price(candles, title=name))
    assert_picture(paint_indicators({name: candles["close"]}, title=name))


def test_size_can_be_chosen(candles):
    assert_picture(paint_price(candles, width=600, height=240), (600, 240))


def test_same_input_gives_same_bytes(candles, trading):
    assert paint_price(candles, trading[0]) == paint_price(candles, trading[0])


def test_pictures_can_be_painted_in_threads(candles):
    with ThreadPoolExecutor(4) as pool:
        painted = list(pool.map(lambda _: paint_price(candles), range(8)))
    assert len(set(painted)) == 1


def test_markdown_image_is_a_data_uri_that_cannot_be_broken_out_of():
    text = to_markdown_image(b"\x89PNG", "a](javascript:x) <b>\nc")
    assert text == "![a javascript:x b c](data:image/png;base64,iVBORw==)"
    assert to_markdown_image(b"<svg/>", "a") == "![a](data:image/svg+xml;base64,PHN2Zy8+)"
