"""The mid price of a pool in the block before a trade was filled: what the market did between quote and fill."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from trading_dagster.domain.error import CallReverted, ContractMissing, InvalidTrade, NodeError, PoolEmpty
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.evm.amm_pricing import AmmPricing
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Dex
from trading_dagster.evm.request_vault import RequestVaultDex
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.vault_dex import VaultDex

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PastPrices:
    """Reads pools, and vaults by address, at past blocks; needs a node that still has their state (an archive node)."""

    client: EvmClient
    dex: Dex
    vaults: Mapping[str, VaultDex] = field(default_factory=dict)

    def mid_before_fill(self, trade: TradeExecution) -> float | None:
        """Return the mid price at the end of the block before a trade's fill, reserve per base token.

        Trades of others earlier in the fill's own block are not in it. None when the trade was not filled on a chain,
        or no node has that block's state any more.
        """
        block_number = None if trade.fill is None else trade.fill.block_number
        if not block_number:
            return None
        try:
            block = self.client.read_block(block_number - 1)
            routes = RouteTable(self.dex, trade.reserve_currency, trade.price_structure.path, self._vaults_of(trade))
            return AmmPricing(self.client, routes, block).get_mid_price(trade.opened_at, trade.pair)
        except (NodeError, CallReverted, ContractMissing, PoolEmpty, InvalidTrade) as error:
            logger.warning("The mid price before %s in block %s is not known: %s", trade, block_number, error)
            return None

    def _vaults_of(self, trade: TradeExecution) -> Mapping[str, VaultDex]:
        """Return the vaults as ones that settle as the trade's pair says; their prices are the same either way."""
        if not trade.pair.is_async_vault():
            return self.vaults
        return {
            address: RequestVaultDex(vault.vault, vault.holder, vault.tells_limits, vault.locks_shares)
            for address, vault in self.vaults.items()
        }
