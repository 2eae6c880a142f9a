"""TradeSummary: what the positions of a strategy, or of one side of it, add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from trading_dagster.domain.time import YEAR, TimeBucket
from trading_dagster.statistics.returns import Returns


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeSummary:
    """Statistics over positions in the order of their opening.

    Amounts are in USD; fields named percent, ``pc`` and risk are fractions (0.01 = 1 %). None means that there is
    nothing to calculate from, such as the average loss of a strategy that never lost. What belongs to the whole
    portfolio (cash, and the return made of it) is None in the summary of one side.
    """

    time_bucket: TimeBucket | None
    duration: timedelta | None
    """Length of the strategy's range."""

    initial_cash: float | None
    """The first deposit."""
    later_flows: float | None
    """Deposits less redemptions after the first deposit: with any, `return_percent` is not performance."""
    share_price_return: float | None = None
    """Share price ÷ initial share price - 1: performance whatever came and went, after fees of a fund."""
    uninvested_cash: float | None
    open_value: float

    won: int
    """Closed positions with a profit above 0; credit positions count in `delta_neutral` only."""
    lost: int
    zero_loss: int
    delta_neutral: int
    """Closed credit positions."""
    undecided: int
    """Positions that are not closed, frozen ones included."""
    total_trades: int
    """Executed trades."""

    realised_profit: float
    unrealised_profit: float
    """Of open positions; frozen ones are not in equity either."""
    trade_volume: float
    trade_volume_wo_vault: float
    trade_volume_taxed: float
    """Volume of trades whose price included a token tax."""
    lp_fees_paid: float
    token_tax_paid: float
    price_impact_paid: float
    """This and the following are of simulated costs, see Parameters.costs."""
    slippage_paid: float
    gas_paid: float
    delay_paid: float

    average_trade: float | None
    """This and the following are of the realised percents of closed positions without credit."""
    median_trade: float | None
    average_winning_trade_profit_pc: float | None
    average_losing_trade_loss_pc: float | None
    median_win: float | None
    median_loss: float | None
    biggest_winning_trade_pc: float | None
    biggest_losing_trade_pc: float | None

    average_duration_of_winning_trades: timedelta | None
    average_duration_of_losing_trades: timedelta | None
    average_duration_of_zero_loss_trades: timedelta | None
    average_duration_of_all_trades: timedelta | None

    max_pos_cons: int
    """Longest run of wins; a position without profit ends it."""
    max_neg_cons: int
    max_pullback: float | None
    """Smallest of: sum of the losses since the last win ÷ portfolio after the loss; 0 without a loss."""
    max_realised_loss: float | None
    """Smallest of: loss ÷ portfolio at open, over lost positions."""
    avg_realised_risk: float | None
    max_loss_risk: float | None
    """Largest share of the portfolio at stake at open: down to the stop loss, or all that was bought."""

    delisted: int
    """Positions that a backtest closed at the last real price because the pair's candles stopped."""
    stop_losses: int
    winning_stop_losses: int
    losing_stop_losses: int
    take_profits: int
    winning_take_profits: int
    losing_take_profits: int

    average_interest_paid_usd: float | None
    """Repaid borrow interest of a position, 0 for one without a loan; None without positions."""
    median_interest_paid_usd: float | None
    max_interest_paid_usd: float | None
    min_interest_paid_usd: float | None
    total_interest_paid_usd: float
    total_claimed_interest_usd: float

    time_in_market: float | None
    """Length of the union of the times in which positions were open ÷ duration."""
    time_in_market_volatile: float | None
    """The same without credit positions."""
    average_duration_between_position_openings: timedelta | None
    average_position_frequency: float | None
    """Positions opened per day."""

    sharpe_ratio: float | None
    sortino_ratio: float | None
    profit_factor: float | None
    max_drawdown: float | None
    max_runup: float | None
    daily_returns: Returns | None = field(compare=False, repr=False)
    compounding_returns: Returns | None = field(compare=False, repr=False)
    """Compounding realised profitability by time of closing."""

    @property
    def total_positions(self) -> int:
        """Return how many positions closed."""
        return self.won + self.lost + self.zero_loss + self.delta_neutral

    @property
    def win_percent(self) -> float | None:
        """Return won ÷ closed positions."""
        return share(self.won, self.total_positions)

    @property
    def lost_percent(self) -> float | None:
        """Return lost ÷ closed positions."""
        return share(self.lost, self.total_positions)

    @property
    def end_value(self) -> float | None:
        """Return the value of open positions plus cash."""
        return None if self.uninvested_cash is None else self.open_value + self.uninvested_cash

    @property
    def return_percent(self) -> float | None:
        """Return end value ÷ initial cash - 1: flows after the start move it."""
        if self.end_value is None or not self.initial_cash:
            return None
        return self.end_value / self.initial_cash - 1

    @property
    def annualised_return_percent(self) -> float | None:
        """Return the return x 365 days ÷ duration: linear, not compounded."""
        return annualise_linearly(self.return_percent, self.duration)

    @property
    def total_profit(self) -> float:
        """Return realised plus unrealised profit."""
        return self.realised_profit + self.unrealised_profit

    @property
    def average_net_profit(self) -> float | None:
        """Return realised profit ÷ closed positions."""
        return share(self.realised_profit, self.total_positions)

    @property
    def lp_fees_average_pc(self) -> float | None:
        """Return fees ÷ volume."""
        return share(self.lp_fees_paid, self.trade_volume)

    @property
    def average_bars_of_winning_trades(self) -> float | None:
        """Return the average duration of won positions in candles."""
        return self._in_bars(self.average_duration_of_winning_trades)

    @property
    def average_bars_of_losing_trades(self) -> float | None:
        """Return the average duration of lost positions in candles."""
        return self._in_bars(self.average_duration_of_losing_trades)

    @property
    def average_bars_of_zero_loss_trades(self) -> float | None:
        """Return the average duration of positions without profit in candles."""
        return self._in_bars(self.average_duration_of_zero_loss_trades)

    @property
    def average_bars_of_all_trades(self) -> float | None:
        """Return the average duration of closed positions in candles."""
        return self._in_bars(self.average_duration_of_all_trades)

    @property
    def all_stop_loss_percent(self) -> float | None:
        """Return stop losses ÷ closed positions."""
        return share(self.stop_losses, self.total_positions)

    @property
    def lost_stop_loss_percent(self) -> float | None:
        """Return stop losses ÷ lost positions; above 1 where stop losses won."""
        return share(self.stop_losses, self.lost)

    @property
    def winning_stop_losses_percent(self) -> float | None:
        """Return the share of stop losses that won."""
        return share(self.winning_stop_losses, self.stop_losses)

    @property
    def losing_stop_losses_percent(self) -> float | None:
        """Return the share of stop losses that lost."""
        return share(self.losing_stop_losses, self.stop_losses)

    @property
    def all_take_profit_percent(self) -> float | None:
        """Return take profits ÷ closed positions."""
        return share(self.take_profits, self.total_positions)

    @property
    def won_take_profit_percent(self) -> float | None:
        """Return take profits ÷ won positions; above 1 where take profits lost."""
        return share(self.take_profits, self.won)

    @property
    def winning_take_profits_percent(self) -> float | None:
        """Return the share of take profits that won."""
        return share(self.winning_take_profits, self.take_profits)

    @property
    def losing_take_profits_percent(self) -> float | None:
        """Return the share of take profits that lost."""
        return share(self.losing_take_profits, self.take_profits)

    @property
    def compounding_return(self) -> float | None:
        """Return the compounding realised profitability at the end."""
        series = self.compounding_returns
        return None if series is None or series.empty else float(series.iloc[-1])

    def _in_bars(self, duration: timedelta | None) -> float | None:
        if duration is None or self.time_bucket in (None, TimeBucket.not_applicable):
            return None
        return duration / self.time_bucket.to_timedelta()


def share(part: float, whole: float) -> float | None:
    """Return part ÷ whole, None where whole is 0."""
    return part / whole if whole else None


def annualise_linearly(total: float | None, duration: timedelta | None) -> float | None:
    """Return total x 365 days ÷ duration, None where either is unknown or the duration is 0."""
    return None if total is None or not duration else total * (YEAR / duration)
