"""Aave's own contracts on a node: lending, borrowing, rates, health, and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import pytest
from evm.deployment import Rig
from evm.deployment_aave import Aave
from evm.node import Anvil

from trading_dagster.domain.error import BadInput, ContractMissing
from trading_dagster.domain.identifier import AssetType
from trading_dagster.domain.transaction import Finished, OutcomeStatus
from trading_dagster.evm.aave_v3 import ALL, RAY, AaveAccount, AaveBalance, explain_revert, to_apy, to_percent
from trading_dagster.evm.abi import ContractCall
from trading_dagster.evm.erc20 import approve, read_balance
from trading_dagster.evm.token_flow import read_flows

USD, ETH = 10**6, 10**18
YEAR_S = 31_536_000


@dataclass
class Lender:
    """The rig's wallet at Aave; it has USD."""

    aave: Aave
    rig: Rig
    count: int = 0

    @property
    def wallet(self) -> str:
        return self.rig.wallet.address

    def run(self, call: ContractCall) -> Finished:
        self.count += 1
        executor = self.rig.executor(sleep=lambda seconds: self.rig.market.node.mine())
        (record,) = executor.execute([call.to_intent(f"call-{self.count}", self.rig.account)], timeout_s=20)
        assert isinstance(record, Finished)
        return record

    def do(self, call: ContractCall) -> Finished:
        record = self.run(call)
        assert record.outcome.status is OutcomeStatus.confirmed, record.outcome
        return record

    def supply(self, amount: int) -> Finished:
        usd, deployment = self.rig.market.usd, self.aave.deployment
        self.do(approve(usd, deployment.spender, amount))
        return self.do(deployment.supply(usd, amount, self.wallet))

    def account(self) -> AaveAccount:
        client = self.rig.market.client()
        return self.aave.deployment.read_account(client, self.wallet, client.connect())

    def balance(self, asset: str) -> AaveBalance:
        client, deployment = self.rig.market.client(), self.aave.deployment
        head = client.connect()
        return deployment.read_balance(client, deployment.read_reserve(client, asset, head), self.wallet, head)

    def wait(self, seconds: int) -> None:
        node = self.rig.market.node
        node.rpc("evm_setNextBlockTimestamp", node.timestamp() + seconds)
        node.mine()


@pytest.fixture
def lender(deployed_aave: Aave, node: Anvil, rig: Rig) -> Lender:
    return Lender(deployed_aave, rig)


def test_reserve_says_its_limits_and_tokens(lender: Lender):
    client, deployment, market = lender.rig.market.client(), lender.aave.deployment, lender.rig.market
    head = client.connect()
    reserve = deployment.read_reserve(client, market.usd, head)
    assert (reserve.decimals, reserve.is_active, reserve.can_borrow) == (6, True, True)
    assert (reserve.is_frozen, reserve.is_paused, reserve.supply_cap, reserve.borrow_cap) == (False, False, 0, 0)
    assert reserve.loan_to_value == Fraction(80, 100)
    assert reserve.liquidation_threshold == Fraction(85, 100)
    assert reserve.liquidation_bonus == Fraction(5, 100)
    assert (reserve.supply_apr, reserve.borrow_apr) == (0, 0)
    collateral, debt = deployment.read_assets(client, reserve, head)
    assert (collateral.address, collateral.type) == (reserve.collateral_token, AssetType.collateral)
    assert (debt.address, debt.type, debt.token_symbol) == (reserve.debt_token, AssetType.borrowed, "vUSD")
    assert collateral.liquidation_threshold == 0.85
    assert collateral.underlying is not None
    assert collateral.underlying.address == market.usd
    assert deployment.read_price(client, market.eth, head) == 4000


def test_supply_and_withdrawal_move_the_tokens_one_to_one(lender: Lender):
    market, deployment = lender.rig.market, lender.aave.deployment
    record = lender.supply(10_000 * USD)
    flows = read_flows(record.outcome.logs, lender.wallet)
    assert flows[market.usd].net == -10_000 * USD
    assert lender.balance(market.usd) == AaveBalance(supplied=10_000 * USD, owed=0)
    record = lender.do(deployment.withdraw(market.usd, 4_000 * USD, lender.wallet))
    assert read_flows(record.outcome.logs, lender.wallet)[market.usd].net == 4_000 * USD
    lender.do(deployment.withdraw(market.usd, ALL, lender.wallet))
    assert lender.balance(market.usd).supplied == 0
    client = market.client()
    assert read_balance(client, market.usd, lender.wallet, client.connect()) == 10**12


def test_borrowing_shows_in_health_and_repaying_everything_ends_it(lender: Lender):
    market, deployment = lender.rig.market, lender.aave.deployment
    lender.supply(10_000 * USD)
    assert lender.account().health_factor is None
    lender.do(deployment.borrow(market.eth, ETH, lender.wallet))

    account = lender.account()

    assert account.collateral_usd == pytest.approx(10_000, rel=1e-6)
    assert account.debt_usd == pytest.approx(4_000, rel=1e-6)
    assert account.borrowable_usd == pytest.approx(8_000 - 4_000, rel=1e-6)
    assert (account.loan_to_value, account.liquidation_threshold) == (Fraction(80, 100), Fraction(85, 100))
    assert account.health_factor == pytest.approx(10_000 * 0.85 / 4_000, rel=1e-6)
    lender.aave.set_price(market.eth, 8_500)
    assert lender.account().health_factor == pytest.approx(1, rel=1e-6)
    lender.aave.set_price(market.eth, 4_000)
    node, more = market.node, approve(market.eth, deployment.spender, ALL)
    node.do(market.owner, market.eth, "0xa9059cbb" + lender.wallet[2:].zfill(64) + f"{ETH:064x}")
    lender.do(more)
    lender.do(deployment.repay(market.eth, ALL, lender.wallet))
    assert lender.balance(market.eth).owed == 0
    assert lender.account().health_factor is None


def test_interest_over_a_year_is_what_the_rates_say(lender: Lender):
    market, deployment = lender.rig.market, lender.aave.deployment
    lender.supply(400_000 * USD)
    lender.do(deployment.borrow(market.eth, 40 * ETH, lender.wallet))
    client = market.client()
    reserve = deployment.read_reserve(client, market.eth, client.connect())
    assert reserve.borrow_apr == pytest.approx(4 * 40 / 80, rel=1e-3)  # half of the kink's 80 %, so half of 4 %
    assert reserve.supply_apr == pytest.approx(reserve.borrow_apr * 0.4, rel=1e-3)
    before = lender.balance(market.eth).owed

    lender.wait(YEAR_S)

    growth = (lender.balance(market.eth).owed / before - 1) * 100
    assert growth == pytest.approx(to_apy(reserve.borrow_apr), rel=1e-3)
    assert growth > reserve.borrow_apr
    owned = deployment.read_balance(client, reserve, market.owner, client.read_head()).supplied
    assert (owned / (100 * ETH) - 1) * 100 == pytest.approx(reserve.supply_apr, rel=1e-3)


def test_what_the_pool_refuses_is_never_signed_and_said_in_words(lender: Lender):
    market, deployment = lender.rig.market, lender.aave.deployment
    lender.supply(10_000 * USD)
    for call, words in (
        (deployment.borrow(market.eth, 3 * ETH, lender.wallet), "collateral does not cover"),
        (deployment.withdraw(market.usd, 20_000 * USD, lender.wallet), "has not supplied as much"),
        (deployment.repay(market.eth, ETH, lender.wallet), "no such debt"),
    ):
        record = lender.run(call)
        assert (record.outcome.status, record.attempts) == (OutcomeStatus.refused, ())
        reasons = [explain_revert(word.strip(" .:,'\"")) for word in record.outcome.reason.split()]
        assert any(words in reason for reason in reasons), record.outcome.reason
    lender.do(deployment.borrow(market.eth, ETH, lender.wallet))
    record = lender.run(deployment.withdraw(market.usd, ALL, lender.wallet))
    assert "35" in record.outcome.reason
    lender.aave.set_supply_cap(market.usd, 100_000)
    client = market.client()
    reserve = deployment.read_reserve(client, market.usd, client.connect())
    assert (reserve.supply_cap, reserve.borrow_cap) == (100_000, 0)
    lender.do(approve(market.usd, deployment.spender, 1_000 * USD))
    assert "51" in lender.run(deployment.supply(market.usd, 1_000 * USD, lender.wallet)).outcome.reason


def test_without_the_token_as_collateral_nothing_can_be_borrowed(lender: Lender):
    market, deployment = lender.rig.market, lender.aave.deployment
    lender.supply(10_000 * USD)
    lender.do(deployment.use_as_collateral(market.usd, is_collateral=False))
    assert lender.account().borrowable_usd == 0
    assert lender.run(deployment.borrow(market.eth, ETH, lender.wallet)).outcome.status is OutcomeStatus.refused


def test_unknown_token_market_and_amount_are_errors(lender: Lender):
    client, deployment, market = lender.rig.market.client(), lender.aave.deployment, lender.rig.market
    head = client.connect()
    with pytest.raises(ContractMissing, match="no reserve"):
        deployment.read_reserve(client, market.btc, head)
    with pytest.raises(ContractMissing):
        type(deployment)("0x" + "12" * 20).read_account(client, lender.wallet, head)
    with pytest.raises(BadInput, match="positive"):
        deployment.supply(market.usd, ALL, lender.wallet)
    with pytest.raises(BadInput, match="positive"):
        deployment.borrow(market.usd, 0, lender.wallet)
    with pytest.raises(BadInput, match="positive"):
        deployment.repay(market.usd, -1, lender.wallet)


def test_rates_and_reasons_are_converted():
    assert to_percent(35 * RAY // 1000) == 3.5
    assert to_apy(0) == 0
    assert to_apy(5.0) == pytest.approx(5.1271, abs=1e-4)
    assert explain_revert("50") == "the reserve's borrow cap is reached (Aave error 50)"
    assert explain_revert("anything else") == "anything else"
