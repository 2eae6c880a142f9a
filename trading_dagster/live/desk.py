"""What a deployment trades on: prices, valuation, execution, balances. Paper and each kind of chain have their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.position import Marks
from trading_dagster.domain.purse import Purse
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.domain.treasury import BalanceUpdate, Redemption
from trading_dagster.execution.loan_service import InterestModel
from trading_dagster.execution.vault_settlement import VaultSettlement
from trading_dagster.live.fund_fee import NO_FUND_FEES, LiveFundFees
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.pricing.cost import Cost
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.parameters import DEFAULT_MAX_PRICE_IMPACT
from trading_dagster.strategy.position_query import PricingModel


class LiveExecution(Protocol):
    """Executes planned trades and survives being interrupted: an ExecutionModel that can resume.

    Everything it learns becomes events of the state, saved before the next thing is done that cannot be undone. A trade
    that fails gets TradeFailed and its position PositionFrozen; the others go on. A trade whose end is not known when
    time is up stays as it is (broadcasted); ``resume`` goes on with it.
    """

    def execute_trades(
        self, timestamp: datetime, state: State, trades: Sequence[TradeExecution], triggered: bool = False
    ) -> None:
        """Execute planned trades in the order given, naive UTC; those that began or ended already are left alone."""
        ...

    def resume(self, timestamp: datetime, state: State) -> Sequence[TradeExecution]:
        """Go on with every trade that began and did not end; returns those that still did not end."""
        ...


class LiveTreasury(Protocol):
    """What moves money into and out of the strategy."""

    def sync_treasury(self, timestamp: datetime, state: State) -> Sequence[BalanceUpdate]:
        """Record deposits and redemptions that are not in the ledger yet; running it again adds nothing."""
        ...


class BalanceReader(Protocol):
    """What the strategy really has."""

    def read_balances(self, assets: Sequence[AssetIdentifier]) -> Mapping[AssetIdentifier, Decimal]:
        """Return the balances of all assets at one moment (one block), in tokens."""
        ...


class RedemptionPayer(Protocol):
    """Who pays out what was asked for, once."""

    def check(self, state: State, amount: Decimal, recipient: str) -> str:
        """Return the recipient as it is kept; raises BadInput for an amount or a recipient that cannot be paid."""
        ...

    def resume(self, timestamp: datetime, state: State) -> Sequence[Redemption]:
        """Go on with payments that began in an earlier step; returns those whose end is still not known."""
        ...

    def pay(self, timestamp: datetime, state: State) -> Sequence[Redemption]:
        """Pay what cash covers, at a naive UTC time; returns those that began and whose end is not known."""
        ...


class CycleReporter(Protocol):
    """Who must be told what everything is worth when a cycle is over: a vault whose investors come and go by it."""

    def report(self, decision_at: datetime, state: State) -> None:
        """Report after the cycle of a decision time, naive UTC, once; running it again reports nothing else."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """A venue as one step sees it; ``reporter`` None has nobody to tell, ``settlement`` no vault that settles later.

    ``redemptions`` None pays nobody: the investors of a vault redeem there.

    ``interest`` None has no lending markets. With a ``liquidation_penalty``, a fraction of the debt, breached loans are
    liquidated here: on paper. On a chain the protocol does that itself, and ``interest`` finds what it left.
    """

    pricing: PricingModel
    marks: Marks
    execution: LiveExecution
    treasury: LiveTreasury
    balances: BalanceReader
    reporter: CycleReporter | None = None
    settlement: VaultSettlement | None = None
    interest: InterestModel | None = None
    liquidation_penalty: float | None = None
    redemptions: RedemptionPayer | None = None

    @property
    def reads_interest(self) -> bool:
        """Tell whether interest is what a chain says: then accounts agree only as of when it was read."""
        return self.interest is not None and self.liquidation_penalty is None


@dataclass(frozen=True, slots=True)
class DeskRequest:
    """What a desk is opened for.

    Attributes:
        clock: The decision time of a cycle, or the present in a trigger check or another step.
        state: The ledger's state, whose events the desk records.
        save: Stores what was recorded; called before anything that cannot be undone.
        lease_token: Fencing token of the wallet's lease; 0 on paper.
        check_lease: Raises LeaseLost when the lease is gone; called right before signing.
        costs: What trading costs where fills are simulated, ``Parameters.costs``.
        max_price_impact: What a simulated trade's own size may cost at most, a fraction.
        fund_fees: What is taken before money comes or goes.
        is_trigger_check: Prices come from the stop-loss feed where prices are candles.
    """

    universe: TradingStrategyUniverse
    clock: DecisionClock
    state: State
    save: Callable[[], object]
    lease_token: int
    check_lease: Callable[[], None]
    is_trigger_check: bool = False
    costs: tuple[Cost, ...] = ()
    max_price_impact: float = DEFAULT_MAX_PRICE_IMPACT
    fund_fees: LiveFundFees = NO_FUND_FEES


class Venue(Protocol):
    """Where a deployment trades."""

    @property
    def lease_resources(self) -> Sequence[str]:
        """Return what must be held beside the strategy's own ledger: the wallet, nothing on paper."""
        ...

    @property
    def purse(self) -> Purse:
        """Return whose money it trades: a ledger goes on with the same one only."""
        ...

    def open_desk(self, request: DeskRequest) -> Desk:
        """Return the venue as of now; prices and balances of one desk are of one moment."""
        ...
