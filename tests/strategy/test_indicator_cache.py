"""Cached indicator results are never stale and never damaged."""

# ruff: noqa: E501 - programs under test are one line each

import importlib.util
import multiprocessing
import sys
import textwrap
import types
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import TimeBucket, to_unix_us
from trading_dagster.market.panel import CandlePanel
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.strategy import indicator_key
from trading_dagster.strategy.indicator_binding import IndicatorSource
from trading_dagster.strategy.indicator_cache import DiskIndicatorCache, MemoryIndicatorCache
from trading_dagster.strategy.indicator_calculation import calculate_indicators
from trading_dagster.strategy.indicator_code import Unfingerprintable
from trading_dagster.strategy.indicator_definition import IndicatorSet
from trading_dagster.strategy.indicator_fingerprint import fingerprint
from trading_dagster.strategy.indicator_registry import IndicatorRegistry

START = datetime(2024, 1, 1)


@pytest.fixture(autouse=True)
def without_bytecode(monkeypatch):
    """Compile files anew each time: bytecode of a file edited twice within a second is stale."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


USDC = AssetIdentifier(1, "0x" + "f" * 40, "USDC", 6)


def make_universe(prices, fee=0.003, numbers=None, **changes) -> TradingStrategyUniverse:
    prices = np.atleast_2d(np.asarray(prices, dtype=np.float64))
    numbers = numbers or list(range(1, len(prices) + 1))
    pairs = tuple(
        TradingPairIdentifier(
            AssetIdentifier(1, f"0x{row:040x}", f"T{row}"), USDC, f"0x{row + 99:040x}", "0xe1", internal_id=n, fee=fee
        )
        for row, n in enumerate(numbers)
    )
    columns = {name: prices.copy() for name in ("open", "high", "low", "close", "volume")}
    for name, (row, bar, value) in changes.items():
        columns[name][row, bar] = value
    exists = np.ones(prices.shape, dtype=bool)
    panel = CandlePanel(TimeBucket.d1, to_unix_us(START), tuple(numbers), columns, exists, ~exists)
    return TradingStrategyUniverse(pairs, (USDC,), ChainId.ethereum, panel)


CLOSES = np.arange(12.0).reshape(2, 6) + 10


@pytest.fixture
def write_module(tmp_path):
    """Write a Python file and import it afresh."""
    written = []

    def write(source: str, name: str = "strategy_under_test"):
        path = tmp_path / f"{name}.py"
        path.write_text(textwrap.dedent(source))
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        written.append(name)
        spec.loader.exec_module(module)
        return module

    yield write
    for name in written:
        sys.modules.pop(name, None)


def run(cache, func, universe=None, parameters=None, source=IndicatorSource.close_price):
    """Calculate one indicator; tell whether it came from the cache."""
    indicators = IndicatorSet()
    indicators.add("x", func, parameters or {}, source)
    hits = cache.hits
    results = calculate_indicators(indicators, universe or make_universe(CLOSES), store=cache)
    return cache.hits > hits, results


BASE = """
    import numpy as np
    import pandas as pd
    import helper_under_test
    from helper_under_test import shifted

    SCALE = 2.0
    TABLE = {"a": [1, 2, 3]}
    WEIGHTS = np.array([1.0, 2.0])
    def make(extra):
        def inner(close, length=3, *, keyword=8):
            class Local:
                offset = 1
            def nested(x):
                return deeper(x) + Local.offset
            return nested(close.rolling(length).mean() + keyword) * SCALE + extra + TABLE["a"][0] + WEIGHTS[0]
        return inner
    def deeper(x):
        return shifted(x) + helper_under_test.deepest(x) + Tool(3).use(x)
    class Tool:
        factor = 1
        def __init__(self, n):
            self.n = n
        def use(self, x):
            return x * self.n * self.factor
    indicator = make(5)
"""
HELPER = """
    LIMIT = 7
    def shifted(x):
        return x.shift(1)
    def deepest(x):
        return x.clip(upper=LIMIT)
    def unrelated(x):
        return x
"""

EDITS = {
    "constant": ("SCALE = 2.0", "SCALE = 2.5"),
    "nested constant": ("[1, 2, 3]", "[1, 2, 4]"),
    "array constant": ("[1.0, 2.0]", "[1.0, 2.5]"),
    "default": ("length=3", "length=4"),
    "keyword default": ("keyword=8", "keyword=9"),
    "closure": ("make(5)", "make(6)"),
    "body": ("+ extra", "- extra"),
    "nested function": ("+ Local.offset", "- Local.offset"),
    "local class": ("offset = 1", "offset = 2"),
    "helper": ("Tool(3)", "Tool(4)"),
    "method": ("x * self.n", "x / self.n"),
    "class attribute": ("factor = 1", "factor = 2"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edit_of_anything_the_function_uses_is_calculated_anew(edit, write_module, tmp_path):
    write_module(HELPER, "helper_under_test")
    cache = DiskIndicatorCache(tmp_path / "cache")
    run(cache, write_module(BASE).indicator)
    assert run(cache, write_module(BASE).indicator)[0]

    old, new = EDITS[edit]
    assert old in BASE
    edited = write_module(BASE.replace(old, new)).indicator
    came_from_cache, results = run(cache, edited)

    assert not came_from_cache
    assert_same(results, run(MemoryIndicatorCache(), edited)[1])


@pytest.mark.parametrize(
    ("old", "new"),
    [("x.shift(1)", "x.shift(2)"), ("LIMIT = 7", "LIMIT = 8"), ("x.clip(upper", "x.clip(lower")],
)
def test_edit_of_a_helper_in_another_file_is_calculated_anew(old, new, write_module, tmp_path):
    write_module(HELPER, "helper_under_test")
    cache = DiskIndicatorCache(tmp_path / "cache")
    run(cache, write_module(BASE).indicator)
    write_module(HELPER.replace(old, new), "helper_under_test")
    assert not run(cache, write_module(BASE).indicator)[0]


def test_edit_of_a_function_that_is_not_used_changes_nothing(write_module, tmp_path):
    write_module(HELPER, "helper_under_test")
    cache = DiskIndicatorCache(tmp_path / "cache")
    run(cache, write_module(BASE).indicator)
    write_module(HELPER.replace("return x\n", "return x + 1\n"), "helper_under_test")
    assert run(cache, write_module("\n    # a comment\n" + BASE).indicator)[0]


def test_file_edited_after_it_was_loaded_does_not_give_its_results_a_wrong_key(write_module, tmp_path):
    cache = DiskIndicatorCache(tmp_path / "cache")
    old = write_module("def f(close): return close * 2\n").f
    Path(old.__code__.co_filename).write_text("def f(close): return close * 3\n")
    run(cache, old)
    new = write_module("def f(close): return close * 3\n").f
    came_from_cache, results = run(cache, new)
    assert not came_from_cache
    assert results.get(next(iter(results.indicators)), 1).series(None, "x").iloc[0] == 30.0


def test_import_inside_a_function_is_followed(write_module, tmp_path):
    source = "def f(close):\n    import helper_under_test as h\n    return h.deepest(close)\n"
    write_module(HELPER, "helper_under_test")
    cache = DiskIndicatorCache(tmp_path / "cache")
    run(cache, write_module(source).f)
    assert run(cache, write_module(source).f)[0]
    write_module(HELPER.replace("LIMIT = 7", "LIMIT = 8"), "helper_under_test")
    assert not run(cache, write_module(source).f)[0]


def test_functions_without_source_are_told_apart(tmp_path):
    cache = DiskIndicatorCache(tmp_path)

    def typed(text):
        return eval(text, {"__name__": "__main__"})

    run(cache, typed("lambda close: close * 2"))
    assert run(cache, typed("lambda close: close * 2"))[0]
    assert not run(cache, typed("lambda close: close * 3"))[0]
    assert not run(cache, typed("lambda close: close - 2"))[0]
    assert not run(cache, typed("lambda close: close.abs() * 2"))[0]


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
def test_one_changed_candle_is_calculated_anew_for_its_pair_only(column, tmp_path):
    cache = DiskIndicatorCache(tmp_path)

    def mean(close):
        return close.rolling(2).mean()

    run(cache, mean)
    changed = make_universe(CLOSES, **{column: (1, 3, 99.0)})
    hits, misses = cache.hits, cache.misses
    _, results = run(cache, mean, changed)
    assert (cache.hits - hits, cache.misses - misses) == (1, 1)
    assert_same(results, run(MemoryIndicatorCache(), mean, changed)[1])


def test_pair_is_recognised_in_another_universe_by_what_it_is(tmp_path):
    cache = DiskIndicatorCache(tmp_path)
    run(cache, lambda close: close * 2)
    assert run(cache, lambda close: close * 2, make_universe(CLOSES, numbers=[8, 9]))[0]
    assert not run(cache, lambda close: close * 2, make_universe(CLOSES, fee=0.0005))[0]


def test_function_that_sees_the_pair_number_is_calculated_anew_under_another_number(tmp_path):
    def numbered(close, pair):
        return close * pair.internal_id

    cache = DiskIndicatorCache(tmp_path)
    run(cache, numbered)
    assert run(cache, numbered)[0]
    assert not run(cache, numbered, make_universe(CLOSES, numbers=[8, 9]))[0]


def test_parameters_and_source_are_part_of_the_key(tmp_path):
    cache = DiskIndicatorCache(tmp_path)

    def f(close, n):
        return close * n

    run(cache, f, parameters={"n": 2})
    assert run(cache, f, parameters={"n": 2})[0]
    assert not run(cache, f, parameters={"n": 2.0})[0]
    assert not run(cache, f, parameters={"n": 2}, source=IndicatorSource.open_price)[0]


def build_registry(factor):
    registry = IndicatorRegistry()

    @registry.define()
    def first(close, n):
        return close * n * factor

    @registry.define()
    def other(close):
        return close

    @registry.define(dependencies=(first,), source=IndicatorSource.dependencies_only_per_pair)
    def second(dependency_resolver):
        return dependency_resolver.get_indicator_data("first") + 1

    @registry.define(dependencies=(second,), source=IndicatorSource.dependencies_only_universe)
    def third(dependency_resolver):
        return dependency_resolver.get_indicator_data_pairs_combined("second").groupby("timestamp").mean()

    return registry


def calculate(cache, factor=1, n=2, universe=None):
    universe = universe or make_universe(CLOSES)
    indicators = build_registry(factor).create_indicators(None, {"n": n}, universe, None)
    before = cache.misses
    results = calculate_indicators(indicators, universe, store=cache)
    return cache.misses - before, results


def test_other_library_versions_are_another_key(tmp_path, monkeypatch):
    cache = DiskIndicatorCache(tmp_path)
    func = lambda close: close * 2  # noqa: E731
    run(cache, func)
    assert run(cache, func)[0]
    monkeypatch.setattr(indicator_key, "library_versions", lambda: "numpy of tomorrow")
    assert not run(cache, func)[0]


def test_dependant_that_declares_nothing_depends_on_all_lower_orders(tmp_path):
    cache = DiskIndicatorCache(tmp_path)
    universe = make_universe(CLOSES)

    def calculate_with(factor):
        indicators = IndicatorSet()
        indicators.add("first", lambda close: close * factor)
        indicators.add(
            "second", lambda close, dependency_resolver: dependency_resolver.get_indicator_data("first"), order=2
        )
        results = calculate_indicators(indicators, universe, store=cache)
        return results.get(indicators.resolve("second"), 1).series(None, "second").iloc[0]

    assert [calculate_with(factor) for factor in (2, 3, 2)] == [20.0, 30.0, 20.0]


def test_dependants_are_calculated_anew_with_what_they_depend_on(tmp_path):
    cache = DiskIndicatorCache(tmp_path)
    assert calculate(cache)[0] == 7
    assert calculate(cache)[0] == 0
    assert calculate(cache, n=3)[0] == 5  # all but "other"
    missed, results = calculate(cache, factor=2)
    assert missed == 5
    assert_same(results, calculate(MemoryIndicatorCache(), factor=2)[1])


def test_result_that_read_an_undeclared_dependency_is_not_kept(tmp_path):
    def build(factor):
        registry = IndicatorRegistry()

        @registry.define()
        def first(close):
            return close * factor

        @registry.define()
        def declared(close):
            return close

        @registry.define(dependencies=(declared,), source=IndicatorSource.dependencies_only_per_pair)
        def second(dependency_resolver):
            return dependency_resolver.get_indicator_data("first")

        return registry

    cache = DiskIndicatorCache(tmp_path)
    universe = make_universe(CLOSES)
    for factor in (2, 3):
        indicators = build(factor).create_indicators(None, {}, universe, None)
        results = calculate_indicators(indicators, universe, store=cache)
        assert results.get(indicators.resolve("second"), 1).series(None, "x").iloc[0] == 10.0 * factor


def test_universe_indicator_is_calculated_anew_when_any_candle_changes(tmp_path):
    def total(strategy_universe):
        panel = strategy_universe.candles
        return pd.Series(panel.columns["volume"].sum(axis=0), index=panel.index)

    cache = DiskIndicatorCache(tmp_path)
    run(cache, total, source=IndicatorSource.strategy_universe)
    assert run(cache, total, source=IndicatorSource.strategy_universe)[0]
    changed = make_universe(CLOSES, volume=(1, 0, 5.0))
    assert not run(cache, total, changed, source=IndicatorSource.strategy_universe)[0]


UNKEYABLE = {
    "reads a file": "import pandas as pd\ndef f(close):\n    return close * pd.read_csv('x.csv')\n",
    "opens a file": "def f(close):\n    return close * float(open('x').read())\n",
    "reads the clock": "import time\ndef f(close):\n    return close * time.time()\n",
    "reads the date": "import datetime\ndef f(close):\n    return close * datetime.datetime.now().day\n",
    "draws numbers": "import numpy as np\ndef f(close):\n    return close * np.random.normal()\n",
    "draws numbers of another name": "from numpy.random import normal\ndef f(close):\n    return close * normal()\n",
    "imports in its body": "def f(close):\n    import os\n    return close * len(os.listdir('.'))\n",
    "keeps state": "n = 0\ndef f(close):\n    global n\n    n += 1\n    return close * n\n",
    "holds a lock": "import _thread\nlock = _thread.allocate_lock()\ndef f(close):\n    return close * bool(lock)\n",
    "evaluates text": "def f(close):\n    return close * eval('2')\n",
    "hides a function": "import numpy as np\nu = np.frompyfunc(lambda x: x * 2, 1, 1)\ndef f(close):\n    return u(close)\n",
}


@pytest.mark.parametrize("what", UNKEYABLE)
def test_function_that_depends_on_more_than_its_input_has_no_key(what, write_module):
    with pytest.raises(Unfingerprintable):
        fingerprint(write_module(UNKEYABLE[what]).f)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("import numpy as np\nv = np.vectorize(lambda x: x * 2)\n", "import numpy as np\nv = np.vectorize(lambda x: x * 3)\n"),
        ("import functools\nv = functools.cache(lambda x: x * 2)\n", "import functools\nv = functools.cache(lambda x: x * 3)\n"),
        ("import functools\nv = functools.partial(pow, 2)\n", "import functools\nv = functools.partial(pow, 3)\n"),
        ("from enum import Enum\nclass E(Enum):\n    a = 1\n    def v(s): return 2\nv = E.a\n",
         "from enum import Enum\nclass E(Enum):\n    a = 1\n    def v(s): return 3\nv = E.a\n"),
        ("from collections import namedtuple\nv = namedtuple('P', 'a')(1)\n", "from collections import namedtuple\nv = namedtuple('P', 'a')(2)\n"),
        ("from collections import deque\nv = deque([1])\n", "from collections import deque\nv = deque([2])\n"),
        ("class D(dict):\n    pass\nv = D(a=1)\n", "class D(dict):\n    pass\nv = D(a=2)\n"),
        ("import pandas as pd\nv = pd.Series([1.0, 2.0])\n", "import pandas as pd\nv = pd.Series([1.0, 2.5])\n"),
        ("import pandas as pd\nv = pd.Series([1.0], index=[1])\n", "import pandas as pd\nv = pd.Series([1.0], index=[2])\n"),
        ("import pandas as pd\nv = pd.DataFrame({'a': [1]})\n", "import pandas as pd\nv = pd.DataFrame({'b': [1]})\n"),
        ("v = {1, 2}\n", "v = {1, 3}\n"),
        ("v = 1\n", "v = True\n"),
        ("v = 0.0\n", "v = -0.0\n"),
        ("v = (1, (2, 3))\n", "v = ((1, 2), 3)\n"),
        ("v = ['ab', 'c']\n", "v = ['a', 'bc']\n"),
        ("from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 1\nv = C\n",
         "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 2\nv = C\n"),
        ("class C:\n    @property\n    def p(self): return 1\nv = C()\n", "class C:\n    @property\n    def p(self): return 2\nv = C()\n"),
        ("class C:\n    @staticmethod\n    def p(): return 1\nv = C().p\n", "class C:\n    @staticmethod\n    def p(): return 2\nv = C().p\n"),
        ("class B:\n    def p(self): return 1\nclass C(B):\n    pass\nv = C()\n", "class B:\n    def p(self): return 2\nclass C(B):\n    pass\nv = C()\n"),
        ("import talib\nv = talib.SMA\n", "import talib\nv = talib.EMA\n"),
        ("import operator\nv = operator.itemgetter(1)\n", "import operator\nv = operator.itemgetter(2)\n"),
    ],
)  # fmt: skip
def test_values_a_function_uses_are_told_apart(first, second, write_module):
    use = "def f(close):\n    return v\n"
    one, same, other = (fingerprint(write_module(text + use).f) for text in (first, first, second))
    assert one == same != other


@pytest.fixture(params=["no file", "in an archive", "not loaded"])
def compiled(request, monkeypatch, tmp_path):
    """Return a compiled function of a module that has no version, and of which no file can be read."""
    name = f"bare_{request.param.replace(' ', '_')}"
    if request.param != "not loaded":
        module = types.ModuleType(name)
        if request.param == "in an archive":
            module.__file__ = str(tmp_path / "bundle.zip" / "bare.so")
        monkeypatch.setitem(sys.modules, name, module)
    kind = type("cython_function_or_method", (), {"__module__": name, "__call__": lambda _self, x: x})
    return kind()


def test_code_that_nothing_stands_for_has_no_key(compiled):
    def double(close):
        return compiled(close) * 2

    with pytest.raises(Unfingerprintable, match="bare_"):
        fingerprint(double)


def test_trusted_code_has_a_key_whatever_it_calls(compiled):
    def double(close):
        return compiled(close) * 2

    def triple(close):
        return compiled(close) * 3

    assert fingerprint(double, is_strict=False) == fingerprint(double, is_strict=False)
    assert fingerprint(double, is_strict=False) != fingerprint(triple, is_strict=False)


def test_recursive_functions_and_values_end(write_module):
    source = "loop = []\nloop.append(loop)\ndef f(n):\n    return g(n - 1)\ndef g(n):\n    return f(n) if n else loop\n"
    assert fingerprint(write_module(source).f) == fingerprint(write_module(source).f)


def key_in_new_process(path):
    spec = importlib.util.spec_from_file_location("strategy_under_test", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["strategy_under_test"] = module
    spec.loader.exec_module(module)
    return fingerprint(module.indicator)


def test_key_is_the_same_in_another_process(write_module, tmp_path):
    source = BASE.replace("import helper_under_test", "").replace("from helper_under_test import shifted", "")
    source = source.replace("shifted(x) + helper_under_test.deepest(x) +", "{'b', 'a', 'c'} and")
    module = write_module(source)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(key_in_new_process, (module.__file__,)) == fingerprint(module.indicator)


RESULTS = {
    "series": lambda close: close * 1.1,
    "not a number": lambda close: close.where(close > 12),
    "frame": lambda close: pd.DataFrame({"up": close + 1, "is_up": close > 11, "n": close.astype(int)}),
    "shorter": lambda close: close.rolling(3).mean().dropna(),
    "weekly": lambda close: close.resample("7D").last(),
    "lists": lambda close: pd.Series([[1, 2], [], None, "text", 1.5, True], index=close.index),
    "nothing": lambda close: None,
}  # fmt: skip


@pytest.mark.parametrize("kind", RESULTS)
def test_results_come_back_bit_for_bit(kind, tmp_path):
    func = RESULTS[kind]
    cache = DiskIndicatorCache(tmp_path)
    _, calculated = run(cache, func)
    came_from_cache, recalled = run(cache, func)
    assert came_from_cache
    assert_same(calculated, recalled)


def test_objects_without_exact_file_form_are_calculated_anew(tmp_path):
    cache = DiskIndicatorCache(tmp_path)
    func = lambda close: pd.Series([(1, 2)] * 6, index=close.index)  # noqa: E731
    run(cache, func)
    came_from_cache, results = run(cache, func)
    assert not came_from_cache
    assert results.get(results.indicators.resolve("x"), 1).series(None, "x").iloc[0] == (1, 2)


def damage_cut(raw):
    return raw[: len(raw) // 2]


def damage_flip(raw):
    return raw[:-3] + bytes([raw[-3] ^ 1]) + raw[-2:]


def damage_empty(raw):
    return b""


def damage_header(raw):
    return b"garbage" + raw


@pytest.mark.parametrize("damage", [damage_cut, damage_flip, damage_empty, damage_header])
def test_damaged_file_is_calculated_anew_and_replaced(damage, tmp_path):
    cache = DiskIndicatorCache(tmp_path)
    universe = make_universe(CLOSES[:1])
    func = lambda close: close * 2  # noqa: E731
    _, calculated = run(cache, func, universe)
    (file,) = tmp_path.rglob("*.npy")
    intact = file.read_bytes()
    file.write_bytes(damage(intact))

    came_from_cache, results = run(cache, func, universe)

    assert not came_from_cache
    assert_same(results, calculated)
    assert file.read_bytes() == intact
    assert not list(tmp_path.rglob("*.tmp"))


def test_every_single_flipped_bit_is_noticed(tmp_path):
    cache = DiskIndicatorCache(tmp_path)
    universe = make_universe(CLOSES[:1])
    func = lambda close: close * 2  # noqa: E731
    _, calculated = run(cache, func, universe)
    (file,) = tmp_path.rglob("*.npy")
    intact = file.read_bytes()
    for position in range(0, len(intact), 7):
        file.write_bytes(intact[:position] + bytes([intact[position] ^ 4]) + intact[position + 1 :])
        assert_same(run(cache, func, universe)[1], calculated)
        assert file.read_bytes() == intact


def test_folder_that_cannot_be_written_only_costs_time(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    cache = DiskIndicatorCache(tmp_path / "file")
    _, results = run(cache, lambda close: close * 2)
    assert len(results) == 2


def test_external_indicator_is_never_kept(tmp_path):
    def load(pair):
        return pd.Series([1.0], index=[pd.Timestamp(START)])

    cache = DiskIndicatorCache(tmp_path)
    run(cache, load, source=IndicatorSource.external_per_pair)
    assert not run(cache, load, source=IndicatorSource.external_per_pair)[0]
    assert not list(tmp_path.iterdir())


def test_memory_cache_shares_results_between_combinations():
    cache = MemoryIndicatorCache()
    universe = make_universe(CLOSES)
    assert calculate(cache, universe=universe)[0] == 7
    assert calculate(cache, universe=universe)[0] == 0
    assert calculate(cache, n=3, universe=universe)[0] == 5


def test_universe_with_more_history_is_another_input(tmp_path):
    cache = DiskIndicatorCache(tmp_path)
    func = lambda close: close.expanding().sum()  # noqa: E731
    whole = make_universe(CLOSES)
    late = replace(whole, candles=whole.candles.clip(START + timedelta(days=1), None))
    run(cache, func, whole)
    came_from_cache, results = run(cache, func, late)
    assert not came_from_cache
    assert results.get(results.indicators.resolve("x"), 1).series(None, "x").iloc[0] == 11.0


def assert_same(first, second):
    assert list(first) == list(second)
    for (_, one), (_, two) in zip(first.items(), second.items(), strict=True):
        assert one.index.equals(two.index)
        assert (one.is_frame, one.width_us, one.is_aligned, one.empty_reason) == (
            two.is_frame,
            two.width_us,
            two.is_aligned,
            two.empty_reason,
        )
        assert list(one.columns) == list(two.columns)
        for name in one.columns:
            a, b = one.columns[name], two.columns[name]
            assert a.dtype == b.dtype
            assert a.tolist() == b.tolist() if a.dtype.hasobject else a.tobytes() == b.tobytes()


class Settings:
    def __init__(self):
        self.factor = 2


SETTINGS = Settings()


def test_fingerprint_of_an_object_is_the_same_after_it_was_pickled():
    def scale(close):
        return close * SETTINGS.factor

    first = fingerprint(Settings, scale)  # pickling leaves __slotnames__ on the class

    assert fingerprint(Settings, scale) == first
