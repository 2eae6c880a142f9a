"""What the live demo tells at its end: trades with their transactions, the account check, the backtest beside it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from trading_dagster.accounting.account_check import AccountTable, check_accounts
from trading_dagster.demo.stage import Stage
from trading_dagster.domain.money import ZERO, from_units
from trading_dagster.domain.state import State
from trading_dagster.domain.trade import TradeExecution
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.erc20 import BALANCE_OF
from trading_dagster.evm.past_price import PastPrices
from trading_dagster.live.chain_opening import find_chain, find_exchange
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.research.divergence import compare_with_backtest
from trading_dagster.research.divergence_table import describe_report

HEAD = ("trade", "decided", "side", "amount", "quoted", "filled", "off by", "block", "transaction")


def describe_demo(stage: Stage, live: LiveStrategy, state: State) -> str:
    """Return the demo's report as text.

    Args:
        stage: What was staged; its node must run.
        live: The deployment, which is compared with its backtest.
        state: What its ledger adds up to.
    """
    trades = sorted(state.portfolio.get_all_trades(), key=lambda trade: trade.trade_id)
    gas = sum((trade.fill.gas_cost or ZERO for trade in trades if trade.fill is not None), ZERO)
    parts = [
        f"Trades of {stage.wallet} in the pool {stage.pool.pair.pool_address}",
        describe_trades(trades),
        f"Gas paid: {gas.normalize():f} ETH",
        "",
        f"Account check, the ledger against the balances on the chain: {_verdict(stage, state)}",
        str(read_accounts(stage, state)),
        "",
        describe_report(compare_with_backtest(live, mid_at_fill=_open_past_prices(stage).mid_before_fill)),
    ]
    return "\n".join(parts)


def describe_trades(trades: Sequence[TradeExecution]) -> str:
    """Return one line a trade; "off by" is how much worse than its quote it was filled, in basis points."""
    rows = [_describe_trade(trade) for trade in trades]
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (HEAD, *rows))
    return "\n".join(line.rstrip() for line in lines)


def read_accounts(stage: Stage, state: State) -> AccountTable:
    """Compare the ledger with the wallet's balances on the chain."""
    pair = stage.pool.pair
    actual = {
        token: from_units(stage.node.call(token.address, BALANCE_OF, stage.wallet)[0], token.decimals)
        for token in (pair.quote, pair.base)
    }
    return check_accounts(state, actual)


def _open_past_prices(stage: Stage) -> PastPrices:
    chain, exchange = find_chain(stage.deployment), find_exchange(stage.deployment)
    return PastPrices(EvmClient([HttpEndpoint(stage.node.url)], chain.chain_id, chain.client), exchange.dex)


def _verdict(stage: Stage, state: State) -> str:
    table = read_accounts(stage, state)
    exact = all(row.difference == 0 for row in table.rows)
    return "equal to the unit" if exact else "within tolerance" if table.is_clean else "THEY DIFFER"


def _describe_trade(trade: TradeExecution) -> tuple[str, ...]:
    symbol = trade.pair.base.token_symbol
    about = (str(trade.trade_id), f"{trade.opened_at:%Y-%m-%d %H:%M}", "buy" if trade.is_buy() else "sell")
    fill, quoted = trade.fill, trade.planned_price
    if fill is None:
        return (*about, "", f"{quoted:,.2f}", trade.get_status().value, "", "", "")
    worse = (fill.price / quoted - 1) * (1 if trade.is_buy() else -1)
    return (
        *about,
        f"{abs(Decimal(fill.quantity)):.8f} {symbol}",
        f"{quoted:,.2f}",
        f"{fill.price:,.2f}",
        f"{worse * 1e4:+.2f} bps",
        str(fill.block_number or ""),
        fill.tx_hash or "",
    )
