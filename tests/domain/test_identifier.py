"""Identifiers: what makes two of them equal, and which are refused."""

from __future__ import annotations

import math
import pickle

import pytest
from tape import DEX, USDC, WETH_USDC, pair_of, token

from trading_dagster.domain.error import BadInput
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier, TradingPairKind

WETH = token(2, "WETH")
VTOKEN = token(4, "vWETH")


def test_asset_is_its_chain_and_address():
    same = AssetIdentifier(1, "0xABcd", "OTHER", 6, internal_id=7)
    asset = AssetIdentifier(ChainId.ethereum, "0xabCD", "WETH", 18)
    assert asset == same
    assert hash(asset) == hash(same)
    assert asset.address == "0xabcd"
    assert asset != AssetIdentifier(ChainId.polygon, "0xabcd", "WETH", 18)
    assert asset != AssetIdentifier(ChainId.ethereum, "0xabce", "WETH", 18)
    assert asset != "0xabcd"
    assert asset.get_identifier() == "1-0xabcd"


@pytest.mark.parametrize("address", ["", "abcd", "0Xabcd", " 0xabcd"])
def test_asset_address_without_0x_is_refused(address):
    with pytest.raises(BadInput, match=r"WETH must start with 0x") as error:
        AssetIdentifier(1, address, "WETH")
    assert repr(address) in str(error.value)


@pytest.mark.parametrize("decimals", [-1, 37])
def test_impossible_decimals_are_refused(decimals):
    with pytest.raises(BadInput, match=f"WETH has {decimals} decimals: expected 0 to 36"):
        AssetIdentifier(1, "0x1", "WETH", decimals)


def test_pair_is_its_tokens_and_fee():
    pair = pair_of(1, WETH, USDC, fee=0.003)
    elsewhere = TradingPairIdentifier(WETH, USDC, "0x99", "0x98", internal_id=55, fee=0.003, exchange_name="other")
    assert pair == elsewhere
    assert hash(pair) == hash(elsewhere)
    assert pair != pair_of(1, WETH, USDC, fee=0.0005)
    assert pair != pair_of(1, WETH, USDC)
    assert pair != pair_of(1, USDC, WETH, fee=0.003)
    assert pair != "WETH-USDC"
    assert pair.get_ticker() == "WETH-USDC"


def test_identifiers_stay_equal_through_pickle():
    pair = pickle.loads(pickle.dumps(WETH_USDC))
    assert pair == WETH_USDC
    assert hash(pair) == hash(WETH_USDC)
    assert {WETH_USDC: 1}[pair] == 1


@pytest.mark.parametrize("fee", [-0.001, 1, 30, 3000, math.nan, math.inf])
def test_fee_that_is_no_fraction_is_refused(fee):
    with pytest.raises(BadInput, match=r"0\.003 means 0\.3 %") as error:
        pair_of(1, WETH, USDC, fee=fee)
    assert str(fee) in str(error.value)


@pytest.mark.parametrize("fee", [None, 0, 0.0, 0.003, 0.999])
def test_fee_from_zero_to_below_one_is_accepted(fee):
    assert pair_of(1, WETH, USDC, fee=fee).fee == fee


def test_loans_are_priced_by_their_spot_pair_and_others_by_themselves():
    spot = pair_of(1, WETH, USDC, fee=0.003)
    short = pair_of(2, VTOKEN, USDC, kind=TradingPairKind.lending_protocol_short, underlying_spot_pair=spot)
    vault = pair_of(3, token(5, "SHARE"), USDC, kind=TradingPairKind.vault)
    credit = pair_of(4, token(6, "aUSDC"), USDC, kind=TradingPairKind.credit_supply)
    assert spot.get_pricing_pair() is spot
    assert vault.get_pricing_pair() is vault
    assert short.get_pricing_pair() is spot
    assert credit.get_pricing_pair() is credit


def test_leveraged_pair_without_spot_pair_is_refused():
    with pytest.raises(BadInput, match=r"lending_protocol_short needs its underlying_spot_pair"):
        pair_of(2, VTOKEN, USDC, kind=TradingPairKind.lending_protocol_short)


@pytest.mark.parametrize(
    ("kind", "true"),
    [
        ("spot_market_hold", {"is_spot"}),
        ("spot_market_rebase_token", {"is_spot"}),
        ("vault", {"is_vault"}),
        ("credit_supply", {"is_credit_supply"}),
        ("lending_protocol_short", {"is_short", "is_leverage"}),
        ("lending_protocol_long", {"is_leverage"}),
        ("cash", set()),
    ],
)
def test_kinds_answer_what_they_are(kind, true):
    pair = pair_of(2, VTOKEN, USDC, kind=TradingPairKind(kind), underlying_spot_pair=WETH_USDC)
    asked = ("is_spot", "is_vault", "is_credit_supply", "is_short", "is_leverage")
    assert {name for name in asked if getattr(pair, name)()} == true


def test_only_a_vault_marked_so_settles_later():
    share = token(5, "SHARE")
    vault = TradingPairKind.vault
    assert not pair_of(3, share, USDC, kind=vault).is_async_vault()
    assert pair_of(3, share, USDC, kind=vault, other_data={"async_vault": True}).is_async_vault()
    assert not pair_of(3, share, USDC, other_data={"async_vault": True}).is_async_vault()


def test_pool_and_exchange_addresses_are_lower_case():
    pair = TradingPairIdentifier(WETH, USDC, "0xAB", "0xCD")
    assert (pair.pool_address, pair.exchange_address) == ("0xab", "0xcd")
    assert DEX.address in str(WETH_USDC)
