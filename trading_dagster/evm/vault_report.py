"""What a vault's manager says of it: its balances without flows that wait for the ledger, and what it all is worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from trading_dagster.domain.error import CallReverted, NodeError
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import exact, to_units
from trading_dagster.domain.state import State
from trading_dagster.domain.transaction import Finished, Intent, OutcomeStatus
from trading_dagster.evm.alarm import Alarm, AlarmKind, AlarmSink
from trading_dagster.evm.balance import WalletBalances, read_confirmed_block
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc4626 import VaultDeployment, VaultTreasury, read_vault
from trading_dagster.evm.swap_intent import describe_outcome
from trading_dagster.evm.transaction import TransactionExecutor
from trading_dagster.evm.transaction_journal import TransactionJournal


def report_intent_id(strategy_id: str, decision_at: datetime) -> str:
    """Return the id of the intent that reports after the cycle of a decision time, naive UTC."""
    return f"report/{strategy_id}/{decision_at.isoformat()}"


class VaultBalances:
    """The balances of a vault: a BalanceReader.

    Investors come and go at any time. What they moved and the ledger has not booked yet is taken out of the balance, so
    that an account check between two treasury syncs compares what the strategy did.
    """

    def __init__(
        self, client: EvmClient, balances: WalletBalances, treasury: VaultTreasury, state: State, confirmations: int
    ) -> None:
        """Read where transactions have as many confirmations; ``state`` is what the ledger has."""
        self._client = client
        self._balances = balances
        self._treasury = treasury
        self._state = state
        self._confirmations = confirmations

    def read_balances(self, assets: Sequence[AssetIdentifier]) -> Mapping[AssetIdentifier, Decimal]:
        """Return the balances of all assets at one block, in tokens; raises as WalletBalances does."""
        block = read_confirmed_block(self._client, self._confirmations)
        balances = dict(self._balances.read_at(assets, block))
        reserve = self._state.portfolio.reserve.asset
        if reserve in balances:
            balances[reserve] -= self._treasury.read_unbooked(self._state, block)
        return balances


@dataclass(frozen=True, slots=True)
class VaultReporter:
    """Reports a vault's total assets after a cycle, once for each decision time.

    A report that cannot be made stops nothing: the next cycle reports again, and until then the vault prices shares by
    the last number.

    Attributes:
        client: Where the vault is read.
        executor: What signs as the asset manager.
        journal: Where reports are that were planned before.
        deployment: The vault.
        treasury: What knows which deposits and redemptions the ledger does not have yet.
        alarm: Told when a report is not made.
        forbid_signing: Why nothing may be signed now, or nothing.
        deadline_s: How long after it was planned a report may be mined, seconds of the chain.
        timeout_s: How long the end of a report is waited for, seconds.
    """

    client: EvmClient
    executor: TransactionExecutor
    journal: TransactionJournal
    deployment: VaultDeployment
    treasury: VaultTreasury
    alarm: AlarmSink
    forbid_signing: Callable[[Intent], str]
    deadline_s: int
    timeout_s: float

    def report(self, decision_at: datetime, state: State) -> None:
        """Report what everything is worth now; ``decision_at`` is naive UTC. What was planned before is gone on with.

        Nothing is reported while nobody has a share. Raises LeaseLost.
        """
        name = report_intent_id(state.name, decision_at)
        try:
            known = self.journal.find(name)
            intent = self._make(name, state) if known is None else known.intent
            if intent is None:
                return
            reason = self._why_not(intent)
            if not reason:
                (record,) = self.executor.execute([intent], self.timeout_s)
                if not isinstance(record, Finished):
                    reason = "its end is not known yet"
                elif record.outcome.status is not OutcomeStatus.confirmed:
                    reason = describe_outcome(record.outcome)
        except (NodeError, CallReverted) as error:
            reason = str(error)
        if reason:
            text = f"{name}: vault {self.deployment.vault} was not told what it is worth: {reason}"
            self.alarm(Alarm(AlarmKind.assets_unreported, self.executor.account, text))

    def _make(self, name: str, state: State) -> Intent | None:
        head = self.client.read_head()
        vault = read_vault(self.client, self.deployment, head)
        if not vault.shares:
            return None
        total = count_assets(state, self.treasury.read_unbooked(state, head))
        supply = to_units(vault.shares, vault.share_decimals)
        call = self.deployment.report_assets(total, supply, head.timestamp + self.deadline_s)
        return call.to_intent(name, self.executor.account)

    def _why_not(self, intent: Intent) -> str:
        """Return why a report would only wait: it would be of yesterday when it is signed."""
        wallet = self.journal.find_wallet(self.executor.account)
        if wallet is not None and wallet.halt_reason:
            return f"the wallet is halted: {wallet.halt_reason}"
        return self.forbid_signing(intent)


def count_assets(state: State, unbooked: Decimal) -> int:
    """Return what everything is worth in the smallest unit of the reserve: cash, positions, flows not booked yet.

    Cash is exact; positions, also frozen ones, count what selling them would bring.
    """
    portfolio, reserve = state.portfolio, state.portfolio.reserve
    value = portfolio.get_position_equity_and_loan_nav() + portfolio.get_frozen_position_equity()
    positions = Fraction(exact(value)) / Fraction(exact(reserve.reserve_token_price))
    total = Fraction(reserve.quantity) + Fraction(unbooked) + positions
    return max(0, int(total * 10**reserve.asset.decimals))
