"""Yield rotation: lend cash to the vaults that earned most lately, and move when others earn more.

Each week the vaults are ranked by what their shares gained in the last weeks. The best gets at most half of the money,
the next as much of the rest; what nobody takes waits where money can always be had back. One vault settles orders two
days later, one takes and gives money on the first days of a week only: what cannot move keeps its place.

Share prices of real vaults may not be shipped with this file. Without a client it makes up three, whose yearly rates
change every month by a seeded draw: they show how it moves, not what it earns. Give it candles with ``--data``.
"""

import random
from datetime import datetime, timedelta

import pandas as pd

import trading_dagster as td

trading_strategy_engine_version = "0.5"

VENUE = (td.ChainId.centralised_exchange, "vaults")


class Parameters:
    vaults = (
        td.Vault((*VENUE, "SAFE", "USDC"), td.VaultTerms("Safe")),
        td.Vault((*VENUE, "SLOW", "USDC"), td.VaultTerms("Slow", settlement_delay=timedelta(days=2))),
        td.Vault(
            (*VENUE, "OPEN", "USDC"),
            td.VaultTerms(
                "Open on Mondays",
                deposit_window=td.VaultWindow(datetime(2022, 1, 3), timedelta(days=7), timedelta(days=2)),
                redemption_window=td.VaultWindow(datetime(2022, 1, 3), timedelta(days=7), timedelta(days=2)),
            ),
        ),
    )
    candle_time_bucket = td.TimeBucket.d1
    cycle_duration = td.CycleDuration.cycle_1d
    required_history_period = timedelta(days=30)
    backtest_start = datetime(2022, 2, 7)
    backtest_end = datetime(2023, 12, 31)
    initial_cash = 100_000
    routing = td.TradeRouting.default

    lookback_bars = 21
    decision_weekday = 0  # Monday
    max_concentration = 0.5
    allocation = 0.98  # of the equity
    cash_change_tolerance_usd = 500


def make_up_vaults(start: datetime = datetime(2022, 1, 3), end: datetime = datetime(2023, 12, 31)) -> td.MemorySource:
    """Return share prices that grow by yearly rates of a few percent, redrawn every month."""
    rates = random.Random(7)  # noqa: S311 - reproducible prices, not a secret
    days = pd.date_range(start, end, freq="D").as_unit("us")
    frames = []
    for name, low, high in (("SAFE", 0.02, 0.05), ("SLOW", 0.0, 0.14), ("OPEN", -0.02, 0.18)):
        price, prices, rate = 1.0, [], 0.0
        for number, day in enumerate(days):
            if day.day == 1 or number == 0:
                rate = rates.uniform(low, high)
            prices.append(price)
            price *= 1 + rate / 365
        columns = dict.fromkeys(("open", "high", "low", "close"), prices)
        frames.append(pd.DataFrame({"timestamp": days, "pair": f"{name}/USDC", **columns, "volume": 0.0}))
    return td.MemorySource({td.TimeBucket.d1: pd.concat(frames, ignore_index=True)}, exchange=VENUE[1])


def create_trading_universe(input: td.CreateTradingUniverseInput) -> td.TradingStrategyUniverse:
    dataset = td.load_partial_data(
        client=input.client or make_up_vaults(),
        time_bucket=input.parameters.candle_time_bucket,
        pairs=[],
        vaults=input.parameters.vaults,
        universe_options=input.universe_options,
    )
    return td.TradingStrategyUniverse.create_from_dataset(dataset)


indicators = td.IndicatorRegistry()


@indicators.define()
def gain(close: pd.Series, lookback_bars: int) -> pd.Series:
    return close / close.shift(lookback_bars) - 1


def decide_trades(input: td.StrategyInput) -> list[td.TradeExecution]:
    parameters, pm = input.parameters, input.get_position_manager()
    if input.timestamp.weekday() != parameters.decision_weekday:
        return []
    gains = {
        pair: input.indicators.get_indicator_value("gain", pair=pair)
        for pair in input.strategy_universe.iterate_pairs()
    }
    if any(value is None for value in gains.values()):
        return []
    refuge, *others = gains  # the first vault is where money can always be had back
    best = sorted((pair for pair in others if gains[pair] > gains[refuge]), key=lambda pair: -gains[pair])
    rules = td.YieldRuleset(
        position_allocation=parameters.allocation,
        buffer_pct=0.01,
        cash_change_tolerance_usd=parameters.cash_change_tolerance_usd,
        weights=[
            *(td.YieldWeightingRule(pair, parameters.max_concentration) for pair in best),
            *(td.YieldWeightingRule(pair, 0) for pair in others if pair not in best),  # is left
            td.YieldWeightingRule(refuge, 1),
        ],
    )
    decision = td.YieldDecisionInput(
        input.execution_context.mode,
        input.cycle,
        input.timestamp,
        pm.get_current_portfolio().calculate_total_equity(),
        directional_trades=[],
        pending_redemptions=pm.get_pending_redemptions(),
    )
    return td.YieldManager(pm, rules).calculate_yield_management_safe(decision).trades
