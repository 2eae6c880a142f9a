"""Gives exchanges leave to take what trades give: once for all trades of a token there that are sent together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trading_dagster.domain.error import CallReverted, ContractMissing
from trading_dagster.domain.transaction import Finished, Intent, IntentRecord, OutcomeStatus
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc20 import read_allowance
from trading_dagster.evm.swap_intent import describe_outcome, plan_approvals
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.transaction_journal import TransactionJournal


@dataclass(frozen=True, slots=True)
class Spending:
    """What a trade's swap, named by its intent's id, gives: units of a token, which the spender takes."""

    name: str
    token: str
    spender: str
    amount: int


@dataclass(frozen=True, slots=True)
class AllowanceKeeper:
    """Approves spenders.

    Attributes:
        client: Where allowances are read.
        journal: Where approvals that were planned before are found.
        trader: Whose tokens may be taken.
        multiple: How many times what is needed now is approved.
        wait: Plans intents and returns them as they stand when they are finished, or time is up.
    """

    client: EvmClient
    journal: TransactionJournal
    trader: TradingAccount
    multiple: int
    wait: Callable[[Sequence[Intent]], Sequence[IntentRecord]]

    def provide(self, spendings: Sequence[Spending]) -> Mapping[str, str]:
        """Return by name "" for what may be spent, and why for what never may; what is left out is not known yet.

        Raises NodeError.
        """
        groups: dict[tuple[str, str], list[Spending]] = {}
        for spending in spendings:
            groups.setdefault((spending.token, spending.spender), []).append(spending)
        verdicts: dict[tuple[str, str], str] = {}
        asked: dict[tuple[str, str], list[Intent]] = {}
        for key, group in groups.items():
            try:
                asked[key] = self._list_intents(group)
            except (CallReverted, ContractMissing) as error:
                verdicts[key] = str(error)
        # What is left of an old allowance is taken back before the new one is asked for: a node may simulate the
        # approval on a state in which the old one still stands, where some tokens refuse it.
        for stage in (slice(-1), slice(-1, None)):
            waited = {key: intents[stage] for key, intents in asked.items() if key not in verdicts}
            ends = {r.intent.intent_id: r for r in self.wait([i for intents in waited.values() for i in intents])}
            for key, intents in waited.items():
                records = [ends[intent.intent_id] for intent in intents]
                outcomes = [record.outcome for record in records if isinstance(record, Finished)]
                refused = next((o for o in outcomes if o.status is not OutcomeStatus.confirmed), None)
                if refused is not None:
                    verdicts[key] = f"its approval was {describe_outcome(refused)}"
                elif len(outcomes) < len(records):
                    del asked[key]
        verdicts = {**dict.fromkeys(asked, ""), **verdicts}
        return {s.name: verdicts[key] for key, group in groups.items() if key in verdicts for s in group}

    def _list_intents(self, group: Sequence[Spending]) -> list[Intent]:
        """Return the intents that allow a group of one token and spender: the approval last, none when it may."""
        token, spender = group[0].token, group[0].spender
        if spender == token:
            return []  # a vault burns the shares of who asks for it: EIP-4626 wants no allowance there
        needed = sum(spending.amount for spending in group)
        old = read_allowance(self.client, token, self.trader.address, spender, self.client.read_head())
        if old >= needed:
            return []
        for spending in group:
            known = self.journal.find(f"{spending.name}/approve")
            if known is None:
                amount = needed * self.multiple
                planned = plan_approvals(token, spender, spending.name, self.trader, amount, old)
                before = self.journal.find(f"{spending.name}/revoke")
                return planned if before is None else [before.intent, planned[-1]]
            if not isinstance(known, Finished):
                return [known.intent]
        # Every approval ended and is spent: the swap's simulation says what is wrong.
        return []
