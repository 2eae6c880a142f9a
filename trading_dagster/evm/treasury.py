"""The treasury of a hot wallet: reserve tokens that came in beyond what the ledger has in cash are deposits.

What went out is no redemption: nobody but the strategy may take anything out of its wallet. The account check sees it
and stops trading. One wallet serves one strategy, as deposits are told by the balance alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fractions import Fraction

from trading_dagster.accounting.simulated_treasury import share_price
from trading_dagster.domain.event import BalanceUpdated
from trading_dagster.domain.money import from_units
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.transaction import Account
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.evm.balance import read_confirmed_block
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc20 import read_balance
from trading_dagster.evm.execution import list_running
from trading_dagster.evm.settlement import find_changes
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.transaction_journal import TransactionJournal


class HotWalletTreasury:
    """The sync model of a wallet whose key we hold."""

    def __init__(
        self,
        client: EvmClient,
        journal: TransactionJournal,
        account: Account,
        *,
        audit: Callable[[BlockHeader], None],
        confirmations: int,
        lookback_blocks: int,
        now: Callable[[], datetime],
        before_flow: Callable[[datetime, State], None] | None = None,
        is_disturbed: Callable[[State, BlockHeader], bool] | None = None,
    ) -> None:
        """Watch an account at the block that has as many confirmations.

        Args:
            client: Where balances are read.
            journal: What was sent from the account.
            account: The wallet.
            audit: Takes back the ends of transactions that are not in the chain of a head any more.
            confirmations: How deep a block must be to count, the head has one.
            lookback_blocks: How far back ends are compared with the ledger.
            now: The time of events, aware UTC.
            before_flow: Called at a naive UTC time before a deposit is recorded.
            is_disturbed: Tells whether vaults may have sent something at a block that the ledger does not know yet.
        """
        self._client = client
        self._journal = journal
        self._account = account
        self._audit = audit
        self._confirmations = confirmations
        self._lookback_blocks = lookback_blocks
        self._now = now
        self._before_flow = before_flow
        self._is_disturbed = is_disturbed

    def sync_treasury(self, timestamp: datetime, state: State) -> Sequence[BalanceUpdate]:
        """Record what came in as one deposit, at the time of the block it was seen in; again it records nothing.

        Nothing is recorded while balance and cash may differ for another reason: a trade that did not end, a
        transaction in flight or taken back by a reorg, a fill that is newer than the block.

        Raises NodeError, LeaseLost.
        """
        block = read_confirmed_block(self._client, self._confirmations)
        self._audit(self._client.read_head())  # after the block: a reorg later than this makes reading at it fail
        if list_running(state) or self._journal.list_unfinished(self._account):
            return []
        if self._journal.list_finished(self._account, block.number + 1):
            return []
        since = max(1, block.number - self._lookback_blocks)
        if any(find_changes(state, self._journal, TradingAccount.of_wallet(self._account), since)):
            return []
        portfolio, reserve = state.portfolio, state.portfolio.reserve
        if portfolio.settlements and self._is_disturbed is not None and self._is_disturbed(state, block):
            return []
        balance = read_balance(self._client, reserve.asset.address, self._account.address, block)
        known = reserve.quantity + portfolio.get_reserve_settling()
        inflow = balance - math.ceil(Fraction(known) * int(10**reserve.asset.decimals))
        return [self._deposit(timestamp, state, inflow, block)] if inflow > 0 else []

    def _deposit(self, timestamp: datetime, state: State, units: int, block: BlockHeader) -> BalanceUpdate:
        if self._before_flow is not None:
            self._before_flow(timestamp, state)
        portfolio = state.portfolio
        reserve = portfolio.reserve
        quantity = from_units(units, reserve.asset.decimals)
        update = BalanceUpdate(
            balance_update_id=portfolio.next_balance_update_id,
            cause=BalanceUpdateCause.deposit,
            position_type=BalanceUpdatePositionType.reserve,
            asset=reserve.asset,
            quantity=quantity,
            old_balance=reserve.quantity,
            usd_value=float(quantity) * reserve.reserve_token_price,
            block_mined_at=to_naive(datetime.fromtimestamp(block.timestamp, UTC)),
            strategy_cycle_included_at=timestamp,
            previous_update_at=reserve.last_sync_at,
            owner_address=self._account.address,
            notes=f"seen in block {block.number} {block.hash}",
        )
        state.record(BalanceUpdated(self._now(), update, share_price(state)))
        return update
