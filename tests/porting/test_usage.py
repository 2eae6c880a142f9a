"""The table of calls agrees with the code, and the page with the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from trading_dagster.porting.page import replace_gaps
from trading_dagster.porting.usage import USAGE, count_calls, find_gaps, is_here
from trading_dagster.porting.vocabulary import find_home, load_object
from trading_dagster.porting.vocabulary_table import HOMES, METHODS, OTHER_NAMES

PAGE = Path(__file__).parents[2] / "docs" / "porting.md"


@pytest.mark.parametrize("name", [*OTHER_NAMES, *(name for names in HOMES.values() for name in names)])
def test_name_of_the_table_can_be_imported(name):
    assert find_home(name) is not None
    assert load_object(name) is not None


@pytest.mark.parametrize("owner", METHODS)
def test_class_of_the_table_exists(owner):
    assert load_object(owner) is not None


def test_name_that_nobody_knows_has_no_home():
    assert find_home("HyperdriveExecutor") is None
    assert find_home("technical") is None


def test_calls_are_here_or_have_a_reason():
    here, total = count_calls()

    assert total == sum(len(calls) for calls in USAGE.values())
    assert here >= 80
    assert here + sum(gap.rank > 0 for gap in find_gaps()) == total
    assert all(gap.why for gap in find_gaps())


def test_keyword_of_a_call_is_looked_up():
    assert is_here("load_partial_data(liquidity)")
    assert not is_here("load_partial_data(favourite_colour)")
    assert not is_here("PositionManager.open_hyperdrive")


def test_page_has_the_table_of_today():
    page = PAGE.read_text(encoding="utf-8")

    assert replace_gaps(page) == page, "run: python -m trading_dagster.porting.page docs/porting.md"
