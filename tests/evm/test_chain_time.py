"""A block of the past says that the chain stands still, one of the future that the clock is wrong."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from trading_dagster.domain.error import BadConfiguration, ChainHalted, ClockSkewed, NodeError
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.chain_data import KNOWN_CHAINS
from trading_dagster.evm.chain_time import TimeLimits, check_chain_time

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
LIMITS = TimeLimits(timedelta(minutes=4), timedelta(minutes=1))


def head(age: timedelta) -> BlockHeader:
    return BlockHeader(77, "0x" + "1" * 64, int((NOW - age).timestamp()), 0)


@pytest.mark.parametrize("seconds", [240, 12, 0, -60])
def test_block_of_about_now_passes(seconds: int):
    check_chain_time(head(timedelta(seconds=seconds)), NOW, LIMITS, 1)


def test_old_block_says_how_old_it_is_and_what_to_look_at():
    with pytest.raises(ChainHalted, match=r"chain 8453, 77, is 0:04:01 old, at most 0:04:00 .* look at a block expl"):
        check_chain_time(head(timedelta(seconds=241)), NOW, LIMITS, 8453)
    assert issubclass(ChainHalted, NodeError)


def test_block_of_the_future_says_what_the_clock_shows():
    with pytest.raises(ClockSkewed, match=r"0:01:01 in the future.*behind, it shows 2026-01-10 12:00:00 UTC"):
        check_chain_time(head(timedelta(seconds=-61)), NOW, LIMITS, 1)
    assert not issubclass(ClockSkewed, NodeError), "it is the machine's fault, no other node helps"


@pytest.mark.parametrize("years", [-5, 5])
def test_no_limits_do_not_look(years: int):
    check_chain_time(head(timedelta(days=365 * years)), NOW, TimeLimits(), 1)


def test_one_limit_does_not_bring_the_other():
    check_chain_time(head(timedelta(hours=1)), NOW, TimeLimits(max_clock_skew=timedelta(minutes=1)), 1)
    check_chain_time(head(-timedelta(hours=1)), NOW, TimeLimits(max_head_age=timedelta(minutes=1)), 1)


def test_limits_follow_the_pace_of_a_chain():
    ages = {slug: TimeLimits.of_pace(KNOWN_CHAINS.get_chain(slug).block_time_s) for slug in ("ethereum", "arbitrum")}
    assert ages["ethereum"] == TimeLimits(timedelta(minutes=4), timedelta(minutes=1))
    assert ages["arbitrum"] == TimeLimits(timedelta(minutes=2), timedelta(minutes=1))


@pytest.mark.parametrize("limit", [timedelta(0), timedelta(seconds=-1)])
def test_limit_that_nothing_could_keep_is_refused(limit: timedelta):
    with pytest.raises(BadConfiguration, match="max_head_age is"):
        TimeLimits(max_head_age=limit)
    with pytest.raises(BadConfiguration, match="max_clock_skew is"):
        TimeLimits(max_clock_skew=limit)
