"""Whether the vaults that a deployment names can be traded, and settle as the universe says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trading_dagster.domain.error import BadConfiguration, CallReverted, ContractMissing
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc7540 import LaterSides, read_later_sides, read_share
from trading_dagster.evm.vault_dex import read_asset


def check_vaults(
    client: EvmClient,
    named: Sequence[str],
    pairs: Iterable[TradingPairIdentifier],
    reserve: AssetIdentifier,
    block: BlockHeader,
) -> None:
    """Check the vaults that a deployment names, and that it names those of the universe's pairs.

    Raises:
        ContractMissing: There is none at an address.
        BadConfiguration: One holds another token than the reserve, is not named, or settles otherwise than
            its pair says.
        NodeError: No node answers.
    """
    pairs = list(pairs)
    for pair in pairs:
        if pair.base.address not in named:
            raise BadConfiguration(
                f"{pair.get_ticker()} of the universe is a vault at {pair.base.address} that the deployment does not "
                "name: add the address to vaults: once you looked it up, or leave the vault out"
            )
    for vault in named:
        if not client.has_code(vault, block):
            raise ContractMissing(f"There is no vault at {vault} on chain {client.chain_id}: correct its address")
        try:
            asset = read_asset(client, vault, block)
        except (CallReverted, ContractMissing) as error:
            raise BadConfiguration(f"{vault} is no ERC-4626 vault: {error}; correct its address") from error
        if asset != reserve.address:
            raise BadConfiguration(
                f"Vault {vault} holds {asset}, the strategy's reserve is {reserve}: only vaults of the reserve can be "
                "traded"
            )
        later = read_later_sides(client, vault, block)
        if later.is_any and (share := read_share(client, vault, block)) != vault:
            raise BadConfiguration(
                f"The shares of vault {vault} are the token {share} (ERC-7575): only vaults that are their own share "
                "token can be traded"
            )
        for pair in pairs:
            if pair.base.address == vault:
                require_same_settlement(pair, later)


def require_same_settlement(pair: TradingPairIdentifier, later: LaterSides) -> None:
    """Raise BadConfiguration when a vault's terms do not say what it says on the chain."""
    if pair.is_async_vault() == later.is_any:
        return
    terms, what = ("later", "remove") if pair.is_async_vault() else ("at once", "give its terms")
    raise BadConfiguration(
        f"{pair.get_ticker()} settles {terms} by its terms in the universe, but its vault at {pair.base.address} says "
        f"that it settles {later} later (ERC-7540): {what} settlement_delay or settlement_time in its VaultTerms"
    )
