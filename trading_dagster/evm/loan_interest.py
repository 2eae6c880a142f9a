"""The interest of a strategy's loans and credit supply: what the pool's tokens grew by, shared by principal.

Balances of all aTokens and debt tokens are read at one block. What a token has beyond the ledger is interest of the
positions that hold it; reading the same block again finds nothing. What it has less than the ledger, but for rounding,
is none: liquidations are looked for, and anything else is left to the account check, which stops trading.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from trading_dagster.domain.identifier import AssetIdentifier, AssetType, TradingPairKind
from trading_dagster.domain.loan import LoanSide
from trading_dagster.domain.money import DUST, ZERO, from_units, to_units_down
from trading_dagster.domain.state import State
from trading_dagster.domain.treasury import BalanceUpdate
from trading_dagster.evm.aave_v3 import AaveV3Deployment
from trading_dagster.evm.alarm import Alarm, AlarmKind, AlarmSink
from trading_dagster.evm.balance import read_confirmed_block
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.execution import list_running
from trading_dagster.evm.liquidation import book_liquidation, find_liquidations, find_opening_block
from trading_dagster.evm.loan_fill import list_interest
from trading_dagster.evm.multicall import Multicall
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.transaction_journal import TransactionJournal

ROUNDING_UNITS = 20
"""How far a balance may lie below the ledger because the pool rounds each supply and withdrawal."""
MAX_GAIN = Decimal("0.05")
"""A balance that grew by this fraction at once grew by something else than interest."""
BLOCK_NAME = "block of the lending pool's balances"


@dataclass(frozen=True, slots=True)
class Holding:
    """One side of one position's loan."""

    position_id: int
    side: LoanSide


class LoanInterest:
    """Books the interest of one trading account at one pool."""

    def __init__(
        self,
        client: EvmClient,
        multicall: Multicall,
        journal: TransactionJournal,
        pool: AaveV3Deployment,
        trader: TradingAccount,
        *,
        audit: Callable[[BlockHeader], None],
        confirmations: int,
        lookback_blocks: int,
        alarm: AlarmSink,
        now: Callable[[], datetime],
    ) -> None:
        """Take the parts.

        Args:
            client: Where balances are read.
            multicall: Reads them at one block.
            journal: What was sent.
            pool: The lending pool.
            trader: Whose loans they are.
            audit: Takes back the ends of transactions that are not in the chain of a head any more.
            confirmations: How deep a block must be to count, the head has one.
            lookback_blocks: How far back liquidations are looked for when no block of the ledger says from where on.
            alarm: Told of liquidations and of balances that nothing explains.
            now: The time of events, aware UTC.
        """
        self._client = client
        self._multicall = multicall
        self._journal = journal
        self._pool = pool
        self._trader = trader
        self._audit = audit
        self._confirmations = confirmations
        self._lookback_blocks = lookback_blocks
        self._alarm = alarm
        self._now = now

    def sync_interests(self, timestamp: datetime, state: State) -> Sequence[BalanceUpdate]:  # noqa: ARG002 - the port's
        """Book interest up to a confirmed block; returns the updates made, none when nothing changed.

        Nothing is booked while balances may differ for another reason: a trade that did not end, a transaction in
        flight, a fill newer than the block. Raises NodeError, ContractMissing, LeaseLost.
        """
        if not state.portfolio.loan_positions:
            return []
        block = read_confirmed_block(self._client, self._confirmations)
        self._audit(self._client.read_head())
        account = self._trader.account
        if list_running(state) or self._journal.list_unfinished(account):
            return []
        if self._journal.list_finished(account, block.number + 1):
            return []
        actual = self._read(state, block)
        if any(_gap(state, asset, units) < -ROUNDING_UNITS for asset, units in actual.items()):
            self._book_liquidations(state, block)
        updates: list[BalanceUpdate] = []
        for asset, units in actual.items():
            updates += self._book(state, asset, _gap(state, asset, units), block)
        if updates:
            state.other_data.save(state.cycle, BLOCK_NAME, block.number)
        return updates

    def _read(self, state: State, block: BlockHeader) -> dict[AssetIdentifier, int]:
        """Return the balances of all tokens that positions hold, in units."""
        assets = dict.fromkeys(holding.side.asset for holding in list_holdings(state))
        balances = self._multicall.read_balances([asset.address for asset in assets], self._trader.address, block)
        return {asset: balances[asset.address] for asset in assets}

    def _book(self, state: State, asset: AssetIdentifier, gap: int, block: BlockHeader) -> list[BalanceUpdate]:
        """Share what a token has beyond the ledger among its positions."""
        holdings = [holding for holding in list_holdings(state) if holding.side.asset == asset]
        total = sum((holding.side.total for holding in holdings), ZERO)
        gain = from_units(max(gap, 0), asset.decimals)
        is_odd = gap < -ROUNDING_UNITS or gain > total * MAX_GAIN + _dust_of(asset)
        if is_odd:
            text = (
                f"{asset} has {from_units(gap, asset.decimals):+f} beyond the ledger in block {block.number}, which is "
                "no interest: it is left to the account check"
            )
            self._alarm(Alarm(AlarmKind.settlement_changed, self._trader.account, text))
            return []
        booked = []
        parts = share(gap, [to_units_down(max(h.side.quantity, ZERO), asset.decimals) for h in holdings])
        for holding, part in zip(holdings, parts, strict=True):
            quantity = from_units(part, asset.decimals)
            for event in list_interest(
                state, holding.position_id, holding.side, quantity, self._now(), f"seen in block {block.number}"
            ):
                state.record(event)
                booked.append(event.update)
        return booked

    def _book_liquidations(self, state: State, block: BlockHeader) -> None:
        first = self._first_unread_block(state, block)
        found = find_liquidations(self._client, self._pool, self._trader.address, max(1, first), block.number)
        for liquidation in found:
            position = book_liquidation(state, liquidation, self._now())
            if position is not None:
                text = (
                    f"{position} was liquidated by {liquidation.liquidator} in {liquidation.tx_hash}, block "
                    f"{liquidation.block_number}: {liquidation.repaid} units of {liquidation.debt} were paid back for "
                    f"{liquidation.taken} of {liquidation.collateral}"
                )
                self._alarm(Alarm(AlarmKind.liquidated, self._trader.account, text))

    def _first_unread_block(self, state: State, block: BlockHeader) -> int:
        """Return from where on liquidations may be unknown: the last reading, or when the oldest loan was made."""
        known = state.other_data.load_latest(BLOCK_NAME)
        if known is not None:
            return int(known)
        opened = [find_opening_block(position) for position in state.portfolio.loan_positions.values()]
        return min((number for number in opened if number is not None), default=block.number - self._lookback_blocks)


def list_holdings(state: State) -> list[Holding]:
    """Return the sides of all loans, in the order of positions."""
    holdings = []
    for number, position in sorted(state.portfolio.loan_positions.items()):
        loan = position.loan
        if loan is not None:
            holdings.append(Holding(number, loan.collateral))
            if loan.borrowed is not None:
                holdings.append(Holding(number, loan.borrowed))
    return holdings


def share(units: int, weights: Sequence[int]) -> list[int]:
    """Share units out by weights, all of them: what rounding leaves goes to the first, one each.

    Without any weight the first gets everything.
    """
    total = sum(weights)
    if not total:
        return [units, *(0 for _ in weights[1:])]
    sign = -1 if units < 0 else 1
    parts = [abs(units) * weight // total for weight in weights]
    left = abs(units) - sum(parts)
    return [sign * (part + (number < left)) for number, part in enumerate(parts)]


def _gap(state: State, asset: AssetIdentifier, units: int) -> int:
    """Return what there is beyond the ledger, in units."""
    expected = sum((h.side.total for h in list_holdings(state) if h.side.asset == asset), ZERO)
    expected += state.portfolio.dust.get(asset, ZERO)
    return int((from_units(units, asset.decimals) - expected) * 10**asset.decimals)


def _dust_of(asset: AssetIdentifier) -> Decimal:
    """Return what counts as nothing: a debt that was paid back at once earned interest, and is owed nothing else."""
    is_debt = asset.type is AssetType.borrowed
    return DUST.close_epsilon(TradingPairKind.lending_protocol_short) if is_debt else DUST.collateral
