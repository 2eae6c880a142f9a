"""A strategy's ledger and wallet on the test chain: plans trades as a decision would, and executes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from evm.deployment import FAST, Market, Rig
from evm.node import CHAIN_ID

from trading_dagster.domain.event import PositionOpened, StateCreated, TradePlanned
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.money import from_units
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution, TradePlan, TradeType
from trading_dagster.evm.amm_pricing import AmmPricing
from trading_dagster.evm.dex import Dex
from trading_dagster.evm.erc20 import read_balance
from trading_dagster.evm.execution import EvmExecution, TradeExecutionSetting
from trading_dagster.evm.first_buy import FirstBuyCheck
from trading_dagster.evm.trade_route import RouteTable
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.treasury import HotWalletTreasury
from trading_dagster.evm.uniswap_v2 import UniswapV2Dex

STRATEGY = "alpha"
AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Pairs:
    """The pairs of the test market; BTC is quoted in ETH, so that it takes two pools."""

    usd: AssetIdentifier
    eth_usd: TradingPairIdentifier
    btc_eth: TradingPairIdentifier
    tax_usd: TradingPairIdentifier
    others: tuple[TradingPairIdentifier, ...] = ()

    @property
    def all(self) -> list[TradingPairIdentifier]:
        return [self.eth_usd, self.btc_eth, self.tax_usd, *self.others]


def make_pairs(market: Market, btc_fee: float = 0.003) -> Pairs:
    usd, eth, btc, tax = (
        AssetIdentifier(CHAIN_ID, address, symbol, decimals)
        for address, symbol, decimals in (
            (market.usd, "USD", 6),
            (market.eth, "ETH", 18),
            (market.btc, "BTC", 8),
            (market.tax, "TAX", 18),
        )
    )

    def pair(
        base: AssetIdentifier, quote: AssetIdentifier, number: int, fee: float = 0.003, **other: float
    ) -> TradingPairIdentifier:
        factory = market.uniswap.factory
        return TradingPairIdentifier(base, quote, f"0x{number:040x}", factory, number, fee=fee, other_data=other)

    taxed = pair(tax, usd, 3, buy_tax=0.05, sell_tax=0.05)
    return Pairs(usd, pair(eth, usd, 1), pair(btc, eth, 2, btc_fee), taxed)


@dataclass
class Trader:
    """A ledger, and what trades for it; blocks are mined while it waits."""

    rig: Rig
    now: datetime = AT
    dex: Dex | None = None
    btc_fee: float = 0.003
    saves: int = 0
    state: State = field(init=False)

    def __post_init__(self) -> None:
        self.pairs = make_pairs(self.rig.market, self.btc_fee)
        self.dex = self.dex or UniswapV2Dex(self.rig.market.uniswap)
        self.client = self.rig.market.client()
        self.routes = RouteTable(self.dex, self.pairs.usd, self.pairs.all)
        self.state = State(StateCreated(self.now, STRATEGY, self.pairs.usd))

    def save(self) -> None:
        self.saves += 1

    def mine(self, seconds: float) -> None:
        self.rig.market.node.mine()

    @property
    def account(self) -> TradingAccount:
        """Return whose tokens are traded."""
        return TradingAccount.of_wallet(self.rig.account)

    def treasury(self, **more: Any) -> Any:
        return HotWalletTreasury(
            self.client,
            self.rig.journal,
            self.rig.account,
            audit=self.rig.executor(client=self.client).audit,
            confirmations=FAST.confirmations,
            lookback_blocks=200,
            now=lambda: self.now,
            **more,
        )

    def fund(self) -> None:
        """Book what the wallet has, once it is deep enough."""
        self.rig.market.node.mine(5)
        assert len(self.treasury().sync_treasury(to_naive(self.now), self.state)) == 1

    def pricing(self) -> AmmPricing:
        return AmmPricing(self.client, self.routes)

    def execution(
        self,
        *,
        save: Callable[[], object] | None = None,
        setting: TradeExecutionSetting | None = None,
        first_buy: FirstBuyCheck | None = None,
        make_requests: Any = None,
        **more: Any,
    ) -> EvmExecution:
        executor = self.rig.executor(client=self.client, sleep=self.mine, **more)
        return EvmExecution(
            self.client,
            executor,
            self.rig.journal,
            self.routes,
            save=save or self.save,
            alarm=self.rig.alarms.append,
            now=lambda: self.now,
            setting=setting or TradeExecutionSetting(timeout_s=20, lookback_blocks=200),
            first_buy=first_buy,
            trader=self.account,
            make_requests=make_requests,
        )

    def execute(self, *trades: TradeExecution, **more: Any) -> None:
        self.execution(**more).execute_trades(to_naive(self.now), self.state, trades)

    def resume(self, **more: Any) -> list[TradeExecution]:
        return list(self.execution(**more).resume(to_naive(self.now), self.state))

    def buy(self, pair: TradingPairIdentifier, reserve: float | Decimal, slippage: float = 0.01) -> TradeExecution:
        pricing = self.pricing().get_buy_price(to_naive(self.now), pair, float(reserve))
        number = self.state.portfolio.next_position_id
        self.state.record(PositionOpened(self.now, number, pair, 1000.0))
        quantity = Decimal(reserve) / Decimal(pricing.price)
        return self._plan(number, pair, quantity, Decimal(reserve), pricing, slippage)

    def sell(
        self,
        position: TradingPosition,
        quantity: Decimal | None = None,
        slippage: float = 0.01,
        trade_type: TradeType = TradeType.rebalance,
    ) -> TradeExecution:
        held = position.get_quantity()
        quantity = held if quantity is None else quantity
        pricing = self.pricing().get_sell_price(to_naive(self.now), position.pair, float(quantity))
        reserve = quantity * Decimal(pricing.price)
        number = position.position_id
        return self._plan(
            number,
            position.pair,
            -quantity,
            reserve,
            pricing,
            slippage,
            closing=quantity == held,
            trade_type=trade_type,
        )

    def _plan(
        self,
        position_id: int,
        pair: TradingPairIdentifier,
        quantity: Decimal,
        reserve: Decimal,
        pricing: Any,
        slippage: float,
        *,
        closing: bool = False,
        trade_type: TradeType = TradeType.rebalance,
    ) -> TradeExecution:
        portfolio = self.state.portfolio
        plan = TradePlan(
            portfolio.next_trade_id,
            position_id,
            pair,
            trade_type,
            quantity,
            reserve,
            pricing,
            self.pairs.usd,
            slippage,
            closing,
        )
        self.state.record(TradePlanned(self.now, plan))
        return portfolio.get_position_by_id(position_id).trades[plan.trade_id]

    def balance(self, asset: AssetIdentifier) -> Decimal:
        """Return what the trading account has at the head, in tokens."""
        units = read_balance(self.client, asset.address, self.account.address, self.client.read_head())
        return from_units(units, asset.decimals)

    def require_books_equal_chain(self) -> None:
        """Fail unless cash and positions are what the trading account has, to the unit."""
        portfolio = self.state.portfolio
        assert portfolio.reserve.quantity == self.balance(self.pairs.usd)
        held: dict[AssetIdentifier, Decimal] = {pair.base: Decimal(0) for pair in self.pairs.all}
        for position in portfolio.get_open_and_frozen_positions():
            held[position.pair.base] += position.quantity
        assert held == {asset: self.balance(asset) for asset in held}

    def wait(self, how_long: timedelta) -> None:
        self.now += how_long
