"""The parts of a deployment that know a chain: its venue, and the pools that candles are mapped to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from trading_dagster.domain.error import BadConfiguration, BadInput
from trading_dagster.domain.identifier import (
    AssetIdentifier,
    HumanReadableTradingPairDescription,
    TradingPairIdentifier,
)
from trading_dagster.domain.transaction import Intent
from trading_dagster.domain.vault import VaultTerms
from trading_dagster.evm.aave_v3 import AaveV3Deployment
from trading_dagster.evm.alarm import Alarm
from trading_dagster.evm.chain import Chain, KnownExchange, require_checksum, uniswap_v2, uniswap_v3
from trading_dagster.evm.chain_data import KNOWN_CHAINS
from trading_dagster.evm.chain_time import TimeLimits
from trading_dagster.evm.erc4626 import VaultDeployment
from trading_dagster.evm.lending_desk import LendingPool
from trading_dagster.evm.loan_check import LoanLimits
from trading_dagster.evm.multicall import MULTICALL3
from trading_dagster.evm.swap_intent import SwapLimits
from trading_dagster.evm.uniswap_v3 import RouterKind, to_fee_units
from trading_dagster.evm.vault_dex import VAULT_EXCHANGE, TradedVault
from trading_dagster.live.clock import WorldClock
from trading_dagster.live.deployment import Deployment
from trading_dagster.live.deployment_chain import MappedPair, Token, Wallet
from trading_dagster.live.evm_venue import EvmVenue, WalletKey
from trading_dagster.live.guard import KillSwitch
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.message import alarm_message
from trading_dagster.live.notification import Reporter
from trading_dagster.live.parameter_override import parse_data_pair
from trading_dagster.market.vault import to_vault
from trading_dagster.storage.transaction_journal import SqliteTransactionJournal
from trading_dagster.strategy.parameters import StrategyParameters


@dataclass(frozen=True, slots=True)
class ChainParts:
    """What a venue shares with the rest of a deployment."""

    home: LiveHome
    parameters: StrategyParameters
    clock: WorldClock
    switch: KillSwitch
    reporter: Reporter


def open_chain_venue(deployment: Deployment, parts: ChainParts) -> EvmVenue:
    """Return the hot wallet, or vault, of a deployment at its exchange; nothing is asked of a node yet.

    Raises:
        BadConfiguration: The chain or exchange is not known, or a number does not fit.
    """
    chain, known = find_chain(deployment), find_exchange(deployment)
    asked, wallet = deployment.chain, deployment.wallet
    assert asked is not None
    assert wallet is not None
    reporter, clock, strategy_id = parts.reporter, parts.clock, deployment.id

    def alarm(found: Alarm) -> None:
        reporter.report(alarm_message(strategy_id, found, clock.now()))

    def forbid_signing(intent: Intent) -> str:  # noqa: ARG001 - the switch stops every kind of transaction
        return parts.switch.is_on(strategy_id)

    execution = chain.execution
    if asked.confirmations is not None:
        execution = replace(execution, confirmations=asked.confirmations)
    cycle = parts.parameters.cycle_duration.to_timedelta()
    # a node of one's own mines when it is told to, or replays the past: its blocks are of any time
    time_limits = TimeLimits() if asked.is_local else TimeLimits.of_pace(chain.block_time_s)
    return EvmVenue(
        chain_id=chain.chain_id,
        key=WalletKey(wallet.key_env or "", wallet.keystore, wallet.password_env or ""),
        dex=known.dex,
        open_journal=lambda: SqliteTransactionJournal(parts.home.journal),
        alarm=alarm,
        rpc_variables=asked.rpc_envs,
        client=chain.client,
        gas=chain.gas,
        transaction=execution,
        limits=_swap_limits(deployment, parts.parameters),
        max_decision_age=deployment.max_decision_delay(cycle),
        max_head_age=time_limits.max_head_age,
        max_clock_skew=time_limits.max_clock_skew,
        min_gas=Decimal(str(asked.min_gas)),
        vault=_find_vault(deployment, wallet),
        vaults=find_vaults(deployment),
        lending=_find_lending(deployment, chain),
        multicall=asked.multicall or chain.multicall or MULTICALL3,
        wrapped_native=asked.wrapped_native or ("" if chain.wrapped_native is None else chain.wrapped_native.address),
        forbid_signing=forbid_signing,
        clock=clock,
    )


def describe_pools(
    deployment: Deployment,
) -> Mapping[HumanReadableTradingPairDescription, TradingPairIdentifier]:
    """Return by pair of the data the pool it is traded in; raises BadConfiguration."""
    chain, known = find_chain(deployment), find_exchange(deployment)
    exchange = deployment.exchange
    assert exchange is not None
    only_fee = float(known.fees[0]) if len(known.fees) == 1 else None
    vaults = {vault.address for vault in find_vaults(deployment)}
    pools: dict[HumanReadableTradingPairDescription, TradingPairIdentifier] = {}
    for place, pair in enumerate(deployment.pairs):
        where = f"{deployment.file}: pairs.{place}"
        data = parse_data_pair(pair.data)
        if data in pools:
            raise BadConfiguration(f"{where}: {pair.data} is mapped twice: keep one")
        base, quote = _token(where, chain, pair.base), _token(where, chain, pair.quote)
        if base.address in vaults:
            pools[data] = _vault_pair(where, base, quote, pair)
            continue
        fee = next((fee for fee in (pair.fee, exchange.fee, only_fee) if fee is not None), None)
        if fee is None:
            raise BadConfiguration(f"{where}.fee: it is missing: give the pool's fee as a fraction, 0.003 for 0.3 %")
        pools[data] = TradingPairIdentifier(
            base=base,
            quote=quote,
            pool_address=require_checksum(pair.pool, f"pool of {where}"),
            exchange_address=known.dex.contracts[0].lower(),
            fee=fee,
            exchange_name=known.slug,
        )
    return pools


def _vault_pair(where: str, share: AssetIdentifier, asset: AssetIdentifier, pair: MappedPair) -> TradingPairIdentifier:
    """Return the pair of a vault's shares: the vault is their token and their market."""
    if pair.pool.lower() != share.address:
        raise BadConfiguration(f"{where}.pool: it is {pair.pool}, but base is the vault {share.address}: give that")
    found = TradingPairIdentifier(
        base=share,
        quote=asset,
        pool_address=share.address,
        exchange_address=share.address,
        fee=pair.fee or 0.0,
        exchange_name=VAULT_EXCHANGE,
    )
    return to_vault(found, VaultTerms())


def find_chain(deployment: Deployment) -> Chain:
    """Return the chain of a deployment; raises BadConfiguration."""
    assert deployment.chain is not None
    try:
        return KNOWN_CHAINS.get_chain(deployment.chain.name)
    except BadConfiguration as error:
        raise BadConfiguration(f"{deployment.file}: chain.name: {error}") from None


def find_exchange(deployment: Deployment) -> KnownExchange:
    """Return the exchange of a deployment, of the registry or by its contracts; raises BadConfiguration."""
    asked = deployment.exchange
    assert asked is not None
    try:
        if asked.slug is not None:
            return find_chain(deployment).get_exchange(asked.slug)
        slug = (asked.kind or "").replace("_", "-")
        factory, router = asked.factory or "", asked.router or ""
        if asked.kind == "uniswap_v2":
            fee = Fraction(3, 1000) if asked.fee is None else Fraction(str(asked.fee))
            return uniswap_v2(slug, slug, factory, router, fee)
        more: dict[str, Any] = {}
        if asked.router_kind is not None:
            more["router_kind"] = RouterKind(asked.router_kind)
        if asked.fee_tiers is not None:
            more["tiers"] = tuple(to_fee_units(Fraction(str(fee))) for fee in asked.fee_tiers)
        return uniswap_v3(slug, slug, factory, router, asked.quoter or "", **more)
    except BadInput as error:
        raise BadConfiguration(f"{deployment.file}: exchange: {error}") from None


def find_vaults(deployment: Deployment) -> tuple[TradedVault, ...]:
    """Return the vaults whose shares may be traded; raises BadConfiguration."""
    found: dict[str, TradedVault] = {}
    for place, asked in enumerate(deployment.vaults):
        where = f"{deployment.file}: vaults.{place}.address"
        try:
            address = require_checksum(asked.address, "vault").lower()
        except BadInput as error:
            raise BadConfiguration(f"{where}: {error}") from None
        if address in found:
            raise BadConfiguration(f"{where}: {asked.address} is named twice: keep one")
        found[address] = TradedVault(address, asked.tells_limits, asked.locks_shares)
    return tuple(found.values())


def _find_vault(deployment: Deployment, wallet: Wallet) -> VaultDeployment | None:
    if wallet.vault is None:
        return None
    vault = require_checksum(wallet.vault, f"vault of {deployment.file}: wallet.vault")
    return VaultDeployment(vault, wallet.vault_first_block or 0)


def _find_lending(deployment: Deployment, chain: Chain) -> LendingPool | None:
    asked = deployment.lending
    if asked is None:
        return None
    pool = asked.pool or chain.aave_v3
    if not pool:
        raise BadConfiguration(
            f"{deployment.file}: lending.pool: the registry knows no pool of Aave v3 on {chain.name}: give its address"
        )
    try:
        address = require_checksum(pool, "lending pool")
    except BadInput as error:
        raise BadConfiguration(f"{deployment.file}: lending.pool: {error}") from None
    return LendingPool(AaveV3Deployment(address), LoanLimits(min_health=Fraction(str(asked.min_health))))


def _swap_limits(deployment: Deployment, parameters: StrategyParameters) -> SwapLimits:
    """Return what a swap may accept: the file's limits, else the strategy's tolerance, else the defaults."""
    default, limits = SwapLimits(), deployment.limits
    slippage = limits.max_slippage_tolerance
    if slippage is None:
        slippage = parameters.get("slippage_tolerance", default.max_slippage)
    impact = default.max_price_impact if limits.max_price_impact is None else limits.max_price_impact
    return SwapLimits(max_slippage=slippage, max_price_impact=impact)


def _token(where: str, chain: Chain, token: Token) -> AssetIdentifier:
    address = require_checksum(token.address, f"token {token.symbol} of {where}")
    return AssetIdentifier(chain.chain_id, address, token.symbol, token.decimals)
