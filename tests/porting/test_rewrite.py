"""What porting does to single lines, and what it says of those it cannot map."""

from __future__ import annotations

import pytest

from trading_dagster.domain.error import StrategyModuleNotValid
from trading_dagster.porting.rewrite import port_module


def port(text):
    return port_module(text, "strategy.py")


def told(text):
    return [str(finding) for finding in port(text).findings]


# -- imports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("from tradeexecutor.state.state import State\n", "from trading_dagster import State\n"),
        ("from tradeexecutor.state.state import State as S\n", "from trading_dagster import State as S\n"),
        (
            "from tradingstrategy.client import Client\n",
            "from trading_dagster.market.source import CandleSource as Client\n",
        ),
        ("from skopt.space import Real, Integer\n", "from trading_dagster import Real, Integer\n"),
        ("from skopt import space\n", "from trading_dagster.strategy import dimension as space\n"),
        (
            "from tradeexecutor.backtest.optimiser import perform_optimisation, MinTradeCountFilter\n",
            "from trading_dagster import perform_optimisation, MinTradeCountFilter\n",
        ),
        ("import pandas_ta\n", "from trading_dagster import technical as pandas_ta\n"),
        ("import numpy, pandas_ta as ta\n", "import numpy\nfrom trading_dagster import technical as ta\n"),
        (
            "if True: from tradeexecutor.strategy.tag import StrategyTag, TimeBucket\n",
            "if True: from trading_dagster.porting.label import StrategyTag; from trading_dagster import TimeBucket\n",
        ),
        (
            "# why\nfrom tradeexecutor.state.state import State, \\\n    UncleanState  # both\n",
            "# why\nfrom trading_dagster import State, \\\n    UncleanState  # both\n",
        ),
        (
            "from tradeexecutor.a import (  # a\n    State,  # b\n    StrategyType,\n    TimeBucket,  # c\n)\n",
            "from trading_dagster import (  # a\n    State,  # b\n    TimeBucket,  # c\n)\n"
            "from trading_dagster.porting.label import (  # a\n    StrategyType,\n)\n",
        ),
    ],
)
def test_import_goes_to_where_the_name_is(old, new):
    ported = port(old)

    assert ported.text == new
    assert ported.findings == ()
    compile(ported.text, "strategy.py", "exec")
    assert port(ported.text).text == new


def test_missing_name_stays_and_is_told_with_its_line_and_reason():
    ported = port("import math\nfrom tradeexecutor.strategy.chart.definition import ChartMystery, TimeBucket\n")

    assert ported.text == (
        "import math\nfrom tradeexecutor.strategy.chart.definition import ChartMystery\n"
        "from trading_dagster import TimeBucket\n"
    )
    assert [(f.line, f.what) for f in ported.findings] == [(2, "tradeexecutor.strategy.chart.definition.ChartMystery")]
    assert port(ported.text) == ported


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("from tradeexecutor.state.state import *", "name what is used"),
        ("import tradeexecutor.state.state as s", "from ... import"),
        ("import tradingstrategy", "from ... import"),
        ("from pandas_ta.trend import ichimoku", "talib or pandas"),
        ("import pandas_ta as ta\nta.ichimoku(1)", "ta.ichimoku"),
        ("from tradeexecutor.strategy.nothing import HyperdriveExecutor", "no counterpart"),
    ],
)
def test_line_that_cannot_be_mapped_is_told(line, said):
    (finding,) = told(line + "\n")

    assert said in finding


def test_relative_and_foreign_imports_are_left_alone():
    text = "from . import tradeexecutor\nfrom .tradingstrategy import a\nimport pandas as pd\nx.get_cash()\n"

    assert port(text).text == text
    assert port(text).findings == ()


# -- aliases ----------------------------------------------------------------------------------------------------------

USES = "from tradeexecutor.state.state import State\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("pm.open_1x_long(pair, 1)", "pm.open_spot(pair, 1)"),
        ("portfolio.get_cash()", "portfolio.get_current_cash()"),
        ("portfolio.get_initial_deposit()", "portfolio.get_initial_cash()"),
        ("position.get_price_at_open()", "position.get_opening_price()"),
        ("position.get_orignal_stop_loss()", "position.get_original_stop_loss()"),
        ("summary.average_duration_between_postions", "summary.average_duration_between_positions"),
        ("f(invidiual_rebalance_min_threshold=1)", "f(individual_rebalance_min_threshold=1)"),
        ("f(method=weight_passthrouh)", "f(method=weight_passthrough)"),
        ("p['maximum_price_impact']", "p['max_price_impact']"),
        ("class Parameters:\n    maximum_price_impact = 1", "class Parameters:\n    max_price_impact = 1"),
        (
            "def indicator(close, assummed_liquidity_when_data_missings):\n    pass",
            "def indicator(close, assumed_liquidity_when_data_missing):\n    pass",
        ),
        (
            "def create_trading_universe(ts, client):\n    return f(ts, ts=ts, x=client.ts)",
            "def create_trading_universe(timestamp, client):\n    return f(timestamp, ts=timestamp, x=client.ts)",
        ),
        (
            "def decide_trades(input):\n    return input.universe, other.universe",
            "def decide_trades(input):\n    return input.strategy_universe, other.universe",
        ),
        (
            "TradingStrategyUniverse.create_single_pair_universe(dataset, chain, 'x', 'A', 'B')",
            "TradingStrategyUniverse.create_single_pair_universe(dataset, (chain, 'x', 'A', 'B'))",
        ),
    ],
)
def test_alias_becomes_the_name_of_today(old, new):
    ported = port(f"{USES}\n{old}\n").text

    assert ported == f"from trading_dagster import State\n\n{new}\n"
    assert port(ported).text == ported


def test_method_that_the_file_defines_itself_keeps_its_name():
    text = f"{USES}\nclass Wallet:\n    def get_cash(self):\n        return 1\n\nWallet().get_cash()\n"

    assert "Wallet().get_cash()" in port(text).text


def test_old_timestamp_name_stays_where_the_new_one_is_taken():
    body = "def create_trading_universe(ts, client):\n    timestamp = 1\n    return ts, timestamp\n"

    assert body in port(USES + body).text


# -- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("universe.read_pickle(path)", ".read_pickle"),
        ("pm.open_spot(pair, 1, lucky=True)", "open_spot(lucky=)"),
        ("TradingStrategyUniverse.create_from_dataset(a, b, c, d)", "create_from_dataset() with 4 arguments"),
        ("model.set_signal(pair, 1.0, stop_los=0.9)", "set_signal(stop_los=)"),
    ],
)
def test_call_that_is_not_possible_is_told(call, said):
    (finding,) = told(f"{USES}{call}\n")

    assert finding.startswith("line 2: ")
    assert said in finding


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("x = bands['BBL_20_2.0']", "called lower"),
        ("x = bands[f'BBL_{n}_2.0']", "called lower"),
        ("x = frame.ta.ema(length=3)", "call the function"),
        ("from tradingstrategy.client import Client\nClient.create_jupyter_client()", "client="),
        ("from tradingstrategy.timebucket import TimeBucket\nTimeBucket.s5", "h1"),
        ("from tradeexecutor.strategy.chart.standard.weight import weights", "docs/charts.md"),
    ],
)
def test_word_that_means_nothing_here_is_told(line, said):
    (finding,) = told(f"import pandas_ta\nfrom tradeexecutor.state.state import State\n{line}\n")

    assert said in finding


def test_text_like_a_column_is_the_file_s_own_where_it_has_other_indicators():
    assert told(USES + "indicators.add('ADX_14', talib.ADX)\n") == []
    assert len(told("from pandas_ta.trend import adx\nadx(h, l, c)['ADX_14']\n")) == 1


def test_wrong_arguments_of_an_imported_function_are_told():
    load = "from tradeexecutor.strategy.trading_strategy_universe import load_partial_data\n"

    (unknown,) = told(load + "load_partial_data(client, favourite_colour='red')\n")
    assert "load_partial_data(favourite_colour=)" in unknown
    assert told(load + "load_partial_data(**options)\n") == []


def test_old_constructor_of_a_universe_is_told():
    text = "from tradingstrategy.universe import Universe\nUniverse(time_bucket=b, pairs=p, candles=c)\n"

    (finding,) = told(text)
    assert "needs" in finding


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("(['BTCUSDT'], bucket)", "(['BTCUSDT'], bucket, client=client)"),
        (
            "(\n        ['BTCUSDT'],\n        bucket,\n    )",
            "(\n        ['BTCUSDT'],\n        bucket,\n        client=client,\n    )",
        ),
        (
            "(\n        ['BTCUSDT'],\n        bucket\n    )",
            "(\n        ['BTCUSDT'],\n        bucket,\n        client=client\n    )",
        ),
        ("([], bucket, client=None)", "([], bucket, client=None)"),
        ("(*options)", "(*options)"),
    ],
)
def test_binance_universe_is_given_the_client(given, made):
    text = (
        "from tradeexecutor.utils.binance import create_binance_universe\n\n"
        "def create_trading_universe(ts, client):\n    return create_binance_universe{}\n"
    )

    ported = port(text.format(given)).text
    assert f"create_binance_universe{made}\n" in ported
    assert port(ported).text == ported


def test_file_that_does_not_parse_is_refused_with_its_line():
    with pytest.raises(StrategyModuleNotValid, match=r"strategy\.py, line 2, does not parse"):
        port("x = 1\ndef (:\n")


def test_line_ends_are_kept():
    assert port("from tradeexecutor.state.state import State\r\nx = 1\r\n").text == (
        "from trading_dagster import State\r\nx = 1\r\n"
    )
