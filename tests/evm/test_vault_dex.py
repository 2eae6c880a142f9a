"""What a vault would give, take and refuse, read from a real one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from fractions import Fraction

import pytest
from evm.deployment import Market
from evm.share_trader import (
    OPEN,
    SET_ASYNC,
    SET_CAPS,
    SET_FEE,
    SHARE,
    USD,
    ShareTrader,
    ShareVault,
    deploy_share_vault,
)

from trading_dagster.domain.error import (
    BadConfiguration,
    BadInput,
    ContractMissing,
    InvalidTrade,
    PoolEmpty,
    TokenUnsafe,
    VaultClosed,
)
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.vault import VaultLimit, VaultTerms
from trading_dagster.evm.amm_pricing import AmmMarks, AmmPricing
from trading_dagster.evm.dex import Hop, Route
from trading_dagster.evm.erc4626 import TOTAL_SUPPLY
from trading_dagster.evm.past_price import PastPrices
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.vault_check import check_vaults
from trading_dagster.evm.vault_dex import LEAST_OUT, REDEEM, SIGN_UNTIL
from trading_dagster.market.vault import to_vault

AT = datetime(2026, 1, 1)


def test_price_is_what_shares_are_worth_whatever_the_size(share_trader: ShareTrader):
    share_trader.vault.earn(250_000 * USD)
    pricing = share_trader.pricing()
    assert pricing.get_mid_price(AT, share_trader.shares) == pytest.approx(1.25, rel=1e-12)
    for usd in (1.0, 100_000.0):
        assert pricing.get_buy_price(AT, share_trader.shares, usd).price == pytest.approx(1.25, rel=1e-6)
        assert pricing.get_sell_price(AT, share_trader.shares, usd).price == pytest.approx(1.25, rel=1e-6)
    assert pricing.get_pair_fee(AT, share_trader.shares) == 0


def test_fees_of_a_vault_are_in_its_prices_and_count_as_impact(share_trader: ShareTrader):
    share_trader.vault.do(SET_FEE, 100)
    buy = share_trader.pricing().get_buy_price(AT, share_trader.shares, 1_000.0)
    assert (buy.price, buy.mid_price) == (pytest.approx(1 / 0.99, rel=1e-9), pytest.approx(1.0, rel=1e-12))
    head = share_trader.client.read_head()
    quote = share_trader.vault_dex.quote(share_trader.client, share_trader.route(), 1_000 * USD, head)
    assert quote.price_impact == Fraction(1, 100)


def test_limits_are_the_vaults_and_those_of_its_terms(share_trader: ShareTrader):
    trader, vault = share_trader, share_trader.vault
    trader.execute(trader.buy(trader.shares, 1_000))
    pricing = trader.pricing()
    assert pricing.get_max_deposit(AT, trader.shares) is None
    assert pricing.get_max_redemption(AT, trader.shares) is None
    assert pricing.get_max_deposit(AT, trader.pairs.eth_usd) is None
    vault.do(SET_CAPS, 5_000 * USD, 400 * SHARE)
    pricing = trader.pricing()
    assert pricing.get_max_deposit(AT, trader.shares) == 5_000
    assert pricing.get_max_redemption(AT, trader.shares) == pytest.approx(400)
    terms = VaultTerms(limits=(VaultLimit(datetime(2025, 1, 1), max_deposit=100, max_redemption=None),))
    stricter, pricing = to_vault(trader.shares, terms), trader.pricing()
    assert pricing.get_max_deposit(AT, stricter) == 100
    assert pricing.get_max_redemption(AT, stricter) == pytest.approx(400)
    vault.do(SET_CAPS, 0, 0)
    pricing = trader.pricing()
    assert (pricing.get_max_deposit(AT, trader.shares), pricing.get_max_redemption(AT, trader.shares)) == (0, 0)


def test_limits_of_a_vault_that_tells_none_are_not_known(share_trader: ShareTrader):
    trader, vault = share_trader, share_trader.vault
    trader.execute(trader.buy(trader.shares, 1_000))
    silent = replace(trader.vault_dex, tells_limits=False)
    trader.routes = RouteTable(trader.dex, trader.pairs.usd, trader.pairs.all, {vault.address: silent})
    vault.do(SET_CAPS, 0, 0)
    pricing = trader.pricing()
    assert (pricing.get_max_deposit(AT, trader.shares), pricing.get_max_redemption(AT, trader.shares)) == (None, None)
    buy = trader.buy(trader.shares, 1_000)
    trader.execute(buy)
    assert buy.failure == "refused: the simulation reverted: above the cap"


def test_what_is_held_counts_what_redeeming_it_would_bring(share_trader: ShareTrader):
    trader = share_trader
    trader.execute(trader.buy(trader.shares, 1_000))
    trader.vault.earn(100_100 * USD)
    marks = AmmMarks(trader.pricing(), trader.state, AT)
    assert marks.price_of(trader.shares) == pytest.approx(1.1, rel=1e-9)
    trader.vault.do(SET_FEE, 50)
    assert AmmMarks(trader.pricing(), trader.state, AT).price_of(trader.shares) == pytest.approx(1.1 * 0.995, rel=1e-9)


def test_shares_of_a_vault_that_tells_no_redemption_count_at_their_price(share_trader: ShareTrader):
    trader = share_trader
    trader.execute(trader.buy(trader.shares, 1_000))
    trader.vault.do(SET_ASYNC, True)
    assert AmmMarks(trader.pricing(), trader.state, AT).price_of(trader.shares) == pytest.approx(1.0)
    with pytest.raises(VaultClosed, match="began to settle later"):
        trader.pricing().get_sell_price(AT, trader.shares, 10.0)


def test_past_price_of_shares_is_read_at_its_block(share_trader: ShareTrader):
    trader = share_trader
    buy = trader.buy(trader.shares, 1_000)
    trader.execute(buy)
    trader.vault.earn(100_000 * USD)
    past = PastPrices(trader.client, trader.dex, {trader.vault.address: trader.vault_dex})
    assert past.mid_before_fill(buy) == pytest.approx(1.0, rel=1e-9)


def test_call_has_no_deadline_and_says_what_it_should_bring(share_trader: ShareTrader):
    wallet = share_trader.rig.wallet.address
    call = share_trader.vault_dex.build_swap(share_trader.route(), 7, 5, wallet, 1_000)
    assert (call.to, call.expires_at, call.function) == (share_trader.vault.address, 0, "deposit(uint256,address)")
    assert call.arguments == {"assets": 7, "receiver": wallet, LEAST_OUT: 5, SIGN_UNTIL: 1_000}
    call = share_trader.vault_dex.build_swap(share_trader.route(is_buy=False), 7, 5, wallet, 1_000)
    assert call.function == "redeem(uint256,address,address)"
    assert call.arguments["owner"] == wallet
    with pytest.raises(BadInput, match="must be positive"):
        share_trader.vault_dex.build_swap(share_trader.route(), 0, 5, wallet, 1_000)
    other = Route((Hop(share_trader.rig.market.usd, share_trader.rig.market.eth),))
    with pytest.raises(BadInput, match="its asset against its shares"):
        share_trader.vault_dex.build_swap(other, 1, 1, wallet, 1_000)


def test_vault_without_shares_has_no_price_and_takes_no_money(share_trader: ShareTrader, share_vault_code: str):
    market, client = share_trader.rig.market, share_trader.client
    empty = deploy_share_vault(market, share_vault_code, invested=0)
    routes = RouteTable(share_trader.dex, share_trader.pairs.usd, [], {empty.address: empty.dex(market.owner)})
    with pytest.raises(PoolEmpty, match="0 units of shares"):
        AmmPricing(client, routes).get_mid_price(AT, empty.pair)
    dex, head = empty.dex(market.owner), client.read_head()
    with pytest.raises(TokenUnsafe, match="0 units of shares out"):
        dex.require_open(client, routes.route_of(empty.pair, True), USD, head)


def test_vault_of_one_who_waits_for_the_next_deposit_takes_no_money(share_trader: ShareTrader, share_vault_code: str):
    """The first depositor has one unit of shares and sends assets: the next one is rounded down to nothing."""
    market, client = share_trader.rig.market, share_trader.client
    vault = deploy_share_vault(market, share_vault_code, invested=1)
    dex = vault.dex(market.owner)
    route = Route((Hop(market.usd, vault.address),))
    (shares,) = client.call(vault.address, TOTAL_SUPPLY, (), "latest")
    market.node.do(market.owner, vault.address, REDEEM.encode(shares - 1, market.owner, market.owner))
    with pytest.raises(TokenUnsafe, match="1 units of shares out, fewer than 1000000"):
        dex.require_open(client, route, 1_000 * USD, client.read_head())


def test_vault_that_takes_less_or_holds_another_token_is_refused(share_trader: ShareTrader):
    trader, vault = share_trader, share_trader.vault
    client, dex, route = trader.client, trader.vault_dex, trader.route()
    vault.do(SET_CAPS, 5 * USD, OPEN)
    dex.require_open(client, route, 5 * USD, client.read_head())
    with pytest.raises(VaultClosed, match="takes deposits of at most 5000000 units of assets"):
        dex.require_open(client, route, 5 * USD + 1, client.read_head())
    wrong = Route((Hop(trader.rig.market.eth, vault.address),))
    with pytest.raises(InvalidTrade, match=r"holds 0x.*, the pair says 0x"):
        dex.require_open(client, wrong, 1, client.read_head())


def test_vault_that_says_nothing_is_closed(share_trader: ShareTrader):
    trader = share_trader
    trader.rig.market.node.rpc("anvil_setCode", trader.vault.address, "0x60006000fd")
    head = trader.client.read_head()
    with pytest.raises(VaultClosed, match="does not say what it holds"):
        trader.vault_dex.require_open(trader.client, trader.route(), USD, head)
    assert trader.vault_dex.read_max_deposit(trader.client, head) == 0
    with pytest.raises(PoolEmpty, match="does not say what its shares are worth"):
        trader.pricing().get_mid_price(AT, trader.shares)


def test_pair_whose_vault_is_not_named_or_settles_otherwise_is_not_traded(share_trader: ShareTrader):
    trader = share_trader
    routes = RouteTable(trader.dex, trader.pairs.usd, trader.pairs.all)
    with pytest.raises(InvalidTrade, match="does not name"):
        routes.exchange_of(trader.shares)
    later = to_vault(trader.shares, VaultTerms(settlement_delay=AT - datetime(2025, 12, 31)))
    with pytest.raises(InvalidTrade, match="settles later by its terms, its vault says that it settles nothing later"):
        trader.routes.exchange_of(later)
    assert routes.exchange_of(trader.pairs.eth_usd) is trader.dex


def test_vaults_of_a_deployment_are_checked_before_anything_is_traded(
    share_trader: ShareTrader, share_vault: ShareVault
):
    trader, vault = share_trader, share_vault
    market: Market = trader.rig.market
    client, head = trader.client, trader.client.read_head()

    def check(*named: str, pairs=(), reserve: AssetIdentifier = trader.pairs.usd, block=head) -> None:
        check_vaults(client, named, pairs, reserve, block)

    check()
    check(vault.address, pairs=[vault.pair])
    with pytest.raises(BadConfiguration, match="does not name"):
        check(pairs=[vault.pair])
    with pytest.raises(ContractMissing, match="There is no vault at 0x"):
        check("0x" + "12" * 20)
    with pytest.raises(BadConfiguration, match="is no ERC-4626 vault"):
        check(market.eth)
    with pytest.raises(BadConfiguration, match="only vaults of the reserve"):
        check(vault.address, reserve=trader.pairs.eth_usd.base)
    with pytest.raises(BadConfiguration, match=r"settles later by its terms .* settles nothing later"):
        check(vault.address, pairs=[to_vault(vault.pair, VaultTerms(settlement_delay=AT - datetime(2025, 12, 31)))])
    vault.do(SET_ASYNC, True)
    check(vault.address, block=client.read_head())
    with pytest.raises(BadConfiguration, match=r"at once by its terms .* settles deposits and redemptions later"):
        check(vault.address, pairs=[vault.pair], block=client.read_head())
