"""The known chains: checksums of all addresses, consistency, and what an unknown name is answered with."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from eth_utils.address import to_checksum_address

import trading_dagster.evm.chain_data as data
from trading_dagster.domain.error import BadConfiguration, BadInput
from trading_dagster.domain.identifier import ChainId
from trading_dagster.evm.chain import Chain, KnownToken, require_checksum, uniswap_v2
from trading_dagster.evm.chain_data import ETHEREUM, KNOWN_CHAINS, LOCAL, POLYGON
from trading_dagster.evm.gas import GWEI, Fee
from trading_dagster.evm.multicall import MULTICALL3
from trading_dagster.evm.uniswap_v2 import UniswapV2Dex
from trading_dagster.evm.uniswap_v3 import RouterKind, UniswapV3Dex

PUBLIC = [chain for chain in KNOWN_CHAINS.chains if chain is not LOCAL]
each_public = pytest.mark.parametrize("chain", PUBLIC, ids=lambda chain: chain.slug)
each = pytest.mark.parametrize("chain", KNOWN_CHAINS.chains, ids=lambda chain: chain.slug)


def test_every_address_in_the_file_is_written_with_its_checksum():
    written = re.findall(r"0x[0-9a-fA-F]*", Path(data.__file__).read_text(encoding="utf-8"))
    assert len(written) > 80
    assert [address for address in written if to_checksum_address(address) != address] == []


@pytest.mark.parametrize("place", range(2, 42))
def test_one_changed_digit_never_passes(place: int):
    good = "0x61fFE014bA17989E743c5F6cB21bF9697530B21e"
    assert require_checksum(good, "quoter") == good.lower()
    other = "1" if good[place] != "1" else "2"
    with pytest.raises(BadConfiguration, match="checksum"):
        require_checksum(good[:place] + other + good[place + 1 :], "quoter")


def test_address_without_checksum_passes_and_nonsense_does_not():
    assert require_checksum("0x" + "ab" * 20, "router") == "0x" + "ab" * 20
    with pytest.raises(BadInput, match="no address"):
        require_checksum("0x1234", "router")


def test_all_chains_asked_for_are_there():
    slugs = {"ethereum": 1, "base": 8453, "arbitrum": 42161, "polygon": 137, "bsc": 56, "avalanche": 43114}
    assert {chain.slug: chain.chain_id for chain in PUBLIC} == slugs
    assert KNOWN_CHAINS.get_chain("local").chain_id == ChainId.anvil
    for slug, chain_id in slugs.items():
        assert KNOWN_CHAINS.get_chain(slug) is KNOWN_CHAINS.get_chain(chain_id)
        assert ChainId(chain_id).get_slug() == slug


@each_public
def test_public_chain_has_what_trading_needs(chain: Chain):
    assert chain.multicall == MULTICALL3
    assert chain.wrapped_native is not None
    assert chain.wrapped_native.symbol == "W" + chain.native_symbol
    assert {coin.token_symbol for coin in chain.list_stablecoins()} >= {"USDC"}
    kinds = {type(exchange.dex) for exchange in chain.exchanges}
    assert kinds == {UniswapV2Dex, UniswapV3Dex}
    assert chain.transaction_url("0x12").startswith("https://")
    assert chain.address_url("0x12").endswith("/address/0x12")


@each
def test_depths_fit_the_pace_of_the_chain(chain: Chain):
    setting = chain.execution
    assert setting.confirmations * chain.block_time_s <= 60
    assert setting.poll_s <= max(chain.block_time_s, 1.0)
    assert chain.client.max_lag * chain.block_time_s <= 30
    assert chain.gas.priority_fee_floor <= 30 * GWEI


@each_public
def test_exchanges_ask_for_approval_of_a_contract_of_theirs(chain: Chain):
    for exchange in chain.exchanges:
        assert exchange.dex.spender in exchange.dex.contracts
        assert len(set(exchange.dex.contracts)) == len(exchange.dex.contracts)
        assert all(0 < fee <= Fraction(1, 100) for fee in exchange.fees)


def test_polygon_never_tips_less_than_its_nodes_demand():
    fee = POLYGON.gas.offer(base_fee=100 * GWEI, advised_priority_fee=1)
    assert isinstance(fee, Fee)
    assert fee.priority_fee >= 25 * GWEI


def test_forks_differ_in_fees_and_routers():
    bsc = KNOWN_CHAINS.get_chain("bsc")
    assert bsc.get_exchange("pancakeswap-v2").fees == (Fraction(25, 10_000),)
    assert Fraction(25, 10_000) in bsc.get_exchange("pancakeswap-v3").fees
    pancake = bsc.get_exchange("pancakeswap-v3").dex
    assert isinstance(pancake, UniswapV3Dex)
    assert pancake.router_kind is RouterKind.swap_router
    assert bsc.get_token("USDC").decimals == 18
    assert ETHEREUM.get_token("USDC").decimals == 6
    assert ETHEREUM.get_token("WETH").chain_id == 1


def test_unknown_names_are_answered_with_a_suggestion():
    with pytest.raises(BadConfiguration, match="did you mean polygon"):
        KNOWN_CHAINS.get_chain("poligon")
    with pytest.raises(BadConfiguration, match=r"Chain id 99 is not known; known are 1 \(ethereum\)"):
        KNOWN_CHAINS.get_chain(99)
    with pytest.raises(BadConfiguration, match="did you mean uniswap-v3"):
        ETHEREUM.get_exchange("uniswapv3")
    with pytest.raises(BadConfiguration, match="did you mean USDC"):
        ETHEREUM.get_token("usdc")
    with pytest.raises(BadConfiguration, match="Known are none"):
        LOCAL.get_exchange("uniswap-v2")


def test_registries_are_values_side_by_side():
    mine = replace(LOCAL, exchanges=(uniswap_v2("mine", "Mine", "0x" + "11" * 20, "0x" + "22" * 20),))
    registry = KNOWN_CHAINS.with_chain(mine)
    assert registry.get_chain("local").get_exchange("mine").dex.spender == "0x" + "22" * 20
    assert KNOWN_CHAINS.get_chain("local").exchanges == ()
    assert LOCAL.transaction_url("0x12") == ""


def test_doubled_names_are_refused():
    token = KnownToken("USD", "0x" + "11" * 20, 6)
    with pytest.raises(BadConfiguration, match="token symbols of a local node are given twice: USD"):
        replace(LOCAL, tokens=(token, replace(token, address="0x" + "12" * 20)))
    with pytest.raises(BadConfiguration, match="chain slugs are given twice: ethereum"):
        KNOWN_CHAINS.with_chain(replace(ETHEREUM, chain_id=5))
