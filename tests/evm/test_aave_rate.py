"""Aave's rates between events: a bar opens at the rate in force before it, and none is missing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evm.deployment import Market
from evm.node import compile_own
from hypothesis import given
from hypothesis import strategies as st

from trading_dagster.domain.error import BadInput, NoLendingData
from trading_dagster.domain.time import TimeBucket
from trading_dagster.evm.aave_rate import AaveRates, make_rate_candles
from trading_dagster.evm.aave_v3 import to_percent
from trading_dagster.evm.abi import Function
from trading_dagster.evm.chain_data import LOCAL
from trading_dagster.evm.event_scan import ScanSetting
from trading_dagster.market.lending import LendingCandleType

SUPPLY, BORROW = LendingCandleType.supply_apr, LendingCandleType.variable_borrow_apr
MINUTE = 60_000_000
TELLER = """
// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;
contract Teller {
    event ReserveDataUpdated(address indexed reserve, uint256 liquidityRate, uint256 stableBorrowRate,
        uint256 variableBorrowRate, uint256 liquidityIndex, uint256 variableBorrowIndex);
    function tell(address reserve, uint256 supply, uint256 borrow) external {
        emit ReserveDataUpdated(reserve, supply, 0, borrow, 1e27, 1e27);
    }
}
"""
TELL = Function("tell", ("address", "uint256", "uint256"))
USDC, WETH = "0x" + "a1" * 20, "0x" + "b2" * 20


def test_rates_of_a_pool_on_a_node_become_candles(market: Market, evm_packages: Path, tmp_path: Path) -> None:
    node, owner = market.node, market.owner
    pool = node.deploy(owner, compile_own(evm_packages, TELLER)["Teller"])
    first = node.head()
    node.rpc("anvil_setBlockTimestampInterval", 20)
    told = []
    for step in range(30):
        supply, borrow = (2 + step % 5) * 10**25 + step, (4 + step % 7) * 10**25
        node.do(owner, pool, TELL.encode(USDC, supply, borrow))
        told.append((node.timestamp(), supply, borrow))
        if step == 20:
            node.do(owner, pool, TELL.encode(WETH, 10**25, 10**25))
            node.mine(12)
    node.mine(5)
    setting = ScanSetting(final_depth=10)
    rates = AaveRates(market.client(), LOCAL, tmp_path, first_block=first, pool=pool, setting=setting)
    found = rates.read([USDC, WETH], TimeBucket.m1)
    for rate, place in ((SUPPLY, 1), (BORROW, 2)):
        frame = found[USDC, rate]
        assert (frame.index == pd.date_range(frame.index[0], frame.index[-1], freq="min")).all()
        for opened_at, bar in frame.iterrows():
            end = (opened_at + pd.Timedelta(minutes=1)).timestamp()
            before = [to_percent(event[place]) for event in told if event[0] < opened_at.timestamp()]
            inside = [to_percent(event[place]) for event in told if opened_at.timestamp() <= event[0] < end]
            in_force = [*before[-1:], *inside] or [to_percent(told[0][place])]
            expected = (in_force[0], max(in_force), min(in_force), in_force[-1])
            assert tuple(bar) == pytest.approx(expected, rel=1e-15)
    assert set(found[WETH, SUPPLY]["close"]) == {1.0}
    with pytest.raises(NoLendingData, match="told no rates of 0xcc"):
        rates.read(["0x" + "cc" * 20], TimeBucket.m1)
    with pytest.raises(BadInput, match="Aave v3's pool on a local node is not known"):
        AaveRates(market.client(), LOCAL, tmp_path, first_block=0)


@given(st.lists(st.tuples(st.integers(0, 30), st.floats(0, 100)), min_size=1, max_size=40), st.integers(0, 40))
def test_every_closed_bar_has_the_rates_in_force_in_it(changes: list[tuple[int, float]], closed: int) -> None:
    changes = sorted(changes, key=lambda change: change[0])
    bars = np.asarray([bar * MINUTE for bar, _ in changes], np.int64)
    frame = make_rate_candles(np.asarray([value for _, value in changes]), bars, closed * MINUTE, TimeBucket.m1)
    first = changes[0][0]
    assert len(frame) == max(0, closed - first)
    for place, (opened_at, bar) in enumerate(frame.iterrows()):
        number = first + place
        assert opened_at == datetime(1970, 1, 1) + pd.Timedelta(minutes=number)
        before = [value for at, value in changes if at < number][-1:]
        inside = [value for at, value in changes if at == number]
        opening = (before or inside)[0]
        assert tuple(bar) == (opening, max([opening, *inside]), min([opening, *inside]), [opening, *inside][-1])
