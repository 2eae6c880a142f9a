"""Open what is read from a chain, swaps, share prices, rates, by the names of it and of its nodes' variables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trading_dagster.domain.error import BadConfiguration, CallReverted
from trading_dagster.domain.time import to_unix_us
from trading_dagster.evm.block_time import US, find_first_block
from trading_dagster.evm.chain import Chain, ChainRegistry
from trading_dagster.evm.chain_data import KNOWN_CHAINS
from trading_dagster.evm.chain_source import ChainSource
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.pool import read_pool
from trading_dagster.evm.vault_price import VaultPriceSource

EVENTS_VARIABLE = "TRADING_DAGSTER_CHAIN_EVENTS"
DEFAULT_EVENTS = Path(".trading-dagster") / "chain"
LOG_TIMEOUT_S = 60.0
"""Answers with many logs take long."""


@dataclass(frozen=True, slots=True)
class ChainFeed:
    """Which chain is read, through which nodes, from when on.

    Attributes:
        chain: Slug of the chain, such as "ethereum".
        rpc_envs: The environment variables that hold the URLs of nodes, the best first.
        first_block: The first block to read; None goes by ``since``, or from the chain's first block.
        since: The time from which to read, naive UTC.
        folder: Where events are kept; None takes TRADING_DAGSTER_CHAIN_EVENTS, or .trading-dagster/chain.
        registry: The chains that are known.
    """

    chain: str
    rpc_envs: Sequence[str]
    first_block: int | None = None
    since: datetime | None = None
    folder: Path | None = None
    registry: ChainRegistry = KNOWN_CHAINS

    def open_client(self) -> EvmClient:
        """Return a client of the nodes; raises BadConfiguration when a variable is not set, WrongChain, NodeError."""
        if not self.rpc_envs:
            raise BadConfiguration("No node is named: give the environment variable that holds a JSON-RPC URL")
        chain = self.describe()
        endpoints = [HttpEndpoint.from_environment(name, timeout_s=LOG_TIMEOUT_S) for name in self.rpc_envs]
        client = EvmClient(endpoints, chain.chain_id, chain.client)
        client.connect()
        return client

    def describe(self) -> Chain:
        """Return what is known of the chain; raises BadConfiguration."""
        return self.registry.get_chain(self.chain)

    def events_folder(self) -> Path:
        """Return where events of this chain are kept."""
        root = self.folder or Path(os.environ.get(EVENTS_VARIABLE) or DEFAULT_EVENTS)
        return root / self.describe().slug

    def find_first_block(self, client: EvmClient) -> int:
        """Return the first block to read."""
        if self.first_block is not None or self.since is None:
            return self.first_block or 0
        head = client.read_head().number
        return find_first_block(lambda number: client.read_block(number).timestamp, head, to_unix_us(self.since) // US)

    def open_source(
        self,
        pools: Sequence[str],
        *,
        quote: str | None = None,
        usd_tokens: Sequence[str] = (),
        confirmations: int | None = None,
        progress: bool = False,
    ) -> ChainSource:
        """Return the swaps of pools as a candle source.

        Args:
            pools: Addresses.
            quote: Symbol or address of the token that prices are in; None finds out, see `read_pool`.
            usd_tokens: Addresses of tokens worth one USD that the chain's registry does not have.
            confirmations: Blocks on top of the one that closes a bar; None is the chain's number.
            progress: Show progress of reading logs.

        Raises:
            BadConfiguration: Chain, variables or pools are not usable.
            ContractMissing: There is no pool at an address.
        """
        client, chain = self.open_client(), self.describe()
        head, first = client.read_head(), self.find_first_block(client)
        found = [
            read_pool(client, chain, pool, head, first_block=first, quote=quote, usd_tokens=usd_tokens)
            for pool in pools
        ]
        return ChainSource(client, chain, found, self.events_folder(), confirmations=confirmations, progress=progress)

    def open_vaults(self, vaults: Sequence[str], *, confirmations: int | None = None) -> VaultPriceSource:
        """Return the share prices of ERC-4626 vaults as a candle source; its past needs a node that keeps old states.

        Raises BadConfiguration, BadInput, ContractMissing, NodeError.
        """
        client, chain = self.open_client(), self.describe()
        first = self.find_first_block(client)
        try:
            return VaultPriceSource(
                client, chain, vaults, self.events_folder(), first_block=first, confirmations=confirmations
            )
        except CallReverted as error:
            raise BadConfiguration(f"One of {list(vaults)} is no ERC-4626 vault: {error}") from error
