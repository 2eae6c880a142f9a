"""What every live step begins with: the lease held, the state loaded, the venue opened, unfinished trades resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from trading_dagster.accounting.account_check import AccountTable, check_accounts, expected_balances
from trading_dagster.domain.error import BadConfiguration, NoLendingData, UncleanState
from trading_dagster.domain.event import TradeDiscarded, TradeWaits
from trading_dagster.domain.run_range import OpenDecision
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_unix_us
from trading_dagster.domain.trade import RUNNING, TradeExecution, TradeStatus
from trading_dagster.domain.treasury import Redemption
from trading_dagster.execution.limit import discard_refused
from trading_dagster.execution.loan_service import LoanService
from trading_dagster.live.binding import bind_ledger, require_same_purse
from trading_dagster.live.desk import Desk, DeskRequest
from trading_dagster.live.fund_fee import LiveFundFees, describe_fund_fees
from trading_dagster.live.message import failure_message, freeze_messages, settlement_messages
from trading_dagster.live.session import LiveSession, open_session
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.universe import TradingStrategyUniverse
from trading_dagster.storage.ledger_store import Sample
from trading_dagster.strategy.clock import DecisionClock
from trading_dagster.strategy.parameters import max_price_impact
from trading_dagster.strategy.position_manager import PositionManager
from trading_dagster.strategy.trade_planning import DEFAULT_SLIPPAGE_TOLERANCE

LEFT_OVER = "an interrupted step planned it and never began it"


@dataclass(frozen=True, slots=True)
class LiveStep:
    """A step in progress. ``clock`` stands at the decision time, or at the present in steps beside the cycle."""

    live: LiveStrategy
    universe: TradingStrategyUniverse
    session: LiveSession
    desk: Desk
    clock: DecisionClock
    fund_fees: LiveFundFees

    @property
    def state(self) -> State:
        """Return the ledger's state."""
        return self.session.state

    def resume_trades(self) -> list[TradeExecution]:
        """Go on with trades, and payments, that began in an earlier step; returns trades whose end is still unknown.

        Trades that were planned beside a cycle and never began are dropped: what they were planned for has passed.
        Those whose trigger had fired wait for it again.
        Those that failed meanwhile are told: the step that began them told only that their end is not known.
        """
        return self._resume()[0]

    def _resume(self) -> tuple[list[TradeExecution], Sequence[Redemption]]:
        """Go on with what began; returns the trades and the payments whose end is still unknown."""
        running, settling = _list_trades(self.state, *RUNNING), self.state.portfolio.get_settling_trades()
        unfinished = list(self.desk.execution.resume(self.clock.timestamp, self.state))
        unpaid = self._resume_redemptions()
        decided = set() if self.state.decision is None else set(self.state.decision.trade_ids)
        planned = _list_trades(self.state, TradeStatus.planned)
        left_over = [trade for trade in planned if trade.trade_id not in decided]
        self.discard([trade for trade in left_over if trade.activated_trigger is None], LEFT_OVER)
        self._rearm([trade for trade in left_over if trade.activated_trigger is not None])
        self.session.save()
        now = self.live.clock.now()
        for message in freeze_messages(self.live.id, [*running, *settling], now):
            self.live.reporter.report(message)
        for message in settlement_messages(self.live.id, settling, now):
            self.live.reporter.report(message)
        return unfinished, unpaid

    def _resume_redemptions(self) -> Sequence[Redemption]:
        payer, waiting = self.desk.redemptions, self.state.sync.treasury.redemptions
        return payer.resume(self.clock.timestamp, self.state) if payer is not None and waiting else ()

    def pay_redemptions(self) -> None:
        """Pay the redemptions that wait and that cash covers, once the ledger agrees with what is held.

        Raises UncleanState when the end of a payment is not known, UnexpectedAccountingCorrectionIssue.
        """
        payer, state = self.desk.redemptions, self.state
        waiting = state.sync.treasury.redemptions.values()
        if payer is None or not any(each.amount <= state.portfolio.reserve.quantity for each in waiting):
            return
        self._require_held("redemptions")
        unknown = payer.pay(self.clock.timestamp, state)
        self.session.save()
        self._require_paid(unknown)

    def _require_paid(self, unknown: Sequence[Redemption]) -> None:
        if unknown:
            listing = ", ".join(map(str, unknown))
            raise UncleanState(
                f"{self.live.id}: the end of {listing} is not known yet, so nothing new is decided. It is looked up "
                "again by the next step; look at the node and the gas balance"
            )

    def _require_held(self, what: str) -> None:
        """Raise UnexpectedAccountingCorrectionIssue when less is held than the ledger says, or another token more."""
        accounts, reserve = self.read_accounts(), self.state.portfolio.reserve.asset
        if any(row.asset != reserve or row.difference < 0 for row in accounts.mismatches):
            accounts.require_clean(f"{self.live.id} before {what} at {self.clock.timestamp}")

    def _rearm(self, trades: Sequence[TradeExecution]) -> None:
        """Let trades that fired and never began wait again: no order is lost, and none is made twice."""
        for trade in trades:
            fired = trade.activated_trigger
            triggers = (*(() if fired is None else (fired,)), *trade.expired_triggers)
            self.state.record(TradeWaits(self.live.clock.now(), trade.trade_id, trade.position_id, triggers))

    def require_finished(self) -> None:
        """Resume what began; raises UncleanState when the end of a trade or payment is still unknown."""
        unfinished, unpaid = self._resume()
        self._require_paid(unpaid)
        if unfinished:
            listing = "\n".join(f"  {trade}" for trade in unfinished)
            raise UncleanState(
                f"{self.live.id}: the end of {len(unfinished)} trades is not known yet, so nothing new is decided:\n"
                f"{listing}\nThey are looked up again by the next step; look at the node and the gas balance"
            )

    def read_interest(self) -> None:
        """Book what loans earned and owe by now where a chain says it; on paper it accrues with the cycles."""
        desk = self.desk
        if desk.reads_interest and desk.interest is not None and self.state.portfolio.loan_positions:
            desk.interest.sync_interests(self.clock.timestamp, self.state)
            self.session.save()

    def read_accounts(self) -> AccountTable:
        """Compare the ledger with what is really held; interest that a chain knows is booked before."""
        self.read_interest()
        assets = list(expected_balances(self.state))
        return check_accounts(self.state, self.desk.balances.read_balances(assets))

    def end_fee_period(self) -> tuple[str, ...]:
        """Take the fund's fees of a period that ended, once the ledger agrees with what is held; returns what to tell.

        Reserve beyond the ledger's is a deposit that the treasury books after this. Raises
        UnexpectedAccountingCorrectionIssue: a fee on gains that are not there could not be given back.
        """
        state, at = self.state, self.clock.timestamp
        if not self.fund_fees.are_due(at, state):
            return ()
        self._require_held("fees of the fund")
        before = len(state.sync.treasury.fund_fees)
        self.fund_fees.end_period(at, state)
        return describe_fund_fees(state.sync.treasury.fund_fees[before:])

    def discard(self, trades: Sequence[TradeExecution], reason: str) -> None:
        """Drop planned trades that will not be executed."""
        for trade in trades:
            self.state.record(TradeDiscarded(self.live.clock.now(), trade.trade_id, trade.position_id, reason))

    def review(self, trades: Sequence[TradeExecution]) -> tuple[list[TradeExecution], tuple[str, ...]]:
        """Hold planned trades to the deployment's limits; drops what is refused, returns the rest and what to tell."""
        if not trades:
            return [], ()
        now = self.live.clock.now()
        review = self.live.guard.review(self.state, trades, now)
        discard_refused(self.state, review.refused, now)
        problem = () if review.problem is None else (str(review.problem),)
        if review.problem is not None:
            self.live.reporter.report(failure_message(self.live.id, "review", review.problem, now))
        return list(review.allowed), (*problem, *(f"{trade} refused: {reason}" for trade, reason in review.refused))

    def make_position_manager(self, universe: TradingStrategyUniverse) -> PositionManager:
        """Return what plans trades at the step's clock."""
        slippage = self.live.parameters.get("slippage_tolerance", DEFAULT_SLIPPAGE_TOLERANCE)
        return PositionManager(self.clock, universe, self.state, self.desk.pricing, slippage)

    def service_loans(self) -> None:
        """Accrue interest up to the step's time, and liquidate breached loans where the venue only plays a chain."""
        if self.state.portfolio.loan_positions:
            self.make_loan_service().run(self.clock.timestamp)

    def make_loan_service(self) -> LoanService:
        """Return what does to loans what the lending protocol does; raises NoLendingData for a venue without one."""
        desk = self.desk
        if desk.interest is None:
            raise NoLendingData(
                f"{self.live.id} has positions with loans, but its venue has no lending markets: "
                f"{list(self.state.portfolio.loan_positions.values())}"
            )
        return LoanService(
            interest=desk.interest,
            position_manager=self.make_position_manager(self.universe),
            execution=desk.execution,
            liquidation_penalty=desk.liquidation_penalty,
        )

    def take_sample(self) -> Sample:
        """Value the portfolio; the sample's time is the present."""
        portfolio = self.state.portfolio
        cash, equity = portfolio.get_cash(), portfolio.calculate_total_equity()
        shares = float(self.state.sync.treasury.share_count or 0)
        return Sample(
            at_us=to_unix_us(self.live.now()),
            equity=equity,
            cash=cash,
            position_equity=equity - cash,
            open_positions=len(portfolio.open_positions),
            share_count=shares or None,
            share_price=portfolio.get_net_asset_value() / shares if shares else None,
        )


@contextmanager
def open_step(
    live: LiveStrategy,
    universe: TradingStrategyUniverse,
    at: datetime,
    name: str = "a step",
    *,
    is_trigger_check: bool = False,
) -> Iterator[LiveStep]:
    """Open a strategy at a venue for one step; an error that ends it is told to the operator, then raised.

    Args:
        live: The strategy.
        universe: Its universe, with candles up to ``at``.
        at: Decision time, or the present, naive UTC.
        name: What the step is called in messages.
        is_trigger_check: Prices come from the stop-loss feed where prices are candles.

    Raises:
        ExecutorBusy: Another executor does not finish in time.
    """
    try:
        with _open_step(live, universe, at, is_trigger_check) as step:
            yield step
    except Exception as error:
        live.reporter.report(failure_message(live.id, name, error, live.clock.now()))
        raise


@contextmanager
def _open_step(
    live: LiveStrategy, universe: TradingStrategyUniverse, at: datetime, is_trigger_check: bool
) -> Iterator[LiveStep]:
    venue = live.venue
    resources, purse = list(venue.lease_resources), venue.purse
    with open_session(
        live.store,
        live.id,
        reserve_asset=universe.get_reserve_asset(),
        created_at=live.clock.now(),
        resources=resources,
        known_pairs=universe.pairs,
        lease_s=live.lease_s,
        wait_s=live.wait_s,
    ) as session:
        state = session.state
        require_same_purse(state, purse)
        _require_same_reserve(state, universe)
        bind_ledger(session, purse, live.clock.now())
        clock = DecisionClock([to_unix_us(at)], first_cycle=state.cycle)
        fund_fees = LiveFundFees.of_strategy(live.strategy)
        desk = venue.open_desk(
            DeskRequest(
                universe=universe,
                clock=clock,
                state=state,
                save=session.save,
                lease_token=session.lease_token(resources[0]) if resources else 0,
                check_lease=session.check_lease,
                is_trigger_check=is_trigger_check,
                costs=live.parameters.get("costs") or (),
                max_price_impact=max_price_impact(live.parameters),
                fund_fees=fund_fees,
            )
        )
        state.use_marks(desk.marks)
        yield LiveStep(live, universe, session, desk, clock, fund_fees)


def _require_same_reserve(state: State, universe: TradingStrategyUniverse) -> None:
    """Raise BadConfiguration when a ledger counts in another token than the universe trades with."""
    kept, asked = state.portfolio.reserve.asset, universe.get_reserve_asset()
    if kept != asked or kept.decimals != asked.decimals:
        raise BadConfiguration(
            f"The ledger of {state.name} counts in {kept} with {kept.decimals} decimals, the universe's reserve is "
            f"{asked} with {asked.decimals}: go back to that reserve; for another one close all positions, end this "
            "ledger (live end-ledger) and begin one under a new id"
        )


def _list_trades(state: State, *statuses: TradeStatus) -> list[TradeExecution]:
    """Return the trades that did not end and have one of the statuses."""
    return [
        trade
        for position in list(state.portfolio.get_open_and_frozen_positions())
        if position.unfinished_trade_count
        for trade in position.trades.values()
        if trade.get_status() in statuses
    ]


def find_trades(state: State, decision: OpenDecision, *statuses: TradeStatus) -> list[TradeExecution]:
    """Return the trades of a decision that have one of the statuses, in the order they run in."""
    portfolio = state.portfolio
    trades = (
        portfolio.get_position_by_id(position_id).trades[trade_id]
        for trade_id, position_id in zip(decision.trade_ids, decision.position_ids, strict=True)
    )
    return [trade for trade in trades if trade.get_status() in statuses]
