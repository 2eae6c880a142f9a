"""Strategy files: the protocol they follow, and what is said when they do not."""

from __future__ import annotations

import re
import sys
import types
from datetime import datetime

import pytest
from tape import START, WETH_USDC, universe_of

from trading_dagster.backtest import run_backtest
from trading_dagster.domain.error import BadInput, StrategyModuleNotValid
from trading_dagster.domain.time import CycleDuration
from trading_dagster.market.dataset import UniverseOptions
from trading_dagster.strategy.execution_context import ExecutionContext
from trading_dagster.strategy.indicator_definition import IndicatorSet
from trading_dagster.strategy.indicator_registry import IndicatorRegistry
from trading_dagster.strategy.input import CreateTradingUniverseInput
from trading_dagster.strategy.module import StrategyModule, load_strategy_file, load_strategy_module
from trading_dagster.strategy.parameters import StrategyParameters
from trading_dagster.strategy.routing import TradeRouting

UNIVERSE = universe_of({WETH_USDC: [100.0] * 4})
CONTEXT = ExecutionContext()
OPTIONS = UniverseOptions(start_at=START)
NO_PARAMETERS = StrategyParameters({})

SOURCE = '''"""Do nothing, in two lines.

The second line is not the description.
"""
from datetime import datetime
import trading_dagster as td

trading_strategy_engine_version = "0.5"

class Parameters:
    cycle_duration = td.CycleDuration.cycle_1h
    routing = td.TradeRouting.default
    initial_cash = 100
    backtest_start = datetime(2022, 1, 3)
    backtest_end = datetime(2022, 1, 3, 2)

def create_trading_universe(input):
    return input.client

def create_indicators(timestamp, parameters, strategy_universe, execution_context):
    return td.IndicatorSet()

def decide_trades(input):
    return []
'''


def write(folder, text=SOURCE, name="my_strategy.py"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def names(**changes):
    """Return the names of a module that follows the protocol, some changed; None leaves one out."""
    found = {
        "trading_strategy_engine_version": "0.5",
        "Parameters": type("Parameters", (), {"fast": 1}),
        "create_trading_universe": lambda input: UNIVERSE,  # noqa: A006
        "create_indicators": lambda timestamp, parameters, strategy_universe, execution_context: IndicatorSet(),
        "decide_trades": lambda _: [],
        **changes,
    }
    return {name: value for name, value in found.items() if value is not None}


def universe_input(parameters=NO_PARAMETERS, client=UNIVERSE) -> CreateTradingUniverseInput:
    return CreateTradingUniverseInput(client, START, parameters, CONTEXT, OPTIONS)


def refused(load, *parts):
    with pytest.raises(StrategyModuleNotValid) as error:
        load()
    for part in parts:
        assert part in str(error.value)
    assert isinstance(error.value, BadInput)


# -- files ------------------------------------------------------------------------------------------------------------


def test_file_becomes_a_strategy(tmp_path):
    path = write(tmp_path)
    strategy = load_strategy_file(path)
    assert (strategy.name, strategy.id, strategy.path) == ("my_strategy", "my_strategy", path)
    assert strategy.engine_version == "0.5"
    assert strategy.parameters.initial_cash == 100
    assert strategy.description == "Do nothing, in two lines."
    assert strategy.source == SOURCE
    assert strategy.decide_trades(None) == []
    assert strategy.build_universe(universe_input()) is UNIVERSE


def test_file_runs_as_a_backtest(tmp_path):
    result = run_backtest(write(tmp_path), client=UNIVERSE, progress=False)
    assert len(result.decisions) == 2


def test_file_is_found_by_text_too(tmp_path):
    assert load_strategy_file(str(write(tmp_path))).name == "my_strategy"


def test_missing_file_is_named_with_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(lambda: load_strategy_file("absent.py"), "absent.py", "does not exist", "check the path", str(tmp_path))


def test_folder_is_no_strategy_file(tmp_path):
    refused(lambda: load_strategy_file(tmp_path), str(tmp_path), "is a folder", "name a file in it")


@pytest.mark.parametrize("stem", ["my strat-é (v2)", "стратегия", "策略", "ﬁ²", "plain-Name 2"])
def test_id_is_fit_for_an_asset_key_and_of_one_file_only(tmp_path, stem):
    path = write(tmp_path).rename(tmp_path / f"{stem}.py")
    found = load_strategy_file(path).id
    assert re.fullmatch("[a-z0-9_]+", found)
    other = path.rename(tmp_path / f"{stem}é.py")
    assert load_strategy_file(other).id != found


@pytest.mark.parametrize(
    ("text", "line"),
    [("x = 1\n\ndef broken(:\n    pass\n", 3), ("x = 1\n  y = 2\n", 2), ('x = """\n', 1)],
)
def test_file_that_does_not_parse_is_named_with_its_line(tmp_path, text, line):
    path = write(tmp_path, text)
    refused(lambda: load_strategy_file(path), str(path), f"line {line} ", "does not parse")


def test_file_that_is_no_text_does_not_parse(tmp_path):
    path = tmp_path / "binary.py"
    path.write_bytes(b"x = '\xff\xfe'\n")
    refused(lambda: load_strategy_file(path), "binary.py", "does not parse")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("x = 1\ny = x / 0\n", 2, "ZeroDivisionError: division by zero"),
        ("import no_such_module_here\n", 1, "ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("def f():\n    raise ValueError('inside')\n\nf()\n", 2, "ValueError: inside"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError"),
    ],
)
def test_file_that_raises_while_it_loads_is_named_with_its_line(tmp_path, text, line, what):
    path = write(tmp_path, text)
    before = set(sys.modules)
    refused(lambda: load_strategy_file(path), str(path), f"line {line} ", what)
    assert not {name for name in set(sys.modules) - before if "my_strategy" in name}


def test_file_that_exits_while_it_loads_is_refused(tmp_path):
    path = write(tmp_path, "import sys\nsys.exit(3)\n")
    refused(lambda: load_strategy_file(path), "my_strategy.py", "line 2", "SystemExit")


def test_two_files_of_one_name_do_not_mix(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first = load_strategy_file(write(tmp_path / "a"))
    second = load_strategy_file(write(tmp_path / "b", SOURCE.replace("initial_cash = 100", "initial_cash = 200")))
    assert (first.parameters.initial_cash, second.parameters.initial_cash) == (100, 200)
    assert first.decide_trades.__module__ != second.decide_trades.__module__
    assert first.source_hash() != second.source_hash()


def test_file_loaded_again_shows_its_changes(tmp_path):
    load_strategy_file(write(tmp_path))
    changed = load_strategy_file(write(tmp_path, SOURCE.replace("initial_cash = 100", "initial_cash = 300")))
    assert changed.parameters.initial_cash == 300


# -- protocol ---------------------------------------------------------------------------------------------------------


def test_missing_version_says_what_to_add():
    refused(
        lambda: load_strategy_module(names(trading_strategy_engine_version=None)),
        "engine version",
        'trading_strategy_engine_version = "0.5"',
    )


def decide_newly(input):
    return []


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3", "0.4"])
def test_old_version_with_new_arguments_says_which_ones_it_gives(version):
    changes = {"trading_strategy_engine_version": version, "decide_trades": decide_newly}
    refused(lambda: load_strategy_module(names(**changes)), version, "needs input", "pricing_model")


@pytest.mark.parametrize("version", ["0.7", "1.0", "latest", 5, 0.5, [], ("0.5",)])
def test_unknown_version_says_which_ones_there_are(version):
    refused(lambda: load_strategy_module(names(trading_strategy_engine_version=version)), repr(version), "0.5, 0.6")


@pytest.mark.parametrize(
    "name", ["decide_trades", "create_trading_universe", "create_indicators", "Parameters", "create_charts"]
)
@pytest.mark.parametrize("wrong", [None, 5], ids=["missing", "no function"])
def test_missing_function_is_named(name, wrong):
    changes = {"create_charts": lambda: None, "trading_strategy_engine_version": "0.6", name: wrong}
    refused(lambda: load_strategy_module(names(**changes)), name, "0.6 requires")


def test_charts_are_required_from_0_6_on():
    charts = lambda timestamp, parameters, strategy_universe, execution_context: None  # noqa: E731
    assert load_strategy_module(names()).create_charts is None
    loaded = load_strategy_module(names(trading_strategy_engine_version="0.6", create_charts=charts))
    assert loaded.create_charts is charts


def test_names_match_without_regard_to_case():
    module = {name.upper(): value for name, value in names().items()}
    loaded = load_strategy_module(module)
    assert loaded.decide_trades is module["DECIDE_TRADES"]
    assert loaded.parameters.fast == 1


def test_exact_name_wins_over_one_in_another_case():
    """A notebook has both: the class Parameters and `parameters`, an instance made of it."""
    for order in (1, -1):
        module = dict(list(names(parameters=StrategyParameters({"fast": 99})).items())[::order])
        assert load_strategy_module(module).parameters.fast == 1


def test_module_object_is_loaded_like_a_file():
    module = types.ModuleType("some_module")
    vars(module).update(names(name="My strategy", short_description="Does this.", tags={"alpha"}))
    loaded = load_strategy_module(module)
    assert (loaded.name, loaded.id, loaded.description) == ("My strategy", "my_strategy", "Does this.")
    assert loaded.details["tags"] == {"alpha"}


def test_hooks_are_found():
    before, after = (lambda _: None), (lambda _: None)
    loaded = load_strategy_module(names(before_strategy_tick=before, after_strategy_tick=after))
    assert (loaded.before_strategy_tick, loaded.after_strategy_tick) == (before, after)
    assert load_strategy_module(names()).before_strategy_tick is None


def test_names_of_the_module_fill_what_parameters_lack_and_never_override_them():
    old_style = {
        "trading_strategy_cycle": CycleDuration.cycle_4h,
        "trade_routing": TradeRouting.default,
        "backtest_start": datetime(2020, 1, 1),
        "backtest_end": datetime(2021, 1, 1),
        "initial_cash": 500,
    }
    filled = load_strategy_module(names(**old_style)).parameters
    assert (filled.cycle_duration, filled.routing) == (CycleDuration.cycle_4h, TradeRouting.default)
    assert (filled.backtest_start, filled.backtest_end) == (datetime(2020, 1, 1), datetime(2021, 1, 1))
    assert filled.initial_cash == 500
    own = type("Parameters", (), {"initial_cash": 100, "cycle_duration": CycleDuration.cycle_1h})
    kept = load_strategy_module(names(**old_style, Parameters=own)).parameters
    assert (kept.initial_cash, kept.cycle_duration) == (100, CycleDuration.cycle_1h)


# -- create_trading_universe ------------------------------------------------------------------------------------------


def universe_of_four(timestamp, client, execution_context, universe_options):
    assert (timestamp, execution_context, universe_options) == (START, CONTEXT, OPTIONS)
    return client


def universe_of_ts(ts, client, execution_context, universe_options):
    return universe_of_four(ts, client, execution_context, universe_options)


def universe_of_other_order(client, universe_options, execution_context, timestamp):
    return universe_of_four(timestamp, client, execution_context, universe_options)


def universe_of_input(input):
    assert (input.timestamp, input.execution_context, input.universe_options) == (START, CONTEXT, OPTIONS)
    return input.client


def universe_of_input_and_more(input, *, verbose=False):
    return input.client


@pytest.mark.parametrize(
    "function",
    [universe_of_four, universe_of_ts, universe_of_other_order, universe_of_input, universe_of_input_and_more],
    ids=lambda f: f.__name__,
)
def test_universe_is_made_by_either_form_told_apart_by_argument_names(function):
    strategy = load_strategy_module(names(create_trading_universe=function))
    assert strategy.build_universe(universe_input()) is UNIVERSE


def test_universe_function_with_other_arguments_is_named_with_the_two_forms():
    def create_trading_universe(a, b):
        return UNIVERSE

    strategy = load_strategy_module(names(create_trading_universe=create_trading_universe))
    refused(
        lambda: strategy.build_universe(universe_input()),
        "create_trading_universe",
        "(a, b)",
        "(input)",
        "(timestamp, client, execution_context, universe_options)",
    )


@pytest.mark.parametrize("returned", [None, 5])
def test_universe_function_that_returns_something_else_is_named(returned):
    strategy = load_strategy_module(names(create_trading_universe=lambda input: returned))  # noqa: A006
    refused(
        lambda: strategy.build_universe(universe_input()),
        "create_trading_universe",
        type(returned).__name__,
        "return a TradingStrategyUniverse",
    )


def test_bare_functions_need_a_universe():
    strategy = StrategyModule("bare", lambda _: [], NO_PARAMETERS)
    refused(lambda: strategy.build_universe(universe_input()), "no create_trading_universe", "pass universe=")


# -- create_indicators ------------------------------------------------------------------------------------------------


def double(close, factor):
    return close * factor


def newer(timestamp, parameters, strategy_universe, execution_context):
    assert strategy_universe is UNIVERSE
    made = IndicatorSet()
    made.add("double", double, {"factor": parameters.fast})
    return made


def older(parameters, indicators, strategy_universe, execution_context):
    assert (strategy_universe, execution_context) == (UNIVERSE, CONTEXT)
    indicators.add("double", double, {"factor": parameters.fast})


def registry() -> IndicatorRegistry:
    made = IndicatorRegistry()

    @made.define()
    def double(close, fast):
        return close * fast

    return made


@pytest.mark.parametrize("form", ["newer", "older", "registry as create_indicators", "registry beside"])
def test_indicators_are_made_by_each_form(form):
    changes = {
        "newer": {"create_indicators": newer},
        "older": {"create_indicators": older},
        "registry as create_indicators": {"create_indicators": registry()},
        "registry beside": {"create_indicators": None, "indicators": registry()},
    }[form]
    strategy = load_strategy_module(names(**changes))
    made = strategy.build_indicators(UNIVERSE, strategy.parameters, CONTEXT)
    assert "double" in made


def test_function_wins_over_a_registry_beside_it():
    strategy = load_strategy_module(names(create_indicators=newer, indicators=IndicatorRegistry()))
    assert strategy.create_indicators is newer


def test_strategy_without_indicators_has_none():
    strategy = StrategyModule("bare", lambda _: [], NO_PARAMETERS)
    assert len(strategy.build_indicators(UNIVERSE, NO_PARAMETERS, CONTEXT)) == 0


@pytest.mark.parametrize("returned", [None, {}])
def test_indicator_function_that_returns_something_else_is_named(returned):
    def create_indicators(timestamp, parameters, strategy_universe, execution_context):
        return returned

    strategy = load_strategy_module(names(create_indicators=create_indicators))
    refused(
        lambda: strategy.build_indicators(UNIVERSE, NO_PARAMETERS, CONTEXT),
        "create_indicators",
        type(returned).__name__,
        "return an IndicatorSet",
    )


# -- what a backtest is given -----------------------------------------------------------------------------------------


def test_strategy_and_bare_functions_together_are_refused(tmp_path):
    with pytest.raises(BadInput, match="not both"):
        run_backtest(write(tmp_path), decide_trades=lambda _: [], progress=False)


def test_no_strategy_at_all_is_refused():
    refused(lambda: run_backtest(progress=False), "decide_trades=")


def test_unknown_argument_is_refused():
    with pytest.raises(TypeError, match="decide_trade"):
        run_backtest(decide_trade=lambda _: [], progress=False)


def test_something_else_is_no_strategy():
    with pytest.raises(BadInput, match="a path, a module or a StrategyModule, got int"):
        run_backtest(5, progress=False)
