"""What a deployment's file says about vault and exchange is what its venue trades with."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from pathlib import Path

import pandas as pd
import pytest

import trading_dagster as td
from trading_dagster.domain.error import BadConfiguration
from trading_dagster.evm.chain_data import KNOWN_CHAINS
from trading_dagster.evm.uniswap_v3 import RouterKind, UniswapV3Dex
from trading_dagster.evm.vault_dex import TradedVault
from trading_dagster.live.chain_opening import describe_pools, find_exchange
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.evm_venue import EvmVenue
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_live
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.mapped_source import MappedSource
from trading_dagster.market.memory_source import MemorySource

STRATEGIES = Path(__file__).parents[2] / "strategies"
VAULT = "0x" + "ab" * 20
KEY = "0x" + "1f" * 32
LIVE = """
strategy: {folder}/ema_cross.py
mode: live
chain: {{name: {chain}, rpc_envs: [TEST_RPC]}}
exchange: {exchange}
wallet: {{key_env: TEST_KEY{wallet}}}
pairs:
  - data: BTC/USD@coinbase
    base: {{symbol: WBTC, address: "0x1111111111111111111111111111111111111111", decimals: 8}}
    quote: {{symbol: USDC, address: "0x2222222222222222222222222222222222222222", decimals: 6}}
    pool: "0x3333333333333333333333333333333333333333"
    fee: 0.0025
"""
CONTRACTS = (
    'factory: "0x4444444444444444444444444444444444444444", router: "0x5555555555555555555555555555555555555555"'
)
V3 = f'kind: uniswap_v3, {CONTRACTS}, quoter: "0x6666666666666666666666666666666666666666"'


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a deployment file."""
    monkeypatch.setenv("TEST_RPC", "http://localhost:1")
    monkeypatch.setenv("TEST_KEY", KEY)

    def make(*, chain: str = "base", exchange: str = "slug: uniswap-v3", wallet: str = "") -> Path:
        path = tmp_path / "vaulted.yaml"
        text = LIVE.format(folder=STRATEGIES, chain=chain, exchange="{" + exchange + "}", wallet=wallet)
        path.write_text(text, encoding="utf-8")
        return path

    return make


def open_venue(path: Path) -> EvmVenue:
    live: LiveStrategy = open_live(read_deployment(path), LiveHome(path.parent / "home"))
    live.store.close()
    assert isinstance(live.venue, EvmVenue)
    return live.venue


def test_vault_is_who_has_the_money_and_the_wallet_signs(write):
    venue = open_venue(write(wallet=f', vault: "{VAULT}", vault_first_block: 1234'))
    assert venue.vault is not None
    assert (venue.vault.vault, venue.vault.first_block) == (VAULT, 1234)
    assert venue.trader.address == VAULT
    assert venue.trader.account == venue.account
    assert venue.lease_resources == (f"wallet:{venue.wallet.address}", f"vault:8453:{VAULT.lower()}")
    assert open_venue(write()).trader.address == venue.wallet.address


def test_own_fees_of_a_fund_are_refused_where_a_vault_takes_its_own(write):
    path = write(wallet=f', vault: "{VAULT}", vault_first_block: 1234')
    fees = "parameters: {fund_fees: {management: 0.02}}\n"
    text = path.read_text(encoding="utf-8")
    path.write_text(text + fees, encoding="utf-8")
    with pytest.raises(BadConfiguration, match=f"fund_fees would be taken twice: vault {VAULT}"):
        open_venue(path)
    path.write_text(text + fees.replace("{management: 0.02}", "false"), encoding="utf-8")
    assert open_venue(path).vault is not None


def test_costs_of_the_strategy_are_named_as_not_used_on_a_chain(write, tmp_path, caplog):
    path = write()
    text = (STRATEGIES / "ema_cross.py").read_text(encoding="utf-8")
    costly = text.replace("class Parameters:\n", "class Parameters:\n    costs = (td.Slippage(bps=5),)\n")
    (tmp_path / "costly.py").write_text(costly, encoding="utf-8")
    open_venue(path)
    assert "costs" not in caplog.text
    path.write_text(
        path.read_text(encoding="utf-8").replace(f"{STRATEGIES}/ema_cross.py", "costly.py"), encoding="utf-8"
    )
    open_venue(path)
    assert "Parameters.costs are for backtests and paper" in caplog.text
    assert "Slippage(bps=5" in caplog.text


def test_vault_of_a_local_chain_is_read_from_its_beginning(write):
    venue = open_venue(write(chain="local", exchange=f"kind: uniswap_v2, {CONTRACTS}", wallet=f', vault: "{VAULT}"'))
    assert venue.vault is not None
    assert venue.vault.first_block == 0


@pytest.mark.parametrize(
    ("wallet", "expected"),
    [
        (f', vault: "{VAULT}"', "wallet.vault_first_block is missing: give the block in which the vault was made"),
        (", vault_first_block: 5", "vault_first_block is given without a vault"),
        (f", vault: {VAULT}, vault_first_block: 5", "wallet.vault: .* put quotes around it"),
        (', vault: "0xabc", vault_first_block: 5', "wallet.vault: '0xabc' cannot be used"),
        (f', vault: "{VAULT}", vault_first_block: -5', "wallet.vault_first_block: -5 cannot be used"),
    ],
)
def test_vaults_that_cannot_be_read_are_refused(write, wallet, expected):
    with pytest.raises(BadConfiguration, match=expected):
        read_deployment(write(wallet=wallet))


def test_vault_with_a_typo_breaks_its_checksum(write):
    path = write(wallet=', vault: "0xcBB7C0000aB88B473b1f5aFd9ef808440eed33Bf", vault_first_block: 5')
    with pytest.raises(BadConfiguration, match=r"wallet\.vault 0xcBB7.* breaks its own checksum"):
        open_venue(path)


def test_own_v3_exchange_says_its_router_and_fees(write):
    dex = find_exchange(read_deployment(write(exchange=f"{V3}, router_kind: swap_router, fee_tiers: [0.0001, 0.0025]")))
    assert isinstance(dex.dex, UniswapV3Dex)
    assert dex.dex.router_kind is RouterKind.swap_router
    assert dex.dex.fee_tiers == dex.fees == (Fraction(1, 10_000), Fraction(25, 10_000))
    default = find_exchange(read_deployment(write(exchange=V3))).dex
    assert isinstance(default, UniswapV3Dex)
    assert default.router_kind is RouterKind.swap_router_02
    assert len(default.fee_tiers) == 4


@pytest.mark.parametrize(
    ("exchange", "expected"),
    [
        (f"{V3}, router_kind: swap_router_03", "exchange.router_kind: 'swap_router_03' cannot be used"),
        (f"{V3}, fee_tiers: [0.00000001]", "exchange: The fee .* is none of a v3 pool"),
        (f"{V3}, fee_tiers: []", "exchange: uniswap-v3 has no fee tiers"),
        ("slug: uniswap-v3, fee_tiers: [0.003]", "slug and contracts are given"),
        (
            f"kind: uniswap_v2, {CONTRACTS}, router_kind: swap_router",
            "router_kind and fee_tiers are for kind uniswap_v3",
        ),
    ],
)
def test_exchanges_that_cannot_be_are_refused(write, exchange, expected):
    with pytest.raises(BadConfiguration, match=expected):
        find_exchange(read_deployment(write(exchange=exchange)))


def test_public_chain_must_be_at_the_present_and_a_local_one_need_not(write):
    public = open_venue(write(chain="ethereum"))
    assert (public.max_head_age, public.max_clock_skew) == (timedelta(minutes=4), timedelta(minutes=1))
    local = open_venue(write(chain="local", exchange=f"kind: uniswap_v2, {CONTRACTS}"))
    assert (local.max_head_age, local.max_clock_skew) == (None, None)


def add(path: Path, text: str) -> Path:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
    return path


def test_lending_pool_is_the_registrys_or_ones_own(write):
    venue = open_venue(add(write(), "lending: {}\n"))
    assert venue.lending is not None
    assert venue.lending.pool.pool == KNOWN_CHAINS.get_chain("base").aave_v3
    assert venue.lending.limits.min_health == Fraction(105, 100)
    own = open_venue(add(write(), f'lending: {{pool: "{VAULT}", min_health: 1.2}}\n'))
    assert own.lending is not None
    assert (own.lending.pool.pool, own.lending.limits.min_health) == (VAULT, Fraction(12, 10))
    assert open_venue(write()).lending is None


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("{min_health: 1.0}", "lending.min_health: 1.0 cannot be used"),
        ("{protocol: aave_v2}", "lending.protocol: 'aave_v2' cannot be used"),
        ('{pool: "0x12"}', "lending.pool: '0x12' cannot be used"),
    ],
)
def test_lending_that_makes_no_sense_is_refused(write, terms, expected):
    with pytest.raises(BadConfiguration, match=expected):
        read_deployment(add(write(), f"lending: {terms}\n"))


def test_lending_needs_a_known_pool_a_hot_wallet_and_a_chain(write):
    local = write(chain="local", exchange=f"kind: uniswap_v2, {CONTRACTS}")
    with pytest.raises(BadConfiguration, match=r"lending.pool: the registry knows no pool of Aave v3"):
        open_venue(add(local, "lending: {}\n"))
    with pytest.raises(BadConfiguration, match=r"lending.pool: .* breaks its own checksum"):
        open_venue(add(write(), 'lending: {pool: "0xcBB7C0000aB88B473b1f5aFd9ef808440eed33Bf"}\n'))
    with pytest.raises(BadConfiguration, match="lending is for hot wallets"):
        read_deployment(add(write(wallet=f', vault: "{VAULT}", vault_first_block: 5'), "lending: {}\n"))
    paper = write()
    text = paper.read_text(encoding="utf-8").replace("mode: live", "mode: paper")
    paper.write_text("".join(line for line in text.splitlines(keepends=True) if "wallet:" not in line))
    with pytest.raises(BadConfiguration, match="lending is for mode live"):
        read_deployment(add(paper, "lending: {}\n"))


SHARES = "0x1111111111111111111111111111111111111111"


def write_vaults(path: Path, *vaults: str, pool: str = SHARES) -> Path:
    """Name vaults in a deployment, and make its pair that of one."""
    text = path.read_text(encoding="utf-8").replace("0x3333333333333333333333333333333333333333", pool)
    listing = ", ".join(f'{{address: "{vault}"{", locks_shares: true" if vault == VAULT else ""}}}' for vault in vaults)
    path.write_text(f"{text.replace('    fee: 0.0025', '')}vaults: [{listing}]\n", encoding="utf-8")
    return path


def test_named_vaults_may_be_traded_and_their_pairs_are_vaults(write):
    path = write_vaults(write(), SHARES, VAULT)
    assert open_venue(path).vaults == (TradedVault(SHARES), TradedVault(VAULT, locks_shares=True))
    (pair,) = describe_pools(read_deployment(path)).values()
    assert pair.is_vault()
    assert (pair.base.address, pair.pool_address, pair.fee, pair.exchange_name) == (SHARES, SHARES, 0.0, "erc4626")
    assert open_venue(write()).vaults == ()


def test_strategy_names_a_vault_as_the_data_do_or_by_its_address(write):
    prices = dict.fromkeys(("open", "high", "low", "close"), 1.0)
    days = pd.date_range("2024-01-01", periods=30, freq="D").as_unit("us")
    candles = pd.DataFrame({"timestamp": days, "pair": "BTC/USD", **prices, "volume": 0.0})
    source = MemorySource({td.TimeBucket.d1: candles}, exchange="coinbase")
    mapped = MappedSource(source, describe_pools(read_deployment(write_vaults(write(), SHARES))))
    terms = td.VaultTerms("Safe", protocol="euler")
    in_data = (td.ChainId.centralised_exchange, "coinbase", "BTC", "USD")
    for name in (in_data, (td.ChainId.base, "erc4626", "WBTC", "USDC"), (td.ChainId.base, SHARES)):
        dataset = td.load_partial_data(mapped, None, td.TimeBucket.d1, pairs=[], vaults=[td.Vault(name, terms)])
        universe = td.TradingStrategyUniverse.create_from_dataset(dataset)
        pair = universe.get_pair_by_vault_name("Safe")
        assert (pair.is_vault(), pair.base.address, pair.fee) == (True, SHARES, 0.0)
        assert universe.get_pair_by_human_description(in_data) == pair


@pytest.mark.parametrize(
    ("vaults", "more", "problem"),
    [
        ((SHARES, SHARES), {}, "vaults.1.address: 0x1111.* is named twice"),
        (("0x52908400098527886E0F7030069857D2E4169Ee7",), {}, "vaults.0.address: .*checksum"),
        ((SHARES,), {"pool": VAULT}, "pairs.0.pool: it is 0xabab.*, but base is the vault"),
        (("SAFE",), {}, "vaults.0.address: 'SAFE' cannot be used"),
    ],
)
def test_vaults_that_cannot_be_meant_are_refused(write, vaults, more, problem):
    path = write_vaults(write(), *vaults, **more)
    with pytest.raises(BadConfiguration, match=problem):
        describe_pools(read_deployment(path))


def test_a_vault_that_is_managed_trades_no_shares_of_others(write):
    path = write_vaults(write(wallet=f', vault: "{VAULT}", vault_first_block: 1'), SHARES)
    with pytest.raises(BadConfiguration, match="vaults are for hot wallets"):
        read_deployment(path)
