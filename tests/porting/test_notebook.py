"""Notebooks: code cells are ported and run, everything else stays."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trading_dagster.domain.error import StrategyModuleNotValid
from trading_dagster.porting.notebook import port_notebook

CELLS = [
    ("markdown", "from tradeexecutor.state.state import State is said here"),
    ("code", """%matplotlib inline
!pip install something
from tradeexecutor.utils.notebook import setup_charts_and_tables
setup_charts_and_tables()
"""),
    ("code", "%%bash\nfrom tradeexecutor import nothing"),
    ("code", '''import datetime
from tradingstrategy.chain import ChainId
from tradingstrategy.timebucket import TimeBucket
from tradeexecutor.strategy.cycle import CycleDuration
from tradeexecutor.strategy.pandas_trader.indicator import IndicatorSet
from tradeexecutor.strategy.weighting import weight_passthrouh
from tradeexecutor.utils.binance import create_binance_universe

class Parameters:
    cycle_duration = CycleDuration.cycle_1d
    initial_cash = 10_000

def create_trading_universe(ts, client, execution_context, universe_options):
    return create_binance_universe(["ETHUSDT"], TimeBucket.d1, trading_fee_override=0.001)

def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return IndicatorSet()

def decide_trades(input):
    position_manager = input.get_position_manager()
    if position_manager.is_any_open():
        return position_manager.close_all()
    return position_manager.open_1x_long(input.get_default_pair(), 1_000)
'''),
    ("code", '''from tradeexecutor.backtest.backtest_runner import run_backtest_inline
from tradeexecutor.visual.equity_curve import calculate_equity_curve, calculate_returns
from tradeexecutor.analysis.trade_analyser import build_trade_analysis

result = run_backtest_inline(
    name="in cells",
    engine_version="0.5",
    decide_trades=decide_trades,
    create_indicators=create_indicators,
    create_trading_universe=create_trading_universe,
    parameters=Parameters,
    client=client,
    start_at=datetime.datetime(2022, 2, 1),
    end_at=datetime.datetime(2022, 3, 1),
)
state, universe, diagnostics = result
curve = calculate_equity_curve(state)
returns = calculate_returns(curve)
analysis = build_trade_analysis(state.portfolio)
summary = analysis.calculate_summary_statistics(state=state)
count = len(list(state.portfolio.get_all_trades()))
method = weight_passthrouh
'''),
]  # fmt: skip


def notebook(cells=CELLS, *, as_list=True):
    made = [
        {
            "cell_type": kind,
            "metadata": {},
            "source": source.splitlines(keepends=True) if as_list else source,
            **({"outputs": [{"output_type": "stream", "text": "ä"}], "execution_count": 7} if kind == "code" else {}),
        }
        for kind, source in cells
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1, ensure_ascii=False)


def source(text, cell):
    return "".join(json.loads(text)["cells"][cell - 1]["source"])


@pytest.mark.parametrize("as_list", [True, False])
def test_only_code_is_changed(as_list):
    before = notebook(as_list=as_list)
    ported = port_notebook(before, "n.ipynb")
    old, new = json.loads(before), json.loads(ported.text)

    assert ported.findings == ()
    assert old["cells"][0] == new["cells"][0]
    assert old["cells"][2] == new["cells"][2]
    assert [c.get("outputs") for c in old["cells"]] == [c.get("outputs") for c in new["cells"]]
    assert source(ported.text, 2).startswith("%matplotlib inline\n!pip install something\nfrom trading_dagster.porting")
    assert "method = weight_passthrough" in source(ported.text, 5)
    assert type(new["cells"][3]["source"]) is type(old["cells"][3]["source"])
    assert [line for line in ported.text.splitlines() if "ä" in line] == [
        line for line in before.splitlines() if "ä" in line
    ]


def test_porting_twice_changes_nothing():
    once = port_notebook(notebook() + "\n", "n.ipynb")

    assert once.text.endswith("}\n")
    assert port_notebook(once.text, "n.ipynb") == once


def test_ported_cells_run(client):
    text = port_notebook(notebook(), "n.ipynb").text
    namespace = {"client": client}
    for cell in (4, 5):
        exec(source(text, cell), namespace)

    assert namespace["count"] == 28
    assert namespace["curve"].equals(namespace["result"].equity_curve)
    assert np.isclose((1 + namespace["returns"]).prod(), namespace["curve"].iloc[-1] / namespace["curve"].iloc[0])
    assert namespace["summary"].total_positions == 14


def test_findings_name_cell_and_line():
    cells = [("code", "x = 1"), ("code", "%time\n\nfrom tradeexecutor.x import Mystery"), ("code", "def (:")]
    ported = port_notebook(notebook(cells), "n.ipynb")

    assert [(f.cell, f.line) for f in ported.findings] == [(2, 3), (3, 1)]
    assert str(ported.findings[0]).startswith("cell 2, line 3: tradeexecutor.x.Mystery")


@pytest.mark.parametrize("text", ["{", "[]", '{"worksheets": []}'])
def test_file_that_is_no_notebook_is_refused(text):
    with pytest.raises(StrategyModuleNotValid, match="no notebook"):
        port_notebook(text, "n.ipynb")
