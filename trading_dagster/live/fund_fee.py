"""A fund's fees in live trading: those of the deployment, from when it has them on; a change never works backwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from trading_dagster.accounting.fund_fee import are_fund_fees_due, begin_fund_fees, take_fund_fees
from trading_dagster.domain.fund_fee import FundFeeEntry, FundFees, read_fund_fees
from trading_dagster.domain.state import State
from trading_dagster.strategy.module import StrategyModule

IN_FORCE = "fund fees in force"
"""Where the ledger keeps by which fees its shares are counted, among what a strategy stores."""


@dataclass(frozen=True, slots=True)
class LiveFundFees:
    """The fees that a deployment takes now; None takes none."""

    fees: FundFees | None

    @classmethod
    def of_strategy(cls, strategy: StrategyModule) -> LiveFundFees:
        """Return the fees of a strategy with its deployment's parameters."""
        return cls(read_fund_fees(strategy.parameters, strategy.details))

    def are_due(self, at: datetime, state: State) -> bool:
        """Tell whether there is something to do at a naive UTC time: a period ended, or the fees are others now."""
        if self.fees != _read_in_force(state):
            return True
        return self.fees is not None and are_fund_fees_due(self.fees, at, state)

    def end_period(self, at: datetime, state: State) -> None:
        """Take what is due by the end of a period, once."""
        self._follow(at, state)
        if self.fees is not None and are_fund_fees_due(self.fees, at, state):
            take_fund_fees(self.fees, at, state)

    def before_flow(self, at: datetime, state: State) -> None:
        """Take what is due before money comes or goes, so that nobody pays for another one's time."""
        self._follow(at, state)
        if self.fees is not None:
            take_fund_fees(self.fees, at, state)

    def _follow(self, at: datetime, state: State) -> None:
        """When the deployment has other fees than before, settle the old ones and begin the new ones now."""
        before = _read_in_force(state)
        if self.fees == before:
            return
        if before is not None:
            take_fund_fees(before, at, state)
        else:
            begin_fund_fees(at, state)
        state.other_data.save(state.cycle, IN_FORCE, None if self.fees is None else asdict(self.fees))


NO_FUND_FEES = LiveFundFees(None)


def describe_fund_fees(entries: Sequence[FundFeeEntry]) -> tuple[str, ...]:
    """Return a line for each time that fees were taken."""
    return tuple(
        f"fees of the fund until {entry.at}: management {entry.take.management_usd:,.2f} USD, performance "
        f"{entry.take.performance_usd:,.2f} USD, as {entry.take.management_shares + entry.take.performance_shares:f} "
        f"shares at {entry.take.share_price:.6f} USD"
        for entry in entries
        if entry.take.management_shares or entry.take.performance_shares
    )


def _read_in_force(state: State) -> FundFees | None:
    kept = state.other_data.load_latest(IN_FORCE)
    return None if kept is None else FundFees(**kept)
