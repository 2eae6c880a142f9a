"""An ERC-4626 vault whose asset manager we are: others' money, traded through the vault by the key of our wallet.

Deposits and redemptions are the vault's Deposit and Withdraw events (EIP-4626); each becomes one balance update, known
by transaction and log index. What is sent to the vault without them belongs to nobody: the account check shows it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from trading_dagster.domain.error import BadConfiguration, BadInput, CallReverted, NodeAnswerInvalid
from trading_dagster.domain.event import BalanceUpdated, SharesCounted
from trading_dagster.domain.identifier import AssetIdentifier
from trading_dagster.domain.money import ZERO, from_units
from trading_dagster.domain.state import State
from trading_dagster.domain.time import to_naive
from trading_dagster.domain.transaction import require_address
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.evm.abi import ContractCall, Function, decode_values, event_topic
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.event_log import DEFAULT_SPAN, ChainLog, read_logs

ASSET = Function("asset", (), ("address",))
TOTAL_ASSETS = Function("totalAssets", (), ("uint256",))
TOTAL_SUPPLY = Function("totalSupply", (), ("uint256",))
SHARE_DECIMALS = Function("decimals", (), ("uint8",))
EXECUTE = Function("execute", ("address", "bytes"), ("bytes",), ("target", "data"))
MANAGER = Function("manager", (), ("address",))
REPORT = Function("reportAssets", ("uint256", "uint256", "uint256"), (), ("total_assets", "total_supply", "deadline"))
DEPOSIT_TOPIC = event_topic("Deposit(address,address,uint256,uint256)")
WITHDRAW_TOPIC = event_topic("Withdraw(address,address,address,uint256,uint256)")
AMOUNTS = ("uint256", "uint256")
DEPOSIT_TOPICS, WITHDRAW_TOPICS = 3, 4
READ_AGAIN = 20
"""How many times its confirmations a treasury reads below where it had come: a reorg may have put flows there."""


@dataclass(frozen=True, slots=True)
class VaultDeployment:
    """A vault and how its manager acts.

    Attributes:
        vault: Address of the vault, which is its own share token.
        first_block: A block before the first deposit; the vault's events are read from there once.
        execute: The guarded call (target, data) that only the asset manager may make. The guard is the vault's: what
            it does not allow reverts.
        report: The call by which the manager says what everything is worth, in the asset's smallest unit. It says for
            how many shares that is, and until which chain time: the vault must refuse it when another number of shares
            is out, as whoever comes or goes before it is mined would be paid by a number that does not count him.
        manager: The view that says who the asset manager is.
    """

    vault: str
    first_block: int
    execute: Function = EXECUTE
    report: Function = REPORT
    manager: Function = MANAGER

    def __post_init__(self) -> None:
        """Check and normalise."""
        object.__setattr__(self, "vault", require_address(self.vault, "vault"))
        if self.first_block < 0:
            raise BadConfiguration(
                f"The first block of vault {self.vault} is {self.first_block}: it may not be negative"
            )
        needed = ((self.execute, EXECUTE.inputs), (self.report, REPORT.inputs), (self.manager, MANAGER.inputs))
        for function, inputs in needed:
            if function.inputs != inputs:
                raise BadConfiguration(f"Vault {self.vault} needs a function of {inputs}, not {function.signature}")

    def wrap_call(self, call: ContractCall) -> ContractCall:
        """Return a call that the vault makes in its own name; raises BadInput for one that sends native tokens.

        Give the vault as recipient of swaps: the wrapped call cannot be changed here.
        """
        if call.value:
            raise BadInput(f"{call.function} sends {call.value} wei: a vault's manager moves tokens only")
        return ContractCall(
            to=self.vault,
            data=self.execute.encode(call.to, bytes.fromhex(call.data[2:])),
            function=f"{self.execute.signature} of {call.function}",
            arguments={"target": call.to, **call.arguments},
            expires_at=call.expires_at,
        )

    def report_assets(self, total_assets: int, total_supply: int, deadline: int) -> ContractCall:
        """Return the call that says what everything the vault has is worth, in the asset's smallest unit.

        ``total_supply`` is the number of shares, in their smallest unit, that the total was counted for; ``deadline``
        is unix seconds of the chain.
        """
        if total_assets < 0:
            raise BadInput(f"The total assets are {total_assets}: they may not be negative")
        return self.report.call(self.vault, (total_assets, total_supply, deadline), expires_at=deadline)


@dataclass(frozen=True, slots=True)
class VaultStatus:
    """What a vault says of itself at a block: what it holds, what that is worth, how many shares there are."""

    block: BlockHeader
    asset: str
    manager: str
    total_assets: int
    """In the asset's smallest unit, as the manager reported it last."""
    shares: Decimal
    share_decimals: int


@dataclass(frozen=True, slots=True)
class VaultFlow:
    """A deposit (assets above 0) or a redemption (below 0); shares have the same sign. Smallest units."""

    tx_hash: str
    log_index: int
    block_number: int
    owner: str
    assets: int
    shares: int


def read_vault(client: EvmClient, deployment: VaultDeployment, block: BlockHeader) -> VaultStatus:
    """Read a vault; raises ContractMissing when there is none."""
    vault = deployment.vault
    (asset,) = client.call(vault, ASSET, (), block)
    (total_assets,) = client.call(vault, TOTAL_ASSETS, (), block)
    (supply,) = client.call(vault, TOTAL_SUPPLY, (), block)
    (decimals,) = client.call(vault, SHARE_DECIMALS, (), block)
    (manager,) = client.call(vault, deployment.manager, (), block)
    return VaultStatus(block, asset.lower(), manager.lower(), total_assets, from_units(supply, decimals), decimals)


def require_managed(
    client: EvmClient, deployment: VaultDeployment, reserve: AssetIdentifier, wallet: str, block: BlockHeader
) -> VaultStatus:
    """Return a vault that a wallet may trade for a strategy; raises BadConfiguration, ContractMissing, NodeError."""
    try:
        vault = read_vault(client, deployment, block)
    except CallReverted as error:
        raise BadConfiguration(
            f"{deployment.vault} is no ERC-4626 vault that tells its {deployment.manager.signature} ({error}): correct "
            "the vault's address"
        ) from error
    if vault.asset != reserve.address:
        raise BadConfiguration(
            f"Vault {deployment.vault} holds {vault.asset}, the strategy's reserve is {reserve}: trade pairs that are "
            "quoted in the vault's asset, or name another vault"
        )
    if vault.manager != wallet.lower():
        raise BadConfiguration(
            f"Wallet {wallet} may not trade for vault {deployment.vault}, whose asset manager is {vault.manager}: give "
            "the manager's key, or have the wallet made the manager"
        )
    return vault


def read_flows(
    client: EvmClient, deployment: VaultDeployment, first_block: int, last_block: int, *, span: int = DEFAULT_SPAN
) -> list[VaultFlow]:
    """Return the deposits and redemptions of a range of blocks in the order they happened."""
    topics = (DEPOSIT_TOPIC, WITHDRAW_TOPIC)
    logs = read_logs(client, deployment.vault, topics, first_block, last_block, span=span)
    return [_parse_flow(found) for found in logs]


class VaultTreasury:
    """The sync model of a vault: a LiveTreasury."""

    def __init__(
        self,
        client: EvmClient,
        deployment: VaultDeployment,
        *,
        confirmations: int,
        now: Callable[[], datetime],
        span: int = DEFAULT_SPAN,
    ) -> None:
        """Read events that have as many confirmations; ``now`` is aware UTC, ``span`` blocks a request."""
        self._client = client
        self._deployment = deployment
        self._confirmations = confirmations
        self._now = now
        self._span = span

    def sync_treasury(self, timestamp: datetime, state: State) -> Sequence[BalanceUpdate]:
        """Record deposits and redemptions that are not in the ledger yet; again it records nothing.

        When all are recorded the strategy's share count is the vault's. A redemption that the ledger's cash does not
        cover, as the trade that made the cash is not booked yet, waits with all flows after it: what they took is
        pending. Raises BadConfiguration when the vault's asset is not the strategy's reserve, ContractMissing,
        NodeError.
        """
        head = self._client.read_head()
        block = self._client.read_block(max(0, head.number - self._confirmations + 1))
        vault = read_vault(self._client, self._deployment, block)
        reserve = state.portfolio.reserve
        if vault.asset != reserve.asset.address:
            raise BadConfiguration(
                f"Vault {self._deployment.vault} holds {vault.asset}, the strategy's reserve is {reserve.asset}"
            )
        first = self._next_block(state)
        updates: list[BalanceUpdate] = []
        waiting: list[VaultFlow] = []
        scanned = block.number
        for flow in self._list_unbooked(state, first, block.number):
            waits = bool(waiting) or from_units(-flow.assets, reserve.asset.decimals) > reserve.quantity
            if waits:
                waiting.append(flow)
            else:
                updates.append(self._record(timestamp, state, flow, vault.share_decimals))
        treasury = state.sync.treasury
        if waiting:
            scanned = waiting[0].block_number - 1
        elif vault.shares != (treasury.share_count or ZERO):  # the vault's fees are taken in shares, without an event
            state.record(SharesCounted(self._now(), vault.shares))
        pending = from_units(max(0, -sum(flow.assets for flow in waiting)), reserve.asset.decimals)
        treasury.pending_redemptions = float(pending) * reserve.reserve_token_price
        self._keep_place(state, scanned, first, is_worth_it=bool(updates))
        return updates

    def read_unbooked(self, state: State, block: BlockHeader) -> Decimal:
        """Return what deposits less redemptions moved up to a block and the ledger does not have yet, in tokens."""
        units = sum(flow.assets for flow in self._list_unbooked(state, self._next_block(state), block.number))
        return from_units(units, state.portfolio.reserve.asset.decimals)

    @property
    def _place(self) -> str:
        return f"vault events of {self._deployment.vault} read to block"

    def _next_block(self, state: State) -> int:
        kept, first = state.other_data.load_latest(self._place), self._deployment.first_block
        return first if kept is None else max(first, int(kept) + 1 - READ_AGAIN * self._confirmations)

    def _keep_place(self, state: State, scanned: int, first: int, *, is_worth_it: bool) -> None:
        """Remember how far was read, now and then: what is read twice is known by its log."""
        if scanned >= first and (is_worth_it or scanned - first + 1 >= self._span):
            state.other_data.save(state.cycle, self._place, scanned)
        state.sync.treasury.last_block_scanned = scanned

    def _list_unbooked(self, state: State, first: int, last: int) -> list[VaultFlow]:
        """Return the flows of a range of blocks that the ledger does not have.

        A transaction's flows are told by their order in it: a reorg gives it other blocks, and its logs other numbers.
        """
        flows = read_flows(self._client, self._deployment, first, last, span=self._span)
        if not flows:
            return []
        chain, address = self._client.chain_id, state.portfolio.reserve.asset.address
        booked = Counter(
            tx_hash
            for chain_id, tx_hash, _, asset in state.sync.treasury.applied_chain_keys
            if (chain_id, asset) == (chain, address)
        )
        unbooked = []
        for flow in flows:
            if booked[flow.tx_hash] > 0:
                booked[flow.tx_hash] -= 1
            else:
                unbooked.append(flow)
        return unbooked

    def _record(self, timestamp: datetime, state: State, flow: VaultFlow, share_decimals: int) -> BalanceUpdate:
        portfolio = state.portfolio
        reserve = portfolio.reserve
        quantity = from_units(flow.assets, reserve.asset.decimals)
        mined = self._client.read_block(flow.block_number)
        update = BalanceUpdate(
            balance_update_id=portfolio.next_balance_update_id,
            cause=BalanceUpdateCause.deposit if flow.assets > 0 else BalanceUpdateCause.redemption,
            position_type=BalanceUpdatePositionType.reserve,
            asset=reserve.asset,
            quantity=quantity,
            old_balance=reserve.quantity,
            usd_value=float(quantity) * reserve.reserve_token_price,
            block_mined_at=to_naive(datetime.fromtimestamp(mined.timestamp, UTC)),
            strategy_cycle_included_at=timestamp,
            previous_update_at=reserve.last_sync_at,
            tx_hash=flow.tx_hash,
            log_index=flow.log_index,
            owner_address=flow.owner,
            notes=f"vault {self._deployment.vault}, block {flow.block_number}",
        )
        state.record(BalanceUpdated(self._now(), update, _share_price(state, quantity, flow.shares, share_decimals)))
        return update


def _share_price(state: State, quantity: Decimal, share_units: int, decimals: int) -> float | None:
    """Return what a share cost in USD; None for a flow so small that it has none."""
    shares = from_units(share_units, decimals)
    if not shares:
        return None
    return float(Fraction(quantity) / Fraction(shares)) * state.portfolio.reserve.reserve_token_price


def _parse_flow(found: ChainLog) -> VaultFlow:
    log = found.log
    is_deposit = log.topics[0] == DEPOSIT_TOPIC
    if len(log.topics) != (DEPOSIT_TOPICS if is_deposit else WITHDRAW_TOPICS):
        raise NodeAnswerInvalid(f"Event {log.log_index} of {found.tx_hash} is none of an ERC-4626 vault: {log.topics}")
    assets, shares = decode_values(AMOUNTS, bytes.fromhex(log.data[2:]), f"event {log.log_index} of {found.tx_hash}")
    sign = 1 if is_deposit else -1
    return VaultFlow(
        tx_hash=found.tx_hash,
        log_index=log.log_index,
        block_number=found.block_number,
        owner="0x" + log.topics[-1][-40:].lower(),
        assets=sign * assets,
        shares=sign * shares,
    )
