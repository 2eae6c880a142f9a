"""A strategy that uses all there is in one backtest, decided by a seed: spot, loans, vaults, orders, costs and fees."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
from random_order_strategy import describe_orders
from random_strategy import BARS, PAIRS, START, USDC
from random_strategy import Parameters as RandomParameters

import trading_dagster as td
from trading_dagster.domain.state import State
from trading_dagster.market.lending import RATE_COLUMNS, LendingCandleType, LendingUniverse
from trading_dagster.market.synthetic import generate_exchange, generate_lending_reserve
from trading_dagster.market.vault import to_vault

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
END = START + timedelta(hours=BARS)
LIVES, DIES, LATE = PAIRS
DIES_AT, BEGINS_AT = START + timedelta(hours=24 * 7 + 5), START + timedelta(hours=24 * 5 + 2)


def _vault(number: int, **terms) -> td.TradingPairIdentifier:
    share = td.AssetIdentifier(td.ChainId.ethereum, f"0x1{number}", f"SHARE{number}", 18)
    pair = td.TradingPairIdentifier(
        share, USDC, f"0x2{number}", "0x30", internal_id=number, internal_exchange_id=1, fee=0.0
    )
    return to_vault(pair, td.VaultTerms(f"Vault {number}", protocol="any", **terms))


INSTANT = _vault(4, limits=(td.VaultLimit(START + 6 * DAY, 2_000, 1_500), td.VaultLimit(START + 12 * DAY, None, None)))
ASYNC = _vault(5, settlement_delay=30 * HOUR)
STOPS = _vault(6, limits=(td.VaultLimit(START + 9 * DAY, 0, 0),))
ASYNC_STOPS = _vault(7, settlement_delay=40 * HOUR)
VAULTS = (INSTANT, ASYNC, STOPS, ASYNC_STOPS)
STOP_AT = {
    DIES: DIES_AT,
    STOPS: START + timedelta(hours=24 * 10 + 3),
    ASYNC_STOPS: START + timedelta(hours=24 * 12 + 9),
}
"""When candles of a pair end."""


def make_everything(seed: int) -> td.TradingStrategyUniverse:
    """Hourly and half-hourly candles of three markets and two vaults, and lending rates that change."""
    generator = np.random.default_rng(seed)
    candles, feed = [], []
    for pair in (*PAIRS, *VAULTS):
        fine = _walk(generator, 100.0 * pair.internal_id, 0.002 if pair.is_vault() else 0.02, pair.internal_id)
        if pair in STOP_AT:
            fine = fine[fine["timestamp"] < STOP_AT[pair]]
        if pair == LATE:
            fine = fine[fine["timestamp"] >= BEGINS_AT]
        hours = fine.groupby(fine["timestamp"].dt.floor("h"), as_index=False).agg(
            pair_id=("pair_id", "first"), timestamp=("timestamp", "first"), open=("open", "first"),
            high=("high", "max"), low=("low", "min"), close=("close", "last"), volume=("volume", "sum"),
        )  # fmt: skip
        candles.append(hours)
        feed.append(fine)
    universe = td.TradingStrategyUniverse.create_from_dataset(
        td.Dataset(
            time_bucket=td.TimeBucket.h1,
            exchanges=[generate_exchange(1, td.ChainId.ethereum, "0x30")],
            pairs=[*PAIRS, *VAULTS],
            candles=pd.concat(candles),
            backtest_stop_loss_candles=pd.concat(feed),
            backtest_stop_loss_time_bucket=td.TimeBucket.m30,
        ),
        reserve_asset="USDC",
    )
    return replace(universe, lending=_rates(generator))


def _walk(generator: np.random.Generator, price: float, size: float, pair_id: int) -> pd.DataFrame:
    times = pd.date_range(START, END, freq="30min", inclusive="left").as_unit("us")
    edges = price * np.exp(np.cumsum(generator.normal(0, size / 2, len(times) + 1)))
    opened, closed = edges[:-1], edges[1:]
    wick = np.abs(generator.normal(0, size / 3, (2, len(times))))
    return pd.DataFrame(
        {
            "pair_id": pair_id,
            "timestamp": times,
            "open": opened,
            "high": np.maximum(opened, closed) * (1 + wick[0]),
            "low": np.minimum(opened, closed) / (1 + wick[1]),
            "close": closed,
            "volume": generator.uniform(1e5, 1e6, len(times)),
        }
    )


def _rates(generator: np.random.Generator) -> LendingUniverse:
    reserves = tuple(generate_lending_reserve(token, n) for n, token in enumerate((USDC, *(p.base for p in PAIRS)), 1))
    index = pd.date_range(START, END, freq="2h", inclusive="left", name="timestamp")
    rates = {
        (reserve.reserve_id, kind): pd.DataFrame(
            np.sort(generator.uniform(0, 60, (len(index), 4)), axis=1)[:, [1, 3, 0, 2]], index, list(RATE_COLUMNS)
        )
        for reserve in reserves
        for kind in LendingCandleType
    }
    return LendingUniverse(td.TimeBucket.h2, reserves, rates)


def parameters_of(seed: int) -> type[RandomParameters]:
    """Return the parameters of a seed: any costs, any trigger model, fees of the fund or none."""
    rng = random.Random(seed)
    impact = rng.choice(
        [
            [],
            [td.ConstantProductImpact(missing_tvl_usd=10_000_000)],
            [td.SquareRootImpact(coefficient=0.1, window=3 * DAY, missing_volume_usd=1e6, is_volume_in_usd=True)],
        ]
    )
    costs = [
        *impact,
        *rng.choice([[], [td.Slippage(bps=20)]]),
        *rng.choice([[], [td.GasPerTrade(usd=0.7)]]),
        *rng.choice([[], [], [td.ExecutionDelay(rng.choice([timedelta(minutes=10), HOUR, 4 * HOUR]))]]),
        *rng.choice([[], [td.TokenTax(buy=0.01, sell=0.02, tokens=("LINK",))]]),
    ]

    class Parameters(RandomParameters):
        pass

    Parameters.costs = rng.choice([[], costs, costs])
    Parameters.trigger_model = rng.choice(list(td.TriggerModel))
    Parameters.fund_fees = rng.choice([None, td.FundFees(management=0.02, performance=0.2, every=7 * DAY)])
    Parameters.initial_cash = 10_000
    return Parameters


def move_money(seed: int):
    """Return an execution test hook: deposits and redemptions at random, some more than there is cash."""

    def hook(cycle, timestamp, state, sync_model):
        rng = random.Random(seed * 31 + cycle)
        if rng.random() < 0.1:
            sync_model.simulate_funding(timestamp, rng.choice([500, 123.456789, -100, -1_500]))

    return hook


EXPECTED = (
    td.TooSmallTrade, td.LiquidationRisked, td.InvalidTrade, td.VaultClosed, td.SettlementPending,
    td.LiquidityDataUnavailable,
)  # fmt: skip
"""What planning may refuse; nothing may be left of it."""


def decide_everything(seed: int):
    """Return a decide_trades that does anything it may at random, the same way at every cycle."""

    def decide_trades(input):
        return Decision(input, random.Random(seed * 1_000_003 + input.cycle)).make()

    return decide_trades


class Decision:
    """One decision; ``left`` is the cash that its trades may still take."""

    def __init__(self, input, rng):
        self.input, self.rng = input, rng
        self.pm = input.get_position_manager()
        self.universe = input.strategy_universe
        self.now = input.timestamp
        gas = 10 if any(isinstance(cost, td.GasPerTrade) for cost in input.parameters.costs) else 0
        self.left = max(self.pm.get_current_cash() - self.pm.get_pending_redemptions() - gas, 0) * 0.999
        self.trades = []
        self.can_pay_gas = self.pm.get_current_cash() > 20

    def make(self):
        self.say()
        roll, pm = self.rng.random(), self.pm
        if roll < 0.06:
            self.take(self.rebalance())
        elif roll < 0.12:
            self.take(self.spread())
        elif roll < 0.15 and pm.is_any_open():
            self.attempt(lambda: pm.close_all(credit_supply=self.rng.random() < 0.5))
        else:
            for pair in PAIRS:
                self.attempt(lambda pair=pair: self.trade_spot(pair))
                self.attempt(lambda pair=pair: self.trade_short(pair))
            for pair in VAULTS:
                self.attempt(lambda pair=pair: self.trade_vault(pair))
            self.attempt(self.park)
        return self.trades

    def attempt(self, action):
        """Do something that may be refused; then nothing of it may be left."""
        before = len(self.input.state.new_events)
        refused = None
        try:
            made = action()
        except (*EXPECTED, td.CandleSampleUnavailable) as error:
            refused = error
        if refused is not None:
            left = self.input.state.new_events[before:]
            assert not left, f"{refused} left {left}"
            return
        self.take(made)

    def take(self, made):
        self.left -= sum(float(trade.plan.allocation) + 1 for trade in made)  # 1 is for gas
        self.trades += made

    def say(self):
        state, rng = self.input.state, self.rng
        if rng.random() < 0.3:
            state.visualisation.plot_indicator(
                self.now, "roll", td.PlotKind.technical_indicator_detached, rng.random(), pair=LIVES
            )
        if rng.random() < 0.1:
            state.visualisation.add_message(self.now, f"cycle {self.input.cycle}")
            self.input.other_data.save(self.input.cycle, "cash", self.pm.get_current_cash())

    def amount(self):
        """Return USD to spend: a part of what is left, sometimes all of it."""
        left = max(self.left, 0)
        return left if self.rng.random() < 0.1 else left / 4 * self.rng.uniform(0.2, 1)

    def trade_spot(self, pair):
        pm, rng, roll = self.pm, self.rng, self.rng.random()
        position = pm.get_current_position_for_pair(pair, pending=True)
        if position is None:
            return self.enter(pair, roll)
        if position.is_pending():
            if roll < 0.15:
                return pm.close_position(position, pending=True)
            return self.take_profits(position) if roll < 0.3 else []
        if roll < 0.12:
            return pm.close_position(position)
        if roll < 0.25:
            return self.take_profits(position)
        if roll < 0.3:
            mid = pm.pricing_model.get_mid_price(self.now, pair)
            pm.adjust_position(pair, rng.uniform(100, 3_000), None, 0.1, pending=True, trigger_price=mid * 1.01)
            return []
        if roll < 0.4 and self.can_pay_gas:
            return pm.adjust_position(pair, -1.0, -position.get_quantity() * Decimal(rng.uniform(0.1, 0.9)), 0.1)
        if roll < 0.5 and self.amount() > 10:
            return pm.adjust_position(pair, self.amount(), None, 0.1)
        if roll < 0.6 and position.stop_loss is not None:
            pm.update_stop_loss(position, position.stop_loss * 1.001, trailing=True)
        if roll < 0.65:
            pm.cancel_waiting_trades(position)
        return []

    def enter(self, pair, roll):
        pm, rng, amount = self.pm, self.rng, self.amount()
        levels = rng.choice([{}, {"stop_loss_pct": 0.97}, {"trailing_stop_loss_pct": 0.97}, {"take_profit_pct": 1.05}])
        if roll < 0.3:
            is_dip = rng.random() < 0.5
            position, _ = pm.open_spot_with_market_limit(
                pair,
                rng.uniform(100, 4_000),
                pm.pricing_model.get_mid_price(self.now, pair) * (rng.uniform(0.97, 1.03)),
                expires_at=rng.choice([None, self.now + 30 * HOUR]),
                condition=td.TriggerCondition.cross_below if is_dip else td.TriggerCondition.cross_above,
                **levels,
            )
            return self.take_profits(position) if rng.random() < 0.5 else []
        return pm.open_spot(pair, amount, **levels) if roll < 0.5 and amount > 10 else []

    def take_profits(self, position):
        quantity = position.get_quantity(planned=True) + position.get_pending_quantity()
        mid = self.pm.pricing_model.get_mid_price(self.now, position.pair)
        when = [mid * self.rng.uniform(0.99, 1.04), self.rng.randint(1, 40) * HOUR, self.now + 20 * HOUR]
        self.pm.prepare_take_profit_trades(
            position,
            [
                (self.rng.choice(when), -quantity * Decimal(self.rng.uniform(0.05, 1)), self.rng.random() < 0.3)
                for _ in range(2)
            ],
        )
        return []

    def trade_short(self, pair):
        pm, rng, roll, amount = self.pm, self.rng, self.rng.random(), self.amount()
        short = pm.get_current_position_for_pair(self.universe.get_shorting_pair(pair), pending=True)
        if short is None:
            return self.enter_short(pair, roll, amount)
        if short.is_pending():
            return pm.close_position(short, pending=True) if roll < 0.1 else []
        if roll < 0.1 or not short.loan.borrowed.quantity:  # only interest is owed: there is no leverage to keep
            return pm.close_position(short)
        if roll < 0.2 and self.can_pay_gas:
            return pm.close_short(short, quantity=-short.get_quantity() * Decimal(rng.uniform(0.1, 0.9)))
        if roll < 0.4 and amount > 10:
            return pm.adjust_short(short, short.get_value() + amount * 0.9)
        return pm.adjust_short(short, short.get_value() * rng.uniform(0.3, 1)) if roll < 0.5 else []

    def enter_short(self, pair, roll, amount):
        pm, rng = self.pm, self.rng
        levels = rng.choice([{}, {"stop_loss_pct": 0.99}, {"take_profit_pct": 1.02}, {"trailing_stop_loss_pct": 0.98}])
        leverage = rng.uniform(0.5, 5)
        if roll < 0.2 and amount >= 10:
            return pm.open_short(pair, amount, leverage=leverage, **levels)
        if roll < 0.35:
            is_rise = rng.random() < 0.5
            pm.open_short_with_market_limit(
                pair,
                rng.uniform(100, 4_000),
                pm.pricing_model.get_mid_price(self.now, pair) * rng.uniform(0.97, 1.03),
                expires_at=rng.choice([None, self.now + 30 * HOUR]),
                leverage=leverage,
                condition=td.TriggerCondition.cross_above if is_rise else td.TriggerCondition.cross_below,
                **levels,
            )
        return []

    def trade_vault(self, pair):
        pm, rng, roll, amount = self.pm, self.rng, self.rng.random(), self.amount()
        position = pm.get_current_position_for_pair(pair)
        if position is None:
            levels = rng.choice([{}, {"stop_loss_pct": 0.995}, {"trailing_stop_loss_pct": 0.995}])
            return pm.open_spot(pair, amount, **levels) if roll < 0.4 and amount > 10 else []
        if roll < 0.1:
            return pm.close_position(position)
        if roll < 0.2:
            return pm.adjust_position(pair, -1.0, -position.get_quantity() * Decimal(rng.uniform(0.1, 0.9)), 0.1)
        return pm.adjust_position(pair, amount, None, 0.1) if roll < 0.3 and amount > 10 else []

    def park(self):
        pm, roll = self.pm, self.rng.random()
        credit = pm.get_current_position_for_pair(self.universe.get_credit_supply_pair())
        if roll < 0.2 and self.amount() > 10:
            return pm.open_credit_supply_position_for_reserves(self.amount())
        if roll < 0.3 and credit is not None:
            return pm.adjust_credit_supply_position(credit, delta=-float(credit.get_quantity()) * self.rng.random())
        return pm.close_position(credit) if roll < 0.35 and credit is not None else []

    def rebalance(self):
        pm, model = self.pm, td.AlphaModel(self.now)
        hedged = [pair for pair in PAIRS if self.is_hedged(pair)]
        if hedged:  # the alpha model holds one side of a market
            return [trade for pair in hedged for trade in pm.close_position(pm.get_current_position_for_pair(pair))]
        for pair in (*PAIRS, *VAULTS):
            if not self.universe.can_open_spot(self.now, pair) or self.is_waiting(pair) or self.is_new(pair):
                continue
            signal = self.rng.uniform(0, 1) if pair.is_vault() else self.rng.uniform(-1, 1)
            if signal > 0:
                model.set_signal(pair, signal, **({} if pair.is_vault() else {"stop_loss": 0.95}))
            elif self.universe.can_open_short(self.now, pair):
                model.set_signal(pair, signal, leverage=1.0, stop_loss=0.9)
        equity = pm.get_current_cash() * 0.9
        for position in pm.get_current_portfolio().get_open_positions():
            if position.is_credit_supply():
                continue
            pair = position.pair.get_pricing_pair()
            equity += position.get_value() * 0.9
            if not self.universe.can_open_spot(self.now, pair) or self.is_waiting(pair):
                equity -= model.carry_forward(position)
        equity -= model.carry_forward_non_redeemable_positions(pm)
        model.select_top_signals(4)
        model.assign_weights(td.weight_passthrough)
        model.normalise_weights()
        model.update_old_weights(pm.get_current_portfolio(), ignore_credit=False)
        model.calculate_target_positions(pm, max(equity, 0))
        trades = model.generate_rebalance_trades_and_triggers(
            pm,
            min_trade_threshold=10,
            individual_rebalance_min_threshold=10,
            cap_buys_to_sync_cash=True,
            sync_cash_headroom_usd=equity * 0.05 + 10,
        )
        if self.rng.random() < 0.3:
            self.input.other_data.save(self.input.cycle, "alpha_model", model.to_dict())
        return trades

    def is_hedged(self, pair):
        short = self.universe.get_shorting_pair(pair)
        return all(self.pm.get_current_position_for_pair(side) is not None for side in (pair, short))

    def is_new(self, pair):
        """Tell whether too few candles have closed for the price impact to be known."""
        begun = BEGINS_AT if pair == LATE else START
        return self.now < begun + 4 * HOUR

    def is_waiting(self, pair):
        position = self.pm.get_current_position_for_pair(pair, pending=True)
        return position is not None and position.is_pending()

    def spread(self):
        pm = self.pm
        rules = td.YieldRuleset(
            position_allocation=0.9,
            buffer_pct=0.03,
            cash_change_tolerance_usd=20,
            weights=[
                td.YieldWeightingRule(self.rng.choice(VAULTS), max_concentration=0.4),
                td.YieldWeightingRule(self.universe.get_credit_supply_pair(), max_concentration=1),
            ],
        )
        given = td.YieldDecisionInput(
            execution_mode=self.input.execution_context.mode,
            cycle=self.input.cycle,
            timestamp=self.now,
            total_equity=pm.get_current_portfolio().calculate_total_equity(),
            directional_trades=[],
            pending_redemptions=pm.get_pending_redemptions(),
        )
        return td.YieldManager(pm, rules).calculate_yield_management_safe(given).trades


def describe_everything(state: State) -> dict:
    """Return everything a state holds; equal exactly when the states are."""
    treasury = state.sync.treasury
    return describe_orders(state) | {
        "settlements": dict(state.portfolio.settlements),
        "settles": [(t.trade_id, t.settles_at, t.charges) for t in state.portfolio.get_all_trades()],
        "dust": {str(asset): str(quantity) for asset, quantity in state.portfolio.dust.items()},
        "fund_fees": treasury.fund_fees,
        "interest": [
            (u.position_id, u.quantity) for p in state.portfolio.get_all_positions() for u in p.balance_updates.values()
        ],
    }
