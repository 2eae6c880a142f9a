"""A hash of what a backtest is a function of."""

from __future__ import annotations

import hashlib
import json

from trading_dagster.backtest.plan import BacktestPlan
from trading_dagster.strategy.indicator_fingerprint import fingerprint


def hash_plan(plan: BacktestPlan) -> str:
    """Return a hash of what a backtest is a function of: code, parameters, data, range and fees."""
    body = {
        "strategy": plan.strategy.source_hash(),
        "code": _hash_code(plan),
        "engine": plan.strategy.engine_version,
        "parameters": plan.parameters.describe(),
        "universe": plan.universe.get_cache_key(),
        "start": plan.start.isoformat(),
        "end": plan.end.isoformat(),
        "cycle_duration": plan.cycle_duration.value,
        "initial_cash": str(plan.initial_cash),
        "options": repr(plan.options),
    }
    return hashlib.blake2b(json.dumps(body, sort_keys=True).encode(), digest_size=16).hexdigest()


def _hash_code(plan: BacktestPlan) -> str:
    """Return a hash of the functions that decide and of all they call, wherever that code lives."""
    strategy = plan.strategy
    functions = (strategy.decide_trades, strategy.before_strategy_tick, strategy.after_strategy_tick)
    return fingerprint(*functions, *(definition.func for definition in plan.indicators.indicators), is_strict=False)
