"""Liquidations of a strategy's loans by others: found as the pool's events, and booked as trades that it did not make.

Source: IPool.sol of aave-v3-core, ``LiquidationCall``. What a liquidator paid back and took is in the event, in
units of the underlying tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.error import NodeAnswerInvalid
from trading_dagster.domain.event import TradeExecuted, TradePlanned, TradeStarted
from trading_dagster.domain.loan import Loan, LoanChange
from trading_dagster.domain.money import ZERO, from_units
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeFlag, TradePlan, TradePricing, TradeType
from trading_dagster.evm.aave_v3 import AaveV3Deployment
from trading_dagster.evm.abi import decode_values, event_topic
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.event_log import read_logs

LIQUIDATION_CALL = event_topic("LiquidationCall(address,address,address,uint256,uint256,address,bool)")
DATA = ("uint256", "uint256", "address", "bool")
TOPICS = 4
LIQUIDATION = "liquidation"
"""Key of a trade's other data: the transaction and log that a liquidation was found in."""
REDUCING = frozenset({TradeFlag.reduce})


@dataclass(frozen=True, slots=True)
class Liquidation:
    """What a liquidator did, in units of the underlying tokens."""

    tx_hash: str
    log_index: int
    block_number: int
    collateral: str
    debt: str
    repaid: int
    taken: int
    liquidator: str

    @property
    def key(self) -> str:
        """Return what identifies it."""
        return f"{self.tx_hash}/{self.log_index}"


def find_liquidations(
    client: EvmClient, pool: AaveV3Deployment, owner: str, first_block: int, last_block: int
) -> Iterator[Liquidation]:
    """Yield the liquidations of an account, in order; both ends are included. Raises NodeError."""
    user = "0x" + owner[2:].rjust(64, "0")
    logs = read_logs(client, pool.pool, [LIQUIDATION_CALL], first_block, last_block, arguments=(None, None, user))
    for found in logs:
        topics = found.log.topics
        if len(topics) != TOPICS or topics[3] != user:
            raise NodeAnswerInvalid(f"The node gave a liquidation that was not asked for: {found}")
        repaid, taken, liquidator, _ = decode_values(DATA, bytes.fromhex(found.log.data[2:]), "a LiquidationCall")
        yield Liquidation(
            tx_hash=found.tx_hash,
            log_index=found.log.log_index,
            block_number=found.block_number,
            collateral="0x" + topics[1][-40:],
            debt="0x" + topics[2][-40:],
            repaid=repaid,
            taken=taken,
            liquidator=str(liquidator).lower(),
        )


def book_liquidation(state: State, found: Liquidation, at: datetime) -> TradingPosition | None:
    """Record a liquidation as a trade of the short it hit; None when it is booked already or hit none of the ledger's.

    One that is older than a short was of another that is closed by now. ``at`` is aware UTC.
    """
    for position in state.portfolio.loan_positions.values():
        loan = position.loan
        if loan is None or loan.borrowed is None or not _is_of(loan, found):
            continue
        opened = find_opening_block(position)
        if opened is not None and found.block_number <= opened:
            continue
        if any(trade.other_data.get(LIQUIDATION) == found.key for trade in position.trades.values()):
            return None
        _record(state, position, loan, found, at)
        return position
    return None


def find_opening_block(position: TradingPosition) -> int | None:
    """Return the block in which a position's first trade ended; None when no trade of it was on a chain."""
    fills = (trade.fill for trade in position.trades.values())
    return next((fill.block_number for fill in fills if fill is not None and fill.block_number is not None), None)


def _is_of(loan: Loan, found: Liquidation) -> bool:
    debt = None if loan.borrowed is None else loan.borrowed.asset.underlying
    collateral = loan.collateral.asset.underlying
    is_debt = debt is not None and debt.address == found.debt
    return is_debt and collateral is not None and collateral.address == found.collateral


def _record(state: State, position: TradingPosition, loan: Loan, found: Liquidation, at: datetime) -> None:
    borrowed = loan.borrowed
    assert borrowed is not None, "only debt is liquidated"
    repaid = from_units(found.repaid, borrowed.asset.decimals)
    taken = from_units(found.taken, loan.collateral.asset.decimals)
    price = float(taken / repaid) if repaid else position.last_token_price
    change = LoanChange(
        collateral_consumption=-taken,
        claimed_interest=_part_of(loan.collateral.interest.outstanding, taken, loan.collateral.total),
        repaid_interest=_part_of(borrowed.interest.outstanding, repaid, borrowed.total),
    )
    trade_id = state.portfolio.next_trade_id
    pricing = TradePricing(price, position.last_token_price, 0.0, 0.0, True, to_naive(at))
    plan = TradePlan(
        trade_id,
        position.position_id,
        position.pair,
        TradeType.liquidation,
        repaid,
        ZERO,
        pricing,
        position.reserve_currency,
        flags=REDUCING,
        notes=f"liquidated by {found.liquidator} in block {found.block_number}",
        other_data={LIQUIDATION: found.key},
        loan=change,
    )
    state.record(TradePlanned(at, plan))
    state.record(TradeStarted(at, trade_id, position.position_id))
    state.record(
        TradeExecuted(
            at,
            trade_id,
            position.position_id,
            repaid,
            ZERO,
            price,
            0.0,
            found.tx_hash,
            found.block_number,
            Decimal(0),
            change,
        )
    )


def _part_of(interest: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Return what of the interest goes with a part of a balance: all when nothing is left."""
    return interest if part >= whole else ZERO
