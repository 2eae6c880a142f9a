"""Open the swaps, or the share prices of vaults, of a deployment's chain as its candles."""

from __future__ import annotations

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.time import to_naive
from trading_dagster.evm.chain_feed import ChainFeed
from trading_dagster.evm.chain_source import ChainSource
from trading_dagster.evm.vault_price import VaultPriceSource
from trading_dagster.live.deployment import Deployment
from trading_dagster.live.deployment_data import ChainData


def open_chain_data(deployment: Deployment, data: ChainData) -> ChainSource | VaultPriceSource:
    """Return the pools or vaults that a deployment names; they know what is closed.

    Raises:
        BadConfiguration: The chain is not known, or a variable with a node's URL is not set.
        ContractMissing, NodeError: There is no such pool or vault, or no node answers.
    """
    assert deployment.chain is not None
    feed = ChainFeed(deployment.chain.name, deployment.chain.rpc_envs, since=to_naive(data.since), folder=data.folder)
    try:
        if data.vaults:
            return feed.open_vaults(data.vaults, confirmations=data.confirmations)
        return feed.open_source(data.pools, quote=data.quote, usd_tokens=data.usd, confirmations=data.confirmations)
    except BadConfiguration as error:
        raise BadConfiguration(f"{deployment.file}: data: {error}") from None
