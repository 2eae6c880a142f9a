"""Brings together what a venue needs to trade loans: who executes them, and who books their interest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from trading_dagster.domain.error import BadConfiguration, ContractMissing, WrongChain
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.evm.aave_v3 import AaveV3Deployment
from trading_dagster.evm.alarm import AlarmSink
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import OutputDex
from trading_dagster.evm.execution import SharedParts
from trading_dagster.evm.loan_check import LoanLimits
from trading_dagster.evm.loan_execution import LoanExecution
from trading_dagster.evm.loan_interest import LoanInterest
from trading_dagster.evm.loan_planner import LoanPlanner
from trading_dagster.evm.loan_runner import LoanRunner
from trading_dagster.evm.loan_view import LoanReader
from trading_dagster.evm.multicall import Multicall
from trading_dagster.evm.swap_intent import SwapLimits
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.transaction_journal import TransactionJournal

THRESHOLD_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class LendingPool:
    """Where loans are made, and how near their limits they may come."""

    pool: AaveV3Deployment
    limits: LoanLimits = field(default_factory=LoanLimits)


@dataclass(frozen=True, slots=True)
class LendingDesk:
    """The parts of one account's loans.

    Attributes:
        lending: The pool.
        client: Where it is read.
        multicall: Reads much at one block.
        journal: What was sent.
        trader: Who signs for whose tokens.
        poll_s: How long to wait for a new block, seconds.
        sleep: Waits some seconds.
    """

    lending: LendingPool
    client: EvmClient
    multicall: Multicall
    journal: TransactionJournal
    trader: TradingAccount
    poll_s: float = 1.0
    sleep: Callable[[float], None] = time.sleep

    def make_execution(
        self,
        parts: SharedParts,
        *,
        dex: OutputDex,
        routes: RouteTable,
        limits: SwapLimits,
        max_age: timedelta | None,
        save: Callable[[], object],
    ) -> LoanExecution:
        """Return what executes trades with loans."""
        reader = LoanReader(self.client, self.multicall, self.lending.pool, self.trader.address)
        runner = LoanRunner(
            client=self.client,
            journal=self.journal,
            trader=self.trader,
            planner=LoanPlanner(self.client, reader, dex, limits=self.lending.limits, deadline_s=limits.deadline_s),
            execute=parts.wait,
            sleep=self.sleep,
            allowance_multiple=limits.allowance_multiple,
            poll_s=self.poll_s,
        )
        return LoanExecution(runner, routes, parts.book, save, limits.max_slippage, limits.max_price_impact, max_age)

    def make_interest(
        self,
        *,
        audit: Callable[[BlockHeader], None],
        confirmations: int,
        lookback_blocks: int,
        alarm: AlarmSink,
        now: Callable[[], datetime],
    ) -> LoanInterest:
        """Return what books the interest of loans."""
        return LoanInterest(
            self.client,
            self.multicall,
            self.journal,
            self.lending.pool,
            self.trader,
            audit=audit,
            confirmations=confirmations,
            lookback_blocks=lookback_blocks,
            alarm=alarm,
            now=now,
        )


@dataclass(frozen=True, slots=True)
class ReserveTokens:
    """A token that can be lent and borrowed, with its aToken and its debt token as a universe has them."""

    asset: AssetIdentifier
    collateral: AssetIdentifier
    debt: AssetIdentifier


def check_lending(
    client: EvmClient, pool: AaveV3Deployment, reserves: Iterable[ReserveTokens], block: BlockHeader
) -> None:
    """Check that a pool is there and that a universe's lending reserves are its own.

    Raises ContractMissing, WrongChain, BadConfiguration, NodeError.
    """
    if not client.has_code(pool.pool, block):
        raise ContractMissing(
            f"There is no code at {pool.pool} on chain {client.chain_id}: correct the lending pool's address"
        )
    for reserve in reserves:
        if reserve.asset.chain_id != client.chain_id:
            raise WrongChain(f"The lending reserve of {reserve.asset} is not on chain {client.chain_id}")
        found = pool.read_reserve(client, reserve.asset.address, block)
        for token, known in ((reserve.collateral, found.collateral_token), (reserve.debt, found.debt_token)):
            if token.address != known:
                raise BadConfiguration(
                    f"The universe says that {token} stands for {reserve.asset}, at {pool.pool} it is {known}: correct "
                    "the lending reserve, or the pool"
                )
        threshold = reserve.collateral.liquidation_threshold
        if threshold is not None and abs(threshold - float(found.liquidation_threshold)) > THRESHOLD_ROUNDING:
            raise BadConfiguration(
                f"The universe's liquidation threshold of {reserve.collateral} is {threshold}, the pool's is "
                f"{float(found.liquidation_threshold)}: correct it, for stops are placed by it"
            )
