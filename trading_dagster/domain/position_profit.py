"""What a position gained or lost: realised, unrealised, in USD and as a fraction; average-price method."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.loan import Loan
from trading_dagster.domain.value import value


@value
class TriggerPriceUpdate:
    """One change of the trigger levels of a position; levels are mid prices."""

    timestamp: datetime
    mid_price: float | None
    stop_loss_before: float | None
    stop_loss_after: float | None
    take_profit_before: float | None
    take_profit_after: float | None


class PositionProfit:
    """The profit of a position from what its trades add up to.

    A short sells first: its average entry is the average sell. Interest counts apart from prices.
    """

    __slots__ = (
        "_bought_quantity", "_bought_value", "_sold_quantity", "_sold_value", "claimed_interest", "closed_at",
        "opened_at", "pair", "portfolio_value_at_open", "repaid_interest", "trigger_updates",
    )  # fmt: skip

    pair: TradingPairIdentifier
    opened_at: datetime
    closed_at: datetime | None
    portfolio_value_at_open: float
    trigger_updates: list[TriggerPriceUpdate]
    claimed_interest: float
    repaid_interest: float
    _bought_quantity: Decimal
    _bought_value: float
    _sold_quantity: Decimal
    _sold_value: float

    @property
    def last_token_price(self) -> float:
        """Return the price the position was last valued at, reserve per base token."""
        raise NotImplementedError

    @property
    def loan(self) -> Loan | None:
        """Return the loan, None for a position without."""
        raise NotImplementedError

    def get_quantity(self) -> Decimal:
        """Return base tokens held."""
        raise NotImplementedError

    def get_value(self) -> float:
        """Return the USD value."""
        raise NotImplementedError

    def get_opening_price(self) -> float:
        """Return the price of the first trade."""
        raise NotImplementedError

    def get_opening_quantity(self) -> Decimal:
        """Return the quantity of the first trade."""
        raise NotImplementedError

    def get_value_at_open(self) -> float:
        """Return the executed value of the first trade, USD."""
        raise NotImplementedError

    def get_capital_tied_at_open_pct(self) -> float:
        """Return the share of the portfolio the first trade took."""
        return self.get_value_at_open() / self.portfolio_value_at_open if self.portfolio_value_at_open else 0.0

    def get_buy_value(self) -> float:
        """Return USD spent on executed buys, less the cost of what was redeemed in kind."""
        return self._bought_value

    def get_sell_value(self) -> float:
        """Return USD received from executed sells."""
        return self._sold_value

    def get_buy_quantity(self) -> Decimal:
        """Return base tokens bought, less those redeemed in kind."""
        return self._bought_quantity

    def get_sell_quantity(self) -> Decimal:
        """Return base tokens sold."""
        return self._sold_quantity

    def get_average_buy(self) -> float | None:
        """Return USD per token over executed buys, None before the first."""
        return self._bought_value / float(self._bought_quantity) if self._bought_quantity else None

    def get_average_sell(self) -> float | None:
        """Return USD per token over executed sells, None before the first."""
        return self._sold_value / float(self._sold_quantity) if self._sold_quantity else None

    def get_average_entry(self) -> float | None:
        """Return USD per token the position was entered at: the average buy, of a short the average sell."""
        return self.get_average_sell() if self.pair.is_short() else self.get_average_buy()

    def get_realised_profit_usd(self) -> float | None:
        """Return (average sell - average buy) x quantity closed, and claimed less repaid interest.

        None before anything was closed. A credit supply gains by interest alone.
        """
        if not self._bought_quantity or not self._sold_quantity:
            return None
        bought, sold, pair = float(self._bought_quantity), float(self._sold_quantity), self.pair
        closed, gained = sold, self._sold_value / sold - self._bought_value / bought
        if pair.has_loan:
            closed = bought if pair.is_short() else sold
            gained = 0.0 if pair.is_credit_supply() else gained
        return gained * closed + self.claimed_interest - self.repaid_interest

    def get_accrued_interest(self) -> float:
        """Return interest earned less interest owed, neither claimed nor repaid yet, USD."""
        loan = self.loan
        return 0.0 if loan is None or self.closed_at is not None else loan.get_net_interest()

    def get_claimed_interest(self) -> float:
        """Return interest of the collateral that trades claimed, USD."""
        return self.claimed_interest

    def get_repaid_interest(self) -> float:
        """Return interest of the debt that trades repaid, USD."""
        return self.repaid_interest

    def get_unrealised_profit_usd(self) -> float:
        """Return (last price - average entry) x quantity, negative for a short, and the interest outstanding."""
        average_entry = self.get_average_entry()
        if self.closed_at is not None or average_entry is None:
            return 0.0
        if self.pair.is_credit_supply():
            return self.get_accrued_interest()
        by_price = (self.last_token_price - average_entry) * float(self.get_quantity())
        return by_price if self.loan is None else by_price + self.get_accrued_interest()

    def get_total_profit_usd(self) -> float:
        """Return realised and unrealised profit."""
        return (self.get_realised_profit_usd() or 0.0) + self.get_unrealised_profit_usd()

    def get_realised_profit_percent(self) -> float:
        """Return sell value over the cost of what was sold, less 1; for loans the profit over what was lent or sold."""
        if self.loan is not None:
            return (self.get_realised_profit_usd() or 0.0) / self._entry_value() if self._entry_value() else 0.0
        if not self._bought_quantity or not self._sold_quantity or not self._bought_value:
            return 0.0
        fraction_closed = float(self._sold_quantity / self._bought_quantity)
        return self._sold_value / (self._bought_value * fraction_closed) - 1

    def get_unrealised_and_realised_profit_percent(self) -> float:
        """Return (sell value + value of the rest - buy value) / buy value; for loans the profit over the entry."""
        if self.loan is not None:
            return self.get_total_profit_usd() / self._entry_value() if self._entry_value() else 0.0
        if not self._bought_value:
            return 0.0
        return (self._sold_value + self.get_value() - self._bought_value) / self._bought_value

    def get_size_relative_realised_profit_percent(self) -> float:
        """Return the realised percent times the share of capital tied at open."""
        return self.get_realised_profit_percent() * self.get_capital_tied_at_open_pct()

    def get_loss_risk_at_open(self) -> float | None:
        """Return USD that is lost when the first stop loss is hit, None without one."""
        stop_loss = self.get_original_stop_loss()
        if stop_loss is None:
            return None
        return abs(self.get_opening_price() - stop_loss) * abs(float(self.get_opening_quantity()))

    def get_loss_risk_at_open_pct(self) -> float | None:
        """Return the loss risk at open as a share of the portfolio, None without a stop loss."""
        risk = self.get_loss_risk_at_open()
        return None if risk is None or not self.portfolio_value_at_open else risk / self.portfolio_value_at_open

    def get_original_stop_loss(self) -> float | None:
        """Return the first stop-loss level, None without one."""
        for update in self.trigger_updates:
            if update.stop_loss_after is not None:
                return update.stop_loss_after
        return None

    def get_duration(self) -> timedelta | None:
        """Return how long the position was open, None while it is."""
        return None if self.closed_at is None else self.closed_at - self.opened_at

    def _entry_value(self) -> float:
        return self._sold_value if self.pair.is_short() else self._bought_value
