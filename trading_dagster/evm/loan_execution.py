"""Executes trades with loans: several transactions each, in a row that goes on wherever it was interrupted.

A trade of which something happened is booked as what happened, whether all of it was done or not; when not all was, its
position is frozen. One of which nothing happened failed, as a swap that was refused does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from trading_dagster.domain.error import ContractMissing, InvalidTrade
from trading_dagster.domain.event import BalanceUpdated, TradeBroadcasted
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution, TradeStatus
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.evm.alarm import AlarmKind
from trading_dagster.evm.loan_fill import LoanFill, list_fill_events, read_loan_fill
from trading_dagster.evm.loan_intent import LoanTokens, loan_tokens, make_job
from trading_dagster.evm.loan_planner import LoanEnd
from trading_dagster.evm.loan_progress import list_steps, read_gas_cost
from trading_dagster.evm.loan_runner import LoanJob, LoanResult, LoanRunner
from trading_dagster.evm.swap_intent import require_of_trade, require_small_impact, trade_intent_id
from trading_dagster.evm.trade_book import TradeBook
from trading_dagster.evm.trade_route import RouteTable


@dataclass(frozen=True, slots=True)
class LoanExecution:
    """The loan trades of one strategy.

    Attributes:
        runner: Runs their transactions.
        routes: The ways their swaps go.
        book: Records their ends.
        save: Makes new events durable.
        max_slippage: The slippage tolerance of a trade that has none, and the most another's may be; a fraction.
        max_price_impact: What a planned price may be worse than mid price and fee because of its size; a fraction.
        max_age: How old a decision may be while its loan is made larger; None for no limit.
    """

    runner: LoanRunner
    routes: RouteTable
    book: TradeBook
    save: Callable[[], object]
    max_slippage: float
    max_price_impact: float
    max_age: timedelta | None

    def check(self, state: State, trade: TradeExecution, *, triggered: bool) -> None:
        """Raise InvalidTrade, PriceImpactToleranceExceeded, when a trade must not begin, as everything is now.

        Raises NodeError when no node answers.
        """
        if not triggered and trade.pair.is_short() and trade.planned_quantity:
            require_small_impact(trade, self.max_price_impact)
        tokens = loan_tokens(trade.pair, self.routes.reserve_asset)
        job = make_job(state, trade, self.routes, self.max_slippage, is_begun=False)
        self._require_known(tokens)
        base = "" if tokens.base is None else tokens.base.token_symbol
        try:
            self.runner.planner.require_feasible(job.goal, job.route, (tokens.reserve.token_symbol, base))
        except ContractMissing as error:
            raise InvalidTrade(str(error)) from error

    def carry_on(self, state: State, trade: TradeExecution, timeout_s: float) -> bool:
        """Bring a trade that began as far as time allows; tell whether it ended. Raises NodeError."""
        name, journal = trade_intent_id(state.name, trade.trade_id), self.runner.journal
        steps = list(list_steps(journal, name))
        if steps:
            require_of_trade(steps[0].intent, state, trade)
        is_stale = self._is_stale(trade)
        if not steps and is_stale:
            age = to_naive(self.book.now()) - trade.opened_at
            self.book.discard(state, trade, f"never sent: the decision is {age} old, at most {self.max_age} is allowed")
            return True
        try:
            job = make_job(state, trade, self.routes, self.max_slippage)
        except InvalidTrade as error:
            self.book.refuse(state, trade, f"never sent: {error}")
            return True
        if trade.get_status() is TradeStatus.started:
            state.record(TradeBroadcasted(self.book.now(), trade.trade_id, trade.position_id))
        self.save()
        result = self.runner.run(job, timeout_s, is_stale=is_stale)
        if result.end is None:
            return False
        self._book_end(state, trade, job, result, result.end)
        return True

    def _is_stale(self, trade: TradeExecution) -> bool:
        return self.max_age is not None and to_naive(self.book.now()) - trade.opened_at > self.max_age

    def _require_known(self, tokens: LoanTokens) -> None:
        """Raise InvalidTrade when the universe's tokens of a loan are not those of the pool."""
        planner = self.runner.planner
        head = self.runner.client.read_head()
        pairs = [(tokens.reserve, tokens.collateral, "collateral_token")]
        if tokens.base is not None and tokens.debt is not None:
            pairs.append((tokens.base, tokens.debt, "debt_token"))
        for asset, token, name in pairs:
            try:
                found = getattr(planner.pool.read_reserve(self.runner.client, asset.address, head), name)
            except ContractMissing as error:
                raise InvalidTrade(str(error)) from error
            if found != token.address:
                raise InvalidTrade(
                    f"The universe's {token} is none of the pool {planner.pool.pool}: for {asset} it has {found}; "
                    "correct the universe's lending reserve, or the deployment's pool"
                )

    # Ends

    def _book_end(self, state: State, trade: TradeExecution, job: LoanJob, result: LoanResult, end: LoanEnd) -> None:
        tokens = loan_tokens(trade.pair, self.routes.reserve_asset)
        fill = read_loan_fill(job.goal, result.progress, tokens)
        last = next((r for r in reversed(result.finished) if r.outcome.tx_hash), None)
        if last is None or not result.progress.has_moved or (end.failure and fill.is_nothing):
            self.book.refuse(state, trade, end.failure or "nothing was to be done")
            self._book_rounding(state, fill, job)
            return
        gas_cost = read_gas_cost(self.runner.journal, job.name)
        events = list_fill_events(
            state,
            trade,
            fill,
            at=self.book.now(),
            outcome=last.outcome,
            gas_cost=gas_cost,
            gas_usd=self.book.value_gas(state, gas_cost),
            is_complete=not end.failure,
        )
        for event in events:
            state.record(event)
        if end.failure:
            text = f"trade #{trade.trade_id} was done in part: {end.failure}"
            self.book.freeze(state, trade, text)
            self.book.tell(AlarmKind.loan_incomplete, f"{trade}: {text}; what was done is in the ledger")

    def _book_rounding(self, state: State, fill: LoanFill, job: LoanJob) -> None:
        """Take from cash what the pool's rounding kept of a supply that was taken out again."""
        if not fill.allocation:
            return
        reserve = state.portfolio.reserve
        at = self.book.now()
        update = BalanceUpdate(
            balance_update_id=state.portfolio.next_balance_update_id,
            cause=BalanceUpdateCause.correction,
            position_type=BalanceUpdatePositionType.reserve,
            asset=reserve.asset,
            quantity=-fill.allocation,
            old_balance=reserve.quantity,
            usd_value=-float(fill.allocation) * reserve.reserve_token_price,
            block_mined_at=to_naive(at),
            strategy_cycle_included_at=state.last_decision_at,
            notes=f"{job.name} was taken back: the lending pool rounded",
        )
        state.record(BalanceUpdated(at, update))
