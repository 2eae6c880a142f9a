"""The rig's wallet as a borrower: runs loan jobs on Aave's own contracts, with swaps on Uniswap v2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from evm.deployment import Rig
from evm.deployment_aave import Aave

from trading_dagster.domain.transaction import Intent, IntentRecord
from trading_dagster.evm.aave_v3 import ALL, AaveBalance
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.dex import Dex, Hop, Route
from trading_dagster.evm.erc20 import read_balance
from trading_dagster.evm.loan_check import LoanLimits
from trading_dagster.evm.loan_planner import LoanPlanner
from trading_dagster.evm.loan_progress import LoanGoal
from trading_dagster.evm.loan_runner import LoanJob, LoanResult, LoanRunner
from trading_dagster.evm.loan_view import LoanReader
from trading_dagster.evm.multicall import Multicall
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.uniswap_v2 import UniswapV2Dex

USD, ETH = 10**6, 10**18
PRICE = Fraction(4000 * USD, ETH)


@dataclass
class Borrower:
    """Runs jobs with an executor whose waiting mines blocks."""

    aave: Aave
    rig: Rig
    limits: LoanLimits = field(default_factory=LoanLimits)
    count: int = 0

    @property
    def wallet(self) -> str:
        return self.rig.wallet.address

    @property
    def usd(self) -> str:
        return self.rig.market.usd

    @property
    def eth(self) -> str:
        return self.rig.market.eth

    def mine(self, seconds: float = 0.0) -> None:
        self.rig.market.node.mine()

    def planner(self, client: EvmClient, dex: Dex) -> LoanPlanner:
        reader = LoanReader(client, Multicall(client, self.rig.market.aggregator), self.aave.deployment, self.wallet)
        return LoanPlanner(client, reader, dex, limits=self.limits)

    def check(self, goal: LoanGoal) -> None:
        """Ask whether a goal can be reached as things are."""
        client = self.rig.market.client()
        planner = self.planner(client, UniswapV2Dex(self.rig.market.uniswap))
        planner.require_feasible(goal, self.job(goal, 99).route, ("USD", "ETH"))

    def runner(self, **more: Any) -> LoanRunner:
        market = self.rig.market
        client = more.pop("client", None) or market.client()
        executor = more.pop("executor", None) or self.rig.executor(client=client, sleep=self.mine)
        dex = more.pop("dex", None) or UniswapV2Dex(market.uniswap)

        def execute(intents: Sequence[Intent], timeout_s: float) -> Sequence[IntentRecord]:
            return executor.execute(intents, timeout_s)

        return LoanRunner(
            client,
            self.rig.journal,
            TradingAccount.of_wallet(self.rig.account),
            self.planner(client, dex),
            execute,
            sleep=self.mine,
            **more,
        )

    def job(self, goal: LoanGoal, number: int | None = None) -> LoanJob:
        if number is None:
            self.count += 1
            number = self.count
        sells = bool(goal.borrow)
        route = Route((Hop(self.eth, self.usd) if sells else Hop(self.usd, self.eth),)) if goal.base else None
        return LoanJob(f"trade/alpha/{number}/1", goal, route, {"position_id": number})

    def run(self, goal: LoanGoal, timeout_s: float = 60.0, **more: Any) -> LoanResult:
        return self.runner().run(self.job(goal), timeout_s, **more)

    def short(self, deposit: int, borrow: int, **more: Any) -> LoanGoal:
        parts: dict[str, Any] = {"price": PRICE, "slippage": Fraction(2, 100), "is_new": True} | more
        return LoanGoal(self.usd, self.eth, deposit=deposit, borrow=borrow, **parts)

    def cover(self, repay: int = ALL, withdraw: int = ALL, **more: Any) -> LoanGoal:
        parts: dict[str, Any] = {"price": PRICE, "slippage": Fraction(2, 100)} | more
        return LoanGoal(self.usd, self.eth, repay=repay, withdraw=withdraw, **parts)

    def balance(self, asset: str) -> int:
        client = self.rig.market.client()
        return read_balance(client, asset, self.wallet, client.connect())

    def loan(self, asset: str) -> AaveBalance:
        client, pool = self.rig.market.client(), self.aave.deployment
        head = client.connect()
        return pool.read_balance(client, pool.read_reserve(client, asset, head), self.wallet, head)

    def health(self) -> Fraction | None:
        client = self.rig.market.client()
        return self.aave.deployment.read_account(client, self.wallet, client.connect()).health_factor
