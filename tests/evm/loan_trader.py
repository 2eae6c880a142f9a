"""A strategy's ledger with loans on the test chain: plans as a decision would, executes, compares with the chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Any

from evm.borrower import Borrower
from evm.deployment_aave import Aave
from evm.trader import Trader

from trading_dagster.domain.event import PositionOpened, TradePlanned
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier, TradingPairKind
from trading_dagster.domain.loan import LoanChange
from trading_dagster.domain.money import ZERO
from trading_dagster.domain.position import TradingPosition
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.trade import TradeExecution, TradePlan, TradePricing, TradeType
from trading_dagster.evm.execution import EvmExecution, SharedParts, TradeExecutionSetting
from trading_dagster.evm.loan_check import LoanLimits
from trading_dagster.evm.loan_execution import LoanExecution
from trading_dagster.evm.loan_planner import LoanPlanner
from trading_dagster.evm.loan_runner import LoanRunner
from trading_dagster.evm.loan_view import LoanReader
from trading_dagster.evm.multicall import Multicall
from trading_dagster.evm.uniswap_v2 import SWAP


@dataclass
class LoanTrader(Trader):
    """Trades shorts of ETH and lends out USD."""

    aave: Aave = field(kw_only=True)
    limits: LoanLimits = field(default_factory=LoanLimits)

    def __post_init__(self) -> None:
        super().__post_init__()
        pool, head = self.aave.deployment, self.client.read_head()
        read = pool.read_reserve
        self.ausd, _ = pool.read_assets(self.client, read(self.client, self.rig.market.usd, head), head)
        _, self.veth = pool.read_assets(self.client, read(self.client, self.rig.market.eth, head), head)
        spot = self.pairs.eth_usd
        self.short_pair = TradingPairIdentifier(
            self.veth,
            self.ausd,
            spot.pool_address,
            spot.exchange_address,
            fee=spot.fee,
            kind=TradingPairKind.lending_protocol_short,
            underlying_spot_pair=spot,
        )
        self.credit_pair = TradingPairIdentifier(
            self.ausd,
            self.pairs.usd,
            self.ausd.address,
            self.ausd.address,
            fee=0.0,
            kind=TradingPairKind.credit_supply,
        )

    def execution(
        self, *, save: Callable[[], object] | None = None, setting: TradeExecutionSetting | None = None, **more: Any
    ) -> EvmExecution:
        executor = self.rig.executor(client=self.client, sleep=self.mine, **more)
        setting = setting or TradeExecutionSetting(timeout_s=60, lookback_blocks=200)
        save = save or self.save

        def make_loans(parts: SharedParts) -> LoanExecution:
            reader = LoanReader(
                self.client,
                Multicall(self.client, self.rig.market.aggregator),
                self.aave.deployment,
                self.account.address,
            )
            planner = LoanPlanner(self.client, reader, self.dex, limits=self.limits)
            runner = LoanRunner(
                self.client, self.rig.journal, self.account, planner, parts.wait, sleep=self.mine, poll_s=0.01
            )
            limits = setting.limits
            return LoanExecution(
                runner, self.routes, parts.book, save, limits.max_slippage, limits.max_price_impact, setting.max_age
            )

        return EvmExecution(
            self.client,
            executor,
            self.rig.journal,
            self.routes,
            save=save,
            alarm=self.rig.alarms.append,
            now=lambda: self.now,
            setting=setting,
            trader=self.account,
            make_loans=make_loans,
        )

    # Plans

    def open_short(self, reserve: float, leverage: float = 1.0, slippage: float = 0.02) -> TradeExecution:
        at, spot, amount = to_naive(self.now), self.pairs.eth_usd, Decimal(reserve)
        mid = self.pricing().get_mid_price(at, spot)
        quantity = amount * Decimal(leverage) / Decimal(mid)
        pricing = self.pricing().get_sell_price(at, spot, float(quantity))
        change = LoanChange(amount, quantity * Decimal(pricing.price))
        return self._plan_loan(None, self.short_pair, -quantity, amount, pricing, change, slippage)

    def close_short(
        self, position: TradingPosition, slippage: float = 0.02, trade_type: TradeType = TradeType.rebalance
    ) -> TradeExecution:
        loan = position.loan
        owed = loan.borrowed.total
        at, spot = to_naive(self.now), self.pairs.eth_usd
        pricing = self.pricing().get_buy_price(at, spot, float(owed) * 4000)
        cost = owed * Decimal(pricing.price)
        back = loan.collateral.total - cost
        change = LoanChange(-back, -cost, loan.collateral.interest.outstanding, loan.borrowed.interest.outstanding)
        return self._plan_loan(
            position, position.pair, owed, back, pricing, change, slippage, closing=True, trade_type=trade_type
        )

    def reduce_short(self, position: TradingPosition, repaid: str, released: str) -> TradeExecution:
        at, spot, quantity, out = to_naive(self.now), self.pairs.eth_usd, Decimal(repaid), Decimal(released)
        mid = self.pricing().get_mid_price(at, spot)
        pricing = TradePricing(mid * 0.997, mid, 0.0, 0.0, True, at)
        change = LoanChange(-out, -quantity * Decimal(pricing.price))
        return self._plan_loan(position, position.pair, quantity, out, pricing, change, 0.02)

    def supply(self, amount: float, position: TradingPosition | None = None) -> TradeExecution:
        pricing = TradePricing(1.0, 1.0, 0.0, 0.0, True, to_naive(self.now))
        change = LoanChange(Decimal(amount))
        return self._plan_loan(position, self.credit_pair, Decimal(amount), Decimal(amount), pricing, change, 0.01)

    def withdraw(self, position: TradingPosition, amount: Decimal | None = None) -> TradeExecution:
        pricing = TradePricing(1.0, 1.0, 0.0, 0.0, False, to_naive(self.now))
        side = position.loan.collateral
        out = side.total if amount is None else amount
        claimed = side.interest.outstanding if amount is None else max(amount - side.quantity, ZERO)
        change = LoanChange(-out, ZERO, claimed)
        return self._plan_loan(position, position.pair, -out, out, pricing, change, 0.01, closing=amount is None)

    def _plan_loan(
        self,
        position: TradingPosition | None,
        pair: TradingPairIdentifier,
        quantity: Decimal,
        reserve: Decimal,
        pricing: TradePricing,
        change: LoanChange,
        slippage: float,
        *,
        closing: bool = False,
        trade_type: TradeType = TradeType.rebalance,
    ) -> TradeExecution:
        portfolio = self.state.portfolio
        number = portfolio.next_position_id if position is None else position.position_id
        if position is None:
            self.state.record(PositionOpened(self.now, number, pair, 1000.0))
        plan = TradePlan(
            portfolio.next_trade_id,
            number,
            pair,
            trade_type,
            quantity,
            reserve,
            pricing,
            self.pairs.usd,
            slippage,
            closing,
            loan=change,
        )
        self.state.record(TradePlanned(self.now, plan))
        return portfolio.get_position_by_id(number).trades[plan.trade_id]

    # The chain

    def units_apart(self, asset: AssetIdentifier) -> int:
        """Return how many units the chain has beyond the ledger."""
        expected = sum(
            quantity
            for position in self.state.portfolio.get_open_and_frozen_positions()
            for token, quantity in position.get_token_balances()
            if token == asset
        )
        expected += self.state.portfolio.dust.get(asset, ZERO)
        return int((self.balance(asset) - expected) * 10**asset.decimals)

    def require_wallet_equals_ledger(self) -> None:
        """Fail unless cash and left-overs are what the wallet has, to the unit."""
        portfolio = self.state.portfolio
        assert portfolio.reserve.quantity == self.balance(self.pairs.usd)
        eth = self.pairs.eth_usd.base
        assert portfolio.dust.get(eth, ZERO) == self.balance(eth)

    def health(self) -> Fraction | None:
        return Borrower(self.aave, self.rig).health()

    def buy_eth_of_others(self, usd: int) -> None:
        """Push the price of ETH up by somebody else's purchase."""
        market = self.rig.market
        data = SWAP.encode(usd * 10**6, 0, [market.usd, market.eth], market.owner, market.node.timestamp() + 10_000)
        market.node.do(market.owner, market.uniswap.router, data)

    def sell_eth_of_others(self, amount: int) -> None:
        """Push the price of ETH down by somebody else's sale."""
        market = self.rig.market
        data = SWAP.encode(amount * 10**18, 0, [market.eth, market.usd], market.owner, market.node.timestamp() + 10_000)
        market.node.do(market.owner, market.uniswap.router, data)
