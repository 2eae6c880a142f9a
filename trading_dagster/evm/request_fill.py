"""What a trade did that is a request to a vault and the claims after it: told by the flows of all its receipts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import from_units
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.transaction import Finished, Intent, IntentRecord, OutcomeStatus
from trading_dagster.domain.vault import SettlementMove
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc7540 import REQUESTS, VaultRequest, find_request
from trading_dagster.evm.event_log import read_logs
from trading_dagster.evm.swap_intent import SwapFill
from trading_dagster.evm.token_flow import TRANSFER_TOPIC, read_flows
from trading_dagster.evm.trade_part import list_parts, parse_part_id, part_id
from trading_dagster.evm.transaction_journal import TransactionJournal

CLAIM = "claim"
GIVEN_BACK = "the vault gave back what it was given"
"""How the reason of a trade begins whose vault settled nothing and kept nothing: it may be made again."""
NOBODY = "0x" + "0" * 40


def is_request(intent: Intent) -> bool:
    """Tell whether a trade's intent asks a vault to settle it later."""
    return intent.function in REQUESTS


def claim_id(trade_intent_id: str, number: int) -> str:
    """Return the id of the intent that claims for a trade, counted from 1."""
    return part_id(trade_intent_id, CLAIM, number)


def parse_claim_id(strategy_id: str, intent_id: str) -> int | None:
    """Return the trade that an intent claims for, None when it is no claim of this strategy."""
    return parse_part_id(strategy_id, intent_id, CLAIM)


def list_claims(journal: TransactionJournal, trade_intent_id: str) -> list[IntentRecord]:
    """Return the claims of a trade that were planned, in order."""
    return list(list_parts(journal, trade_intent_id, CLAIM))


def is_given_back(trade: TradeExecution) -> bool:
    """Tell whether a trade ended because its vault settled nothing, and gave everything back."""
    return trade.failure is not None and GIVEN_BACK in trade.failure


@dataclass(frozen=True, slots=True)
class VaultOrder:
    """A trade's request and its claims as the journal has them."""

    trade: TradeExecution
    record: IntentRecord
    claims: Sequence[IntentRecord]

    @classmethod
    def of(cls, journal: TransactionJournal, trade: TradeExecution, record: IntentRecord) -> VaultOrder:
        """Look a trade's claims up; ``record`` is its request."""
        return cls(trade, record, list_claims(journal, record.intent.intent_id))

    @property
    def confirmed(self) -> list[Finished]:
        """Return the request and the claims that took effect."""
        return [record for record in self.ended if _is_confirmed(record)]

    @property
    def ended(self) -> list[Finished]:
        """Return the request and the claims that ended, with effect or without: all cost gas."""
        return [record for record in (self.record, *self.claims) if isinstance(record, Finished)]

    @property
    def claimed(self) -> int:
        """Return what was claimed, counted as it was given."""
        return sum(amount_claimed(record) for record in self.claims if _is_confirmed(record))

    def find_request(self, trader: str) -> VaultRequest | None:
        """Return what the vault took, None when the request did not take effect, or its receipt does not tell."""
        if not isinstance(self.record, Finished) or not _is_confirmed(self.record):
            return None
        intent = self.record.intent
        return find_request(intent.to, intent.function, trader, self.record.outcome)

    def read_move(self, trader: str) -> SettlementMove:
        """Return what the request and its claims moved, in tokens."""
        logs = (log for record in self.confirmed for log in record.outcome.logs)
        flows, trade = read_flows(logs, trader), self.trade

        def net(token: AssetIdentifier) -> int:
            return flows[token.address].net if token.address in flows else 0

        base, reserve = trade.pair.base, trade.reserve_currency
        return SettlementMove(
            from_units(net(base), base.decimals),
            from_units(net(reserve), reserve.decimals),
        )


def amount_claimed(record: IntentRecord) -> int:
    """Return what an intent claims, in the smallest unit of what was given."""
    arguments = record.intent.arguments
    return int(str(arguments.get("assets", arguments.get("shares", 0))))


def to_fill(trade: TradeExecution, move: SettlementMove) -> SwapFill:
    """Return what moved as the fill of a trade."""
    return SwapFill(move.quantity, -move.reserve if trade.is_buy() else move.reserve)


def read_pushed(
    client: EvmClient,
    journal: TransactionJournal,
    order: VaultOrder,
    trader: str,
    last: BlockHeader,
) -> SettlementMove:
    """Return what a vault sent since a request without being asked: shares it minted, or tokens it gave back.

    Transfers of transactions of ours are not counted. Raises NodeError.
    """
    trade, record = order.trade, order.record
    first = record.outcome.block_number if isinstance(record, Finished) else last.number
    senders = {record.intent.to, NOBODY}

    def sent(token: AssetIdentifier) -> int:
        logs = read_logs(
            client, token.address, [TRANSFER_TOPIC], first, last.number, arguments=[None, _to_topic(trader)]
        )
        strange = (found for found in logs if journal.find_owner(found.tx_hash) is None)
        amounts = (int(f.log.data, 16) for f in strange if "0x" + f.log.topics[1][-40:].lower() in senders)
        return sum(amounts)

    base, reserve = trade.pair.base, trade.reserve_currency
    return SettlementMove(from_units(sent(base), base.decimals), from_units(sent(reserve), reserve.decimals))


def add_moves(moves: Iterable[SettlementMove]) -> SettlementMove:
    """Return what several moves are together."""
    listed = list(moves)
    return SettlementMove(*(sum(parts) for parts in zip(*((m.quantity, m.reserve) for m in listed), strict=True)))


def _is_confirmed(record: IntentRecord) -> bool:
    return isinstance(record, Finished) and record.outcome.status is OutcomeStatus.confirmed


def _to_topic(address: str) -> str:
    return "0x" + address[2:].rjust(64, "0")
