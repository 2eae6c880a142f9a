"""Calculate a TradeSummary from positions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from statistics import fmean, median

from trading_dagster.domain.portfolio import Portfolio
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import TimeBucket
from trading_dagster.domain.trade import TradeExecution, TradeType
from trading_dagster.statistics.cost_table import has_costs, sum_costs
from trading_dagster.statistics.drawdown import max_drawdown, max_runup
from trading_dagster.statistics.measure_gain import profit_factor
from trading_dagster.statistics.measure_ratio import cap_sortino, sharpe_ratio, sortino_ratio
from trading_dagster.statistics.open_time import measure_time_in_market
from trading_dagster.statistics.position_return import INVESTOR_FLOWS
from trading_dagster.statistics.returns import (
    EquityCurve,
    Returns,
    calculate_daily_returns_from_curve,
    calculate_returns,
)
from trading_dagster.statistics.trade_summary import TradeSummary

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Selection:
    """Positions to summarise, in the order of their opening, each with at least one executed trade."""

    positions: tuple[TradingPosition, ...]

    @cached_property
    def profits(self) -> dict[int, float]:
        """The realised profit of each position in USD, by its id; 0 before the first sell."""
        return {p.position_id: p.get_realised_profit_usd() or 0.0 for p in self.positions}

    @cached_property
    def trading(self) -> list[TradingPosition]:
        """Closed positions without credit: those that can win or lose."""
        return [p for p in self.positions if p.is_closed() and not p.is_credit_supply()]

    @property
    def won(self) -> list[TradingPosition]:
        """Return those closed with a profit."""
        return [p for p in self.trading if self.profits[p.position_id] > 0]

    @property
    def lost(self) -> list[TradingPosition]:
        """Return those closed with a loss."""
        return [p for p in self.trading if self.profits[p.position_id] < 0]

    @property
    def zero(self) -> list[TradingPosition]:
        """Return those closed with neither."""
        return [p for p in self.trading if self.profits[p.position_id] == 0]

    @cached_property
    def trades(self) -> list[TradeExecution]:
        """The executed trades."""
        return [t for p in self.positions for t in p.get_successful_trades()]

    @cached_property
    def volumes(self) -> list[tuple[TradeExecution, float]]:
        """The executed trades with their value in USD."""
        return [(t, t.get_value()) for t in self.trades]

    @cached_property
    def last_types(self) -> dict[int, TradeType]:
        """Why the last trade of each closed position was made, by its id."""
        return {p.position_id: p.get_last_trade().trade_type for p in self.positions if p.is_closed()}

    def closed_by(self, why: TradeType) -> list[TradingPosition]:
        """Return the closed positions whose last trade was made for a reason."""
        return [p for p in self.positions if self.last_types.get(p.position_id) is why]

    @cached_property
    def percents(self) -> dict[int, float]:
        """The realised profit of each that can win or lose, as a fraction of what was bought, by its id."""
        return {
            p.position_id: p.get_realised_profit_percent() if self.profits[p.position_id] else 0.0 for p in self.trading
        }


def summarise_positions(
    selection: Selection,
    *,
    portfolio: Portfolio,
    is_whole: bool,
    state: State | None,
    time_bucket: TimeBucket | None,
    curve: EquityCurve | None,
    compounding_returns: Returns | None,
    daily: Returns | None = None,
) -> TradeSummary:
    """Return the statistics of a selection of a portfolio's positions.

    Args:
        selection: positions
        portfolio: where they are from, for cash and flows
        is_whole: whether the selection is all positions, so that cash and its return mean something
        state: source of the strategy's range and of treasury flows
        time_bucket: width of a candle, for durations in bars
        curve: wealth by naive UTC time, of which the ratios are taken: total equity, or that of the selection
        compounding_returns: compounding realised profitability of the selection
        daily: the daily returns of `curve` until the end of the strategy's range, where they are known
    """
    won, lost, zero, trading = selection.won, selection.lost, selection.zero, selection.trading
    positions, trades, earned = selection.positions, selection.trades, selection.profits
    start, end = (None, None) if state is None else state.get_strategy_time_range()
    duration = None if start is None or end is None else end - start
    stops, profits = selection.closed_by(TradeType.stop_loss), selection.closed_by(TradeType.take_profit)
    percents, wins, losses = ([selection.percents[p.position_id] for p in each] for each in (trading, won, lost))
    risks = [earned[p.position_id] / p.portfolio_value_at_open for p in lost if p.portfolio_value_at_open]
    still_open = [p for p in positions if p.position_id in portfolio.open_positions]
    volatile = [p for p in positions if not p.is_credit_supply()]
    if daily is None and curve is not None:
        daily = calculate_daily_returns_from_curve(curve, end)
    returns = None if curve is None else calculate_returns(curve)
    interest = [position.get_repaid_interest() for position in positions]
    costs = sum_costs(trade for trade in trades if has_costs(trade))  # beside fee and tax, which are summed below
    return TradeSummary(
        time_bucket=time_bucket,
        duration=duration,
        initial_cash=portfolio.get_initial_cash() if is_whole else None,
        later_flows=_later_flows(state) if is_whole and state is not None else None,
        share_price_return=_share_price_return(state) if is_whole and state is not None else None,
        uninvested_cash=portfolio.get_cash() if is_whole else None,
        open_value=math.fsum(p.get_value() for p in (portfolio.get_open_positions() if is_whole else still_open)),
        won=len(won),
        lost=len(lost),
        zero_loss=len(zero),
        delta_neutral=sum(p.is_closed() and p.is_credit_supply() for p in positions),
        undecided=sum(not p.is_closed() for p in positions),
        total_trades=len(trades),
        realised_profit=math.fsum(earned.values()),
        unrealised_profit=math.fsum(p.get_unrealised_profit_usd() for p in still_open),
        trade_volume=math.fsum(value for _, value in selection.volumes),
        trade_volume_wo_vault=math.fsum(value for t, value in selection.volumes if not t.pair.is_vault()),
        trade_volume_taxed=math.fsum(value for t, value in selection.volumes if _is_taxed(t)),
        lp_fees_paid=math.fsum(t.lp_fees_paid or 0.0 for t in trades),
        token_tax_paid=math.fsum(t.token_tax_paid for t in trades),
        price_impact_paid=costs["impact"],
        slippage_paid=costs["slippage"],
        gas_paid=costs["gas"],
        delay_paid=costs["delay"],
        average_trade=fmean(percents) if percents else None,
        median_trade=median(percents) if percents else None,
        average_winning_trade_profit_pc=fmean(wins) if wins else None,
        average_losing_trade_loss_pc=fmean(losses) if losses else None,
        median_win=median(wins) if wins else None,
        median_loss=median(losses) if losses else None,
        biggest_winning_trade_pc=max(wins, default=None),
        biggest_losing_trade_pc=min(losses, default=None),
        average_duration_of_winning_trades=_average_duration(won),
        average_duration_of_losing_trades=_average_duration(lost),
        average_duration_of_zero_loss_trades=_average_duration(zero),
        average_duration_of_all_trades=_average_duration(trading),
        max_pos_cons=_longest_run(earned[p.position_id] > 0 for p in trading),
        max_neg_cons=_longest_run(earned[p.position_id] < 0 for p in trading),
        max_pullback=_max_pullback(trading, earned),
        max_realised_loss=min(risks, default=None),
        avg_realised_risk=fmean(risks) if risks else None,
        max_loss_risk=max(map(_share_at_stake, positions), default=None),
        delisted=len(selection.closed_by(TradeType.delisting)),
        stop_losses=len(stops),
        winning_stop_losses=sum(earned[p.position_id] > 0 for p in stops),
        losing_stop_losses=sum(earned[p.position_id] < 0 for p in stops),
        take_profits=len(profits),
        winning_take_profits=sum(earned[p.position_id] > 0 for p in profits),
        losing_take_profits=sum(earned[p.position_id] < 0 for p in profits),
        average_interest_paid_usd=fmean(interest) if interest else None,
        median_interest_paid_usd=median(interest) if interest else None,
        max_interest_paid_usd=max(interest, default=None),
        min_interest_paid_usd=min(interest, default=None),
        total_interest_paid_usd=math.fsum(interest),
        total_claimed_interest_usd=math.fsum(position.get_claimed_interest() for position in positions),
        time_in_market=None if start is None or end is None else measure_time_in_market(positions, start, end),
        time_in_market_volatile=None if start is None or end is None else measure_time_in_market(volatile, start, end),
        average_duration_between_position_openings=_average_gap(positions),
        average_position_frequency=len(positions) / (duration / DAY) if duration else None,
        sharpe_ratio=None if daily is None else _known(sharpe_ratio(daily)),
        sortino_ratio=None if daily is None else _known(cap_sortino(sortino_ratio(daily))),
        profit_factor=None if returns is None else _known(profit_factor(returns)),
        max_drawdown=None if returns is None else _known(max_drawdown(returns)),
        max_runup=None if returns is None else _known(max_runup(returns)),
        daily_returns=daily,
        compounding_returns=compounding_returns,
    )


def _is_taxed(trade: TradeExecution) -> bool:
    pricing = trade.plan.pricing
    return bool(pricing.token_tax or pricing.token_tax_percent)


def _later_flows(state: State) -> float:
    flows = math.fsum(r.usd_value for r in state.sync.treasury.balance_update_refs if r.cause in INVESTOR_FLOWS)
    return flows - state.portfolio.get_initial_cash()


def _share_price_return(state: State) -> float | None:
    shares = float(state.sync.treasury.share_count or 0)
    return state.portfolio.get_net_asset_value() / shares / state.initial_share_price - 1 if shares > 0 else None


def _average_duration(positions: Sequence[TradingPosition]) -> timedelta | None:
    durations = [p.closed_at - p.opened_at for p in positions if p.closed_at is not None]
    return sum(durations, timedelta(0)) / len(durations) if durations else None


def _average_gap(positions: Sequence[TradingPosition]) -> timedelta | None:
    if len(positions) < 2:
        return None
    return (positions[-1].opened_at - positions[0].opened_at) / (len(positions) - 1)


def _longest_run(flags: Iterable[bool]) -> int:
    longest = run = 0
    for flag in flags:
        run = run + 1 if flag else 0
        longest = max(longest, run)
    return longest


def _max_pullback(positions: Sequence[TradingPosition], profits: Mapping[int, float]) -> float | None:
    """Return the deepest fall from losses in a row; None without positions, or where a loss left nothing."""
    if not positions:
        return None
    deepest = run = 0.0
    for position in positions:
        profit = profits[position.position_id]
        if profit > 0:
            run = 0.0
        elif profit < 0:
            run += profit
            left = position.portfolio_value_at_open + profit
            if left <= 0:
                return None
            deepest = min(deepest, run / left)
    return deepest


def _share_at_stake(position: TradingPosition) -> float:
    risk = position.get_loss_risk_at_open_pct()
    return position.get_capital_tied_at_open_pct() if risk is None else risk


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
