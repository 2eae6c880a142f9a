"""Trading for real on an exchange of an EVM chain: from a hot wallet, or for a vault whose asset manager it is.

One wallet serves one strategy: its deposits are told by its balance, those of a vault by the vault's events. Secrets
are named by the environment variables that hold them, and stay in the wallet's and the endpoints' memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import cached_property, partial
from pathlib import Path

from trading_dagster.domain.error import BadConfiguration, ChainHalted, ClockSkewed, EvmError, WrongChain
from trading_dagster.domain.identifier import AssetIdentifier, TradingPairIdentifier
from trading_dagster.domain.money import from_units
from trading_dagster.domain.purse import Purse, vault_purse, wallet_purse
from trading_dagster.domain.state import State
from trading_dagster.domain.transaction import Account, Intent
from trading_dagster.evm.alarm import Alarm, AlarmKind, AlarmSink, Observer, ignore_step
from trading_dagster.evm.amm_pricing import AmmMarks, AmmPricing
from trading_dagster.evm.balance import WalletBalances
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.chain_time import TimeLimits, check_chain_time
from trading_dagster.evm.client import ClientSetting, EvmClient
from trading_dagster.evm.dex import OutputDex
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.evm.erc4626 import VaultDeployment, VaultTreasury, require_managed
from trading_dagster.evm.erc7540 import read_later_sides
from trading_dagster.evm.execution import EvmExecution, SharedParts, TradeExecutionSetting, list_running
from trading_dagster.evm.first_buy import FirstBuyCheck, FirstBuySetting
from trading_dagster.evm.gas import DEFAULT_POLICY, GasPolicy
from trading_dagster.evm.lending_desk import LendingDesk, LendingPool, ReserveTokens, check_lending
from trading_dagster.evm.loan_interest import LoanInterest
from trading_dagster.evm.multicall import MULTICALL3, Multicall
from trading_dagster.evm.native_price import native_price
from trading_dagster.evm.preflight import Preflight, check_chain
from trading_dagster.evm.redemption import WalletRedemptions
from trading_dagster.evm.request_settlement import RequestSettlement, is_disturbed
from trading_dagster.evm.request_vault import open_vault
from trading_dagster.evm.signing import allow_signing
from trading_dagster.evm.swap_intent import NATIVE_DECIMALS, SwapLimits
from trading_dagster.evm.trade_route import RouteTable, list_legs
from trading_dagster.evm.trading_account import TradingAccount
from trading_dagster.evm.transaction import ExecutionSetting, TransactionExecutor
from trading_dagster.evm.transaction_journal import TransactionJournal
from trading_dagster.evm.treasury import HotWalletTreasury
from trading_dagster.evm.vault_check import check_vaults
from trading_dagster.evm.vault_dex import TradedVault, find_reason_to_refuse
from trading_dagster.evm.vault_report import VaultBalances, VaultReporter
from trading_dagster.evm.wallet import HotWallet
from trading_dagster.live.clock import SystemClock, WorldClock
from trading_dagster.live.desk import BalanceReader, CycleReporter, Desk, DeskRequest, LiveTreasury
from trading_dagster.live.fund_fee import LiveFundFees
from trading_dagster.live.lookup_desk import only_look_up
from trading_dagster.market.lending import LendingReserve
from trading_dagster.storage.lease import purse_resources, wallet_resource

LOOKBACK_AUDITS = 10
"""How many times as far back as the audit settled trades are compared with the ledger."""


@dataclass(frozen=True, slots=True)
class WalletKey:
    """Where a private key is: in an environment variable, or in a keystore file whose password is in one."""

    key_variable: str = ""
    keystore: Path | None = None
    password_variable: str = ""

    def __post_init__(self) -> None:
        """Check."""
        if bool(self.key_variable) == (self.keystore is not None) or (self.keystore and not self.password_variable):
            raise BadConfiguration(
                "A wallet needs the name of the environment variable with its key, or a keystore file and the name of "
                "the variable with its password; give one of the two"
            )

    def open(self) -> HotWallet:
        """Return the wallet; raises SigningKeyUnusable."""
        if self.keystore is not None:
            return HotWallet.from_keystore(self.keystore, self.password_variable)
        return HotWallet.from_environment(self.key_variable)


@dataclass(frozen=True, slots=True)
class DeskLease:
    """The lease of a session as the wallet's executor sees it."""

    token: int
    check: Callable[[], None]


@dataclass(frozen=True, eq=False)
class EvmVenue:
    """A hot wallet, or the vault it manages, on an exchange.

    Attributes:
        chain_id: The chain; every node must serve it.
        key: Where the wallet's private key is.
        dex: The exchange.
        open_journal: Returns the journal of transactions; called once a thread. It belongs to the wallet: a strategy
            that moves to another journal forgets what it sent.
        alarm: Where alarms go.
        rpc_variables: Environment variables that hold the URLs of nodes, the best first.
        rpc_urls: URLs of nodes that hold no secret, after the former.
        client: How patient to be with nodes.
        gas: What may be paid for gas.
        transaction: Depths of the transaction protocol, in blocks.
        limits: What a swap may accept.
        swap_timeout_s: How long a step waits for the end of a trade, seconds.
        max_decision_age: How old a decision may be when its swap is planned; None for no limit.
        max_head_age: How old the newest block may be by the wall clock; None does not look.
        max_clock_skew: How far the newest block may be in the future of the wall clock; None does not look.
        min_gas: Native tokens the wallet should have; with less there is an alarm, and preflight fails.
        first_buy: How a token is probed before it is bought for the first time; None does not.
        vault: The vault whose tokens are traded; None trades those of the wallet.
        vaults: The ERC-4626 vaults whose shares may be traded; none refuses vaults.
        lending: Where shorts and credit supply are traded; None refuses them.
        multicall: Address of Multicall3.
        wrapped_native: Address of the token by whose price gas is valued; empty when there is none.
        forbid_signing: Asked right before each signature; returns why not, or nothing.
        clock: The time of events.
        wall_clock: The time that blocks are compared with, also where events go by that of a replay.
        observe: Told each step of the transaction protocol.
        sleep: Waits some seconds between two looks at the chain.
    """

    chain_id: int
    key: WalletKey
    dex: OutputDex
    open_journal: Callable[[], TransactionJournal]
    alarm: AlarmSink
    rpc_variables: tuple[str, ...] = ()
    rpc_urls: tuple[str, ...] = field(default=(), repr=False)
    client: ClientSetting = field(default_factory=ClientSetting)
    gas: GasPolicy = DEFAULT_POLICY
    transaction: ExecutionSetting = field(default_factory=ExecutionSetting)
    limits: SwapLimits = field(default_factory=SwapLimits)
    swap_timeout_s: float = 300.0
    max_decision_age: timedelta | None = timedelta(hours=1)
    max_head_age: timedelta | None = None
    max_clock_skew: timedelta | None = None
    min_gas: Decimal = Decimal("0.01")
    first_buy: FirstBuySetting | None = field(default_factory=FirstBuySetting)
    vault: VaultDeployment | None = None
    vaults: tuple[TradedVault, ...] = ()
    lending: LendingPool | None = None
    multicall: str = MULTICALL3
    wrapped_native: str = ""
    forbid_signing: Callable[[Intent], str] = allow_signing
    clock: WorldClock = field(default_factory=SystemClock)
    wall_clock: WorldClock = field(default_factory=SystemClock)
    observe: Observer = ignore_step
    sleep: Callable[[float], None] = time.sleep
    _local: threading.local = field(init=False, repr=False, default_factory=threading.local)

    def __post_init__(self) -> None:
        """Check."""
        for name, asked in (("loans", self.lending), ("shares of other vaults", self.vaults)):
            if self.vault is not None and asked:
                raise BadConfiguration(
                    f"Vault {self.vault.vault} cannot trade {name} yet: trade them from a hot wallet, or leave them out"
                )

    @cached_property
    def wallet(self) -> HotWallet:
        """Return the wallet; raises SigningKeyUnusable."""
        return self.key.open()

    @cached_property
    def node(self) -> EvmClient:
        """Return the client; raises BadConfiguration when a variable is not set or no URL is given."""
        named = [HttpEndpoint.from_environment(variable) for variable in self.rpc_variables]
        return EvmClient([*named, *map(HttpEndpoint, self.rpc_urls)], self.chain_id, self.client)

    @property
    def account(self) -> Account:
        """Return the wallet's address on the chain."""
        return Account(self.chain_id, self.wallet.address)

    @property
    def trader(self) -> TradingAccount:
        """Return who signs for whose tokens."""
        if self.vault is None:
            return TradingAccount.of_wallet(self.account)
        return TradingAccount(self.account, self.vault.vault, self.vault.wrap_call)

    @property
    def lease_resources(self) -> Sequence[str]:
        """Return the wallet, whose lease goes with each signature, and the vault."""
        return tuple(dict.fromkeys((wallet_resource(self.wallet.address), *purse_resources(self.purse))))

    @property
    def purse(self) -> Purse:
        """Return the vault, or the wallet when it trades its own money."""
        if self.vault is not None:
            return vault_purse(self.chain_id, self.vault.vault)
        return wallet_purse(self.chain_id, self.wallet.address)

    @property
    def journal(self) -> TransactionJournal:
        """Return this thread's journal."""
        if not hasattr(self._local, "journal"):
            self._local.journal = self.open_journal()
        journal: TransactionJournal = self._local.journal
        return journal

    def preflight(
        self,
        assets: Sequence[AssetIdentifier],
        reserves: Sequence[LendingReserve] = (),
        vaults: Sequence[TradingPairIdentifier] = (),
    ) -> Preflight:
        """Check nodes, exchange, tokens, gas, vaults and lending pool before trading begins.

        ``assets`` are those of the universe, the reserve first, ``reserves`` its lending reserves, ``vaults`` its pairs
        that are vaults.

        Raises WrongChain, ContractMissing, BadConfiguration, GasMissing, SigningKeyUnusable, NodeError, ClockSkewed.
        """
        multicall = Multicall(self.node, self.multicall)
        found = check_chain(self.node, self.dex, multicall, self.wallet.address, assets, self.min_gas, self.vault)
        self._require_present(found.head)
        if self.lending is not None:
            tokens = [ReserveTokens(reserve.asset, reserve.atoken, reserve.vtoken) for reserve in reserves]
            check_lending(self.node, self.lending.pool, tokens, found.head)
        named = [vault.address for vault in self.vaults]
        check_vaults(self.node, named, vaults, assets[0], found.head)
        return found

    def open_desk(self, request: DeskRequest) -> Desk:
        """Return prices, execution, treasury and balances.

        Raises WrongChain, SigningKeyUnusable, NodeError, BadConfiguration when the vault may not be traded for,
        ChainHalted and ClockSkewed when the newest block is not of now. While trades are under way the latter two are
        only told, and the desk looks up what became of them: nothing new is signed, traded or booked.

        Prices are of the block that is the head when the first one is asked for.
        """
        universe, state = request.universe, request.state
        reserve = universe.get_reserve_asset()
        if reserve.chain_id != self.chain_id:
            raise WrongChain(
                f"The universe's reserve {reserve} is on chain {reserve.chain_id}, the venue trades on {self.chain_id}"
            )
        client, journal = self.node, self.journal
        head = client.connect()
        halt = self._watch_time(head, state)
        self._watch_gas(head)
        if self.vault is not None:
            require_no_fund_fees(self.vault, request.fund_fees)
            require_managed(client, self.vault, reserve, self.wallet.address, head)
        forbid = self.forbid_signing if halt is None else lambda _: str(halt)
        executor = self.make_executor(request.lease_token, request.check_lease, forbid)
        later = {vault.address: read_later_sides(client, vault.address, head) for vault in self.vaults}
        vaults = {v.address: open_vault(v, self.trader.address, later[v.address]) for v in self.vaults}
        routes = RouteTable(self.dex, reserve, (*universe.pairs, *list_legs(state)), vaults)
        pricing = AmmPricing(client, routes, vault_limits=request.universe.vault_limits)
        setting = TradeExecutionSetting(self.limits, self.swap_timeout_s, self.max_decision_age, self._lookback)
        make_requests = partial(self._open_requests, forbid=forbid)
        treasury, balances, reporter = self._open_books(executor, request)
        loans = self._open_lending()
        make_loans = None
        if loans is not None:
            make_loans = partial(
                loans.make_execution,
                dex=self.dex,
                routes=routes,
                limits=self.limits,
                max_age=self.max_decision_age,
                save=request.save,
            )
        desk = Desk(
            pricing=pricing,
            marks=AmmMarks(pricing, state, request.clock.timestamp),
            execution=EvmExecution(
                client,
                executor,
                journal,
                routes,
                save=request.save,
                alarm=self.alarm,
                now=self.clock.now,
                setting=setting,
                first_buy=self._first_buy_check(client),
                trader=self.trader,
                make_loans=make_loans,
                make_requests=make_requests,
                native_price=native_price(
                    pricing, request.clock.timestamp, universe.pairs, reserve, self.wrapped_native
                ),
            ),
            treasury=treasury,
            balances=balances,
            reporter=reporter,
            interest=None if loans is None else self._open_interest(loans, executor),
            redemptions=None if self.vault is not None else self._open_redemptions(executor, request, forbid),
        )
        return desk if halt is None else only_look_up(desk, halt)

    def read_held(self, assets: Sequence[AssetIdentifier]) -> Mapping[AssetIdentifier, Decimal]:
        """Return what the wallet, or its vault, has, in tokens; raises WrongChain, ContractMissing, NodeError."""
        return self._open_balances().read_balances(assets)

    def make_executor(
        self,
        lease_token: int,
        check_lease: Callable[[], None],
        forbid_signing: Callable[[Intent], str] | None = None,
    ) -> TransactionExecutor:
        """Return what signs for the wallet under a lease; an operator lets a halted wallet sign again with it.

        ``forbid_signing`` is asked instead of the venue's.
        """
        return TransactionExecutor(
            self.node,
            self.wallet,
            self.journal,
            DeskLease(lease_token, check_lease),
            alarm=self.alarm,
            gas=self.gas,
            setting=self.transaction,
            forbid_signing=forbid_signing or self.forbid_signing,
            refuse_signing=partial(find_reason_to_refuse, self.node),
            observe=self.observe,
            sleep=self.sleep,
        )

    def _open_lending(self) -> LendingDesk | None:
        if self.lending is None:
            return None
        return LendingDesk(
            lending=self.lending,
            client=self.node,
            multicall=Multicall(self.node, self.multicall),
            journal=self.journal,
            trader=self.trader,
            poll_s=self.transaction.poll_s,
            sleep=self.sleep,
        )

    def _open_requests(self, parts: SharedParts, forbid: Callable[[Intent], str]) -> RequestSettlement:
        return RequestSettlement(
            self.node, self.journal, self.trader, parts.book, parts.wait, forbid, self.transaction.replan_depth
        )

    def _open_interest(self, loans: LendingDesk, executor: TransactionExecutor) -> LoanInterest:
        return loans.make_interest(
            audit=executor.audit,
            confirmations=self.transaction.confirmations,
            lookback_blocks=self._lookback,
            alarm=self.alarm,
            now=self.clock.now,
        )

    def _open_balances(self) -> WalletBalances:
        depth = self.transaction.confirmations
        return WalletBalances(self.node, Multicall(self.node, self.multicall), self.trader.address, depth)

    @property
    def _lookback(self) -> int:
        return LOOKBACK_AUDITS * self.transaction.audit_blocks

    def _open_books(
        self, executor: TransactionExecutor, request: DeskRequest
    ) -> tuple[LiveTreasury, BalanceReader, CycleReporter | None]:
        """Return what came in and went out, what is there, and who is told what it is worth."""
        client, journal, depth, now = self.node, self.journal, self.transaction.confirmations, self.clock.now
        held = self._open_balances()
        if self.vault is None:
            wallet = HotWalletTreasury(
                client,
                journal,
                self.account,
                audit=executor.audit,
                confirmations=depth,
                lookback_blocks=self._lookback,
                now=now,
                before_flow=request.fund_fees.before_flow,
                is_disturbed=partial(is_disturbed, client, journal, self.trader),
            )
            return wallet, held, None
        treasury = VaultTreasury(client, self.vault, confirmations=depth, now=now)
        reporter = VaultReporter(
            client=client,
            executor=executor,
            journal=journal,
            deployment=self.vault,
            treasury=treasury,
            alarm=self.alarm,
            forbid_signing=self.forbid_signing,
            deadline_s=self.limits.deadline_s,
            timeout_s=self.swap_timeout_s,
        )
        return treasury, VaultBalances(client, held, treasury, request.state, depth), reporter

    def _open_redemptions(
        self, executor: TransactionExecutor, request: DeskRequest, forbid_signing: Callable[[Intent], str]
    ) -> WalletRedemptions:
        return WalletRedemptions(
            executor=executor,
            journal=self.journal,
            forbid_signing=forbid_signing,
            before_flow=request.fund_fees.before_flow,
            alarm=self.alarm,
            now=self.clock.now,
            timeout_s=self.swap_timeout_s,
        )

    def _first_buy_check(self, client: EvmClient) -> FirstBuyCheck | None:
        if self.first_buy is None:
            return None
        return FirstBuyCheck(client, self.trader.address, aggregator=self.multicall, setting=self.first_buy)

    def _require_present(self, head: BlockHeader) -> None:
        limits = TimeLimits(self.max_head_age, self.max_clock_skew)
        check_chain_time(head, self.wall_clock.now(), limits, self.chain_id)

    def _watch_time(self, head: BlockHeader, state: State) -> EvmError | None:
        """Refuse a chain that is not at the present; with trades under way tell it, and return why."""
        try:
            self._require_present(head)
        except (ChainHalted, ClockSkewed) as error:
            if not list_running(state):
                raise
            self.alarm(Alarm(AlarmKind.node_unavailable, self.account, str(error)))
            return error
        return None

    def _watch_gas(self, head: BlockHeader) -> None:
        balance = from_units(self.node.read_balance(self.wallet.address, head), NATIVE_DECIMALS)
        if balance < self.min_gas:
            text = f"{balance.normalize():f} native tokens are left for gas, there should be {self.min_gas}: send some"
            self.alarm(Alarm(AlarmKind.gas_missing, self.account, text))


def require_no_fund_fees(vault: VaultDeployment, fund_fees: LiveFundFees) -> None:
    """Raise BadConfiguration when fees of our own come on top of those that a vault takes."""
    if fund_fees.fees is not None:
        raise BadConfiguration(
            f"Parameters.fund_fees would be taken twice: vault {vault.vault} counts its own shares and takes its own "
            "fees, which its share count has in it. Leave them out, or write fund_fees: false under the deployment's "
            "parameters"
        )
