"""What a wallet really has: the balances of many tokens at one confirmed block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from trading_dagster.domain.error import WrongChain
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import from_units
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.multicall import Multicall


def read_confirmed_block(client: EvmClient, confirmations: int) -> BlockHeader:
    """Return the newest block in which transactions count as settled: the head has one confirmation."""
    head = client.read_head()
    return client.read_block(max(0, head.number - confirmations + 1))


class WalletBalances:
    """The balances of one address: a BalanceReader."""

    def __init__(self, client: EvmClient, multicall: Multicall, address: str, confirmations: int) -> None:
        """Read an address's balances where transactions have as many confirmations."""
        self._client = client
        self._multicall = multicall
        self._address = address
        self._confirmations = confirmations

    def read_balances(self, assets: Sequence[AssetIdentifier]) -> Mapping[AssetIdentifier, Decimal]:
        """Return the balances of all assets at one block, in tokens.

        Raises WrongChain for an asset of another chain, ContractMissing for one without code, NodeError.
        """
        return self.read_at(assets, read_confirmed_block(self._client, self._confirmations))

    def read_at(self, assets: Sequence[AssetIdentifier], block: BlockHeader) -> Mapping[AssetIdentifier, Decimal]:
        """Return the balances of all assets at a block, in tokens; raises the same."""
        for asset in assets:
            if asset.chain_id != self._client.chain_id:
                raise WrongChain(f"{asset} is on chain {asset.chain_id}, the wallet is on {self._client.chain_id}")
        units = self._multicall.read_balances([asset.address for asset in assets], self._address, block)
        return {asset: from_units(units[asset.address], asset.decimals) for asset in assets}
