"""Vaults among the markets of a source."""

from datetime import timedelta

import pandas as pd
import pytest

import trading_dagster as td
from trading_dagster.domain.error import BadInput, UnknownPair
from trading_dagster.domain.identifier import TradingPairKind
from trading_dagster.market.memory_source import MemorySource

CHAIN = td.ChainId.centralised_exchange
WETH, SHARE = (CHAIN, "venue", "WETH", "USDC"), (CHAIN, "venue", "SHARE", "USDC")
TERMS = td.VaultTerms("Savings", "euler", settlement_delay=timedelta(days=3))


def source() -> MemorySource:
    days = pd.date_range("2024-01-01", periods=5, freq="D").as_unit("us")
    frames = [
        pd.DataFrame({"timestamp": days, "pair": pair, "open": p, "high": p, "low": p, "close": p, "volume": 0.0})
        for pair, p in (("WETH/USDC", 2_000.0), ("SHARE/USDC", 1.5))
    ]
    return MemorySource({td.TimeBucket.d1: pd.concat(frames, ignore_index=True)}, exchange="venue", fee=None)


def load(**arguments):
    return td.load_partial_data(source(), None, td.TimeBucket.d1, trading_fee=0.003, **arguments)


def test_vault_is_loaded_beside_the_pairs_with_its_terms():
    dataset = load(pairs=[WETH], vaults=[td.Vault(SHARE, TERMS)])

    market, vault = dataset.pairs
    assert (market.kind, market.fee) == (TradingPairKind.spot_market_hold, 0.003)
    assert vault.kind is TradingPairKind.vault
    assert td.VaultTerms.of_pair(vault) == TERMS
    assert vault.get_ticker() == "SHARE-USDC"


def test_without_pairs_all_markets_are_loaded_and_the_vaults_among_them_are_vaults():
    dataset = load(vaults=[SHARE])

    kinds = {pair.get_ticker(): pair.kind for pair in dataset.pairs}
    assert kinds == {"SHARE-USDC": TradingPairKind.vault, "WETH-USDC": TradingPairKind.spot_market_hold}
    assert td.VaultTerms.of_pair(next(p for p in dataset.pairs if p.is_vault())).name == "SHARE"


def test_vault_has_no_fee_unless_its_market_has_one():
    assert load(pairs=[], vaults=[SHARE]).pairs[0].fee == 0.003
    assert td.load_partial_data(source(), None, td.TimeBucket.d1, pairs=[], vaults=[SHARE]).pairs[0].fee == 0.0


@pytest.mark.parametrize(
    ("vaults", "error", "message"),
    [
        ([(CHAIN, "venue", "SHAER", "USDC")], UnknownPair, r"did you mean .*SHARE"),
        ([(td.ChainId.base, "0x1234")], UnknownPair, "no vault 0x1234 on chain 8453"),
        ([SHARE, td.Vault(SHARE, TERMS)], BadInput, "named twice"),
    ],
)
def test_vault_that_cannot_be_found_is_refused(vaults, error, message):
    with pytest.raises(error, match=message):
        load(pairs=[WETH], vaults=vaults)


def test_universe_finds_a_vault_by_its_name():
    universe = td.TradingStrategyUniverse.create_from_dataset(load(pairs=[WETH], vaults=[td.Vault(SHARE, TERMS)]))

    assert universe.get_pair_by_vault_name("Savings") == universe.get_pair_by_human_description(SHARE)
    with pytest.raises(UnknownPair, match=r"Saving'.*Savings"):
        universe.get_pair_by_vault_name("Saving")
