"""What a vault that settles later is worth, takes and refuses, and whether it settles as the universe says."""

from __future__ import annotations

from datetime import datetime

import pytest
from evm.request_trader import SET_LATER, SET_SHARE, SHARE, USD, RequestTrader

from trading_dagster.domain.error import BadConfiguration, BadInput, InvalidTrade
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.evm.erc7540 import LaterSides, read_later_sides
from trading_dagster.evm.first_buy import FirstBuyCheck
from trading_dagster.evm.request_vault import open_vault
from trading_dagster.evm.vault_check import check_vaults
from trading_dagster.evm.vault_dex import LEAST_OUT, SIGN_UNTIL, TradedVault, VaultDex

AT = datetime(2026, 1, 1)


@pytest.mark.parametrize("deposits", [True, False])
@pytest.mark.parametrize("redemptions", [True, False])
def test_what_a_vault_settles_later_is_read_from_it(request_trader: RequestTrader, deposits: bool, redemptions: bool):
    trader, vault = request_trader, request_trader.vault
    vault.do(SET_LATER, deposits, redemptions)
    found = read_later_sides(trader.client, vault.address, trader.client.read_head())
    assert found == LaterSides(deposits, redemptions)
    dex = open_vault(TradedVault(vault.address), trader.wallet, found)
    assert (dex.later_sides, dex.locks_shares) == (found, redemptions)
    assert (type(dex) is VaultDex) == (not deposits and not redemptions)


def test_contract_that_knows_no_interfaces_settles_at_once(request_trader: RequestTrader):
    market, client = request_trader.rig.market, request_trader.client
    assert str(read_later_sides(client, market.usd, client.read_head())) == "nothing"


def test_price_is_that_of_the_shares_and_limits_are_not_known(request_trader: RequestTrader):
    trader = request_trader
    trader.vault.earn(250_000 * USD)
    pricing, pair = trader.pricing(), trader.shares
    assert pricing.get_buy_price(AT, pair, 1_000.0).price == pytest.approx(1.25, rel=1e-9)
    assert pricing.get_sell_price(AT, pair, 1_000.0).price == pytest.approx(1.25, rel=1e-6)
    assert (pricing.get_max_deposit(AT, pair), pricing.get_max_redemption(AT, pair)) == (None, None)


def test_limits_of_the_side_that_is_done_at_once_hold(request_trader: RequestTrader):
    trader = request_trader
    trader.vault.do(SET_LATER, True, False)
    trader.use_vault()
    head = trader.client.read_head()
    assert trader.vault_dex.read_max_deposit(trader.client, head) is None
    assert trader.vault_dex.read_max_redemption(trader.client, head) is None, "all of the 0 shares it has"
    assert trader.vault_dex.locks_shares is False


def test_request_names_the_wallet_and_what_it_should_be_worth(request_trader: RequestTrader):
    trader, wallet = request_trader, request_trader.wallet
    call = trader.vault_dex.build_swap(trader.routes.route_of(trader.shares, True), 7, 5, wallet, 1_000)
    assert (call.function, call.expires_at) == ("requestDeposit(uint256,address,address)", 0)
    assert call.arguments == {"assets": 7, "controller": wallet, "owner": wallet, LEAST_OUT: 5, SIGN_UNTIL: 1_000}
    back = trader.routes.route_of(trader.shares, False)
    assert trader.vault_dex.build_swap(back, SHARE, 5, wallet, 1_000).arguments["shares"] == SHARE
    with pytest.raises(BadInput, match="must be positive"):
        trader.vault_dex.build_swap(back, 0, 5, wallet, 1_000)


def test_universe_and_chain_must_say_the_same(request_trader: RequestTrader):
    trader, vault = request_trader, request_trader.vault
    at_once = vault.make_pair(VaultTerms("Now"))

    def check(pair) -> None:
        check_vaults(trader.client, [vault.address], [pair], trader.pairs.usd, trader.client.read_head())

    check(vault.pair)
    with pytest.raises(
        BadConfiguration, match=r"settles at once by its terms .* settles deposits and redemptions later"
    ):
        check(at_once)
    with pytest.raises(InvalidTrade, match="correct its VaultTerms"):
        trader.routes.exchange_of(at_once)
    vault.do(SET_LATER, False, True)
    check(vault.pair)
    vault.do(SET_LATER, False, False)
    check(at_once)
    with pytest.raises(BadConfiguration, match="settles nothing later"):
        check(vault.pair)


def test_vault_whose_shares_are_another_token_is_refused(request_trader: RequestTrader):
    trader, vault = request_trader, request_trader.vault
    vault.do(SET_SHARE, trader.rig.market.eth)
    with pytest.raises(BadConfiguration, match="ERC-7575"):
        check_vaults(trader.client, [vault.address], [vault.pair], trader.pairs.usd, trader.client.read_head())


def test_way_back_is_not_looked_for_where_it_is_requested(request_trader: RequestTrader):
    """A deposit that is made at once is probed alone; one that is requested cannot be."""
    trader, vault = request_trader, request_trader.vault
    guard = FirstBuyCheck(trader.client, trader.wallet, aggregator=trader.rig.market.aggregator)
    requested = trader.buy(trader.shares, 1_000)
    dex, route, head = trader.vault_dex, trader.routes.route_of(trader.shares, True), trader.client.read_head()
    assert guard.check(trader.state, requested, dex, route, head) is None
    vault.do(SET_LATER, False, True)
    trader.use_vault()
    bought = trader.buy(trader.shares, 1_000)
    probe = guard.check(trader.state, bought, trader.vault_dex, route, trader.client.read_head())
    assert (probe.can_buy, probe.buy_tax, probe.can_sell) == (True, 0, False)
