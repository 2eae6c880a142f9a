"""What a deployment is: a strategy file, where its candles come from, where it trades, and when; no secrets.

Every field is a field of the YAML file that ``deployment_file`` reads. Secrets are named by the environment variable
that holds them, never given.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.dataclasses import dataclass

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.execution.limit import TradeLimits

STRICT = ConfigDict(extra="forbid", strict=True)
DEFAULT_OFFSET_MIN = 8.0

DeploymentId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]
VariableName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
"""The name of an environment variable, never what it holds."""
Address: TypeAlias = Annotated[str, StringConstraints(pattern=r"^0x[0-9a-fA-F]{40}$")]
DataPair: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^/@\s]+/[^/@\s]+(@[^/@\s]+)?$")]
"""BASE/QUOTE, or BASE/QUOTE@venue."""
Minutes: TypeAlias = Annotated[float, Field(ge=0, le=525_600, allow_inf_nan=False)]
WholeMinutes: TypeAlias = Annotated[int, Field(ge=0, le=1440)]
PositiveMinutes: TypeAlias = Annotated[float, Field(gt=0, le=525_600, allow_inf_nan=False)]
Fraction: TypeAlias = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Usd: TypeAlias = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, config=STRICT)
class SampleData:
    """The candles that come with the package."""

    source: Literal["sample"] = "sample"


@dataclass(frozen=True, slots=True, config=STRICT)
class FileData:
    """A file or folder of candles; relative paths begin at the deployment's file."""

    source: Literal["file"]
    path: Path


@dataclass(frozen=True, slots=True, config=STRICT)
class LakeData:
    """A source in the lake; ``folder`` None is the lake of the environment."""

    source: Literal["lake"]
    name: str
    folder: Path | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class ExchangeData:
    """The public candles of a centralised exchange, asked for when they are needed; no keys.

    Attributes:
        name: Its id in ccxt.
        symbols: BASE/QUOTE of the pairs to serve; none named serves all of its spot pairs.
        api_url: Base of its public interface, for a mirror.
    """

    source: Literal["exchange"]
    name: str = "binance"
    symbols: tuple[Annotated[str, StringConstraints(pattern=r"^[^/@\s]+/[^/@\s]+$")], ...] = ()
    api_url: str | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class ChainData:
    """Swaps of pools of the deployment's chain, or share prices of vaults, read from its nodes when they are needed.

    Attributes:
        pools: Addresses of Uniswap v2 and v3 pools, or of their forks.
        vaults: Addresses of ERC-4626 vaults, in place of pools.
        since: The time from which they are read, aware UTC; early enough for the strategy's history.
        quote: Symbol or address of the token that prices are in; None finds out.
        usd: Addresses of tokens worth one USD that are not among the chain's known stablecoins.
        confirmations: Blocks on top of the one that closes a candle; None is the chain's number.
        folder: Where events are kept; None is that of the environment.
    """

    source: Literal["chain"]
    since: datetime
    pools: tuple[Address, ...] = ()
    vaults: tuple[Address, ...] = ()
    quote: str | None = None
    usd: tuple[Address, ...] = ()
    confirmations: Annotated[int, Field(ge=0, le=10_000)] | None = None
    folder: Path | None = None

    def __post_init__(self) -> None:
        """Check."""
        if self.since.tzinfo is None:
            raise ValueError("since has no time zone: write it as 2024-01-01T00:00:00Z")
        if bool(self.pools) == bool(self.vaults):
            raise ValueError("give pools or vaults, and not both: one deployment reads one kind")


@dataclass(frozen=True, slots=True, config=STRICT)
class ServiceData:
    """Pairs of the Trading Strategy data service, asked for when they are needed.

    Attributes:
        symbols: BASE/QUOTE, BASE/QUOTE@exchange, or the address of a pool.
        chain: Slug of their chain; "" looks on all.
        pair_file: Table of its pairs; one that is not there is downloaded. None takes one beside the lake.
        key_env: Variable that holds the key.
        api_url: Base address, for a mirror.
    """

    source: Literal["trading_strategy"]
    symbols: Annotated[tuple[str, ...], Field(min_length=1)]
    chain: str = ""
    pair_file: Path | None = None
    key_env: VariableName = "TRADING_STRATEGY_API_KEY"
    api_url: str | None = None


CandleData: TypeAlias = Annotated[
    SampleData | FileData | LakeData | ExchangeData | ChainData | ServiceData, Field(discriminator="source")
]


@dataclass(frozen=True, slots=True, config=STRICT)
class RealClock:
    """The wall clock."""

    kind: Literal["real"] = "real"


@dataclass(frozen=True, slots=True, config=STRICT)
class ReplayClock:
    """Past candles served as if they came in now; ``start`` is shown when the deployment first runs.

    Attributes:
        start: The time at which the replayed world begins, aware UTC.
        speed: How many times as fast as the wall clock it runs.
        delay_s: How long after its close a candle arrives, seconds of the replayed world.
    """

    kind: Literal["replay"]
    start: datetime
    speed: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    delay_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0

    def __post_init__(self) -> None:
        """Check."""
        if self.start.tzinfo is None:
            raise ValueError("start has no time zone: write it as 2018-01-01T00:00:00Z")


Clock: TypeAlias = Annotated[RealClock | ReplayClock, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, config=STRICT)
class Ledger:
    """Where the ledger is: a SQLite file, or the URL of a database in an environment variable; not both."""

    file: Path | None = None
    url_env: VariableName | None = None

    def __post_init__(self) -> None:
        """Check."""
        if self.file is not None and self.url_env is not None:
            raise ValueError("both file and url_env are given: keep one of them")


@dataclass(frozen=True, slots=True, config=STRICT)
class CycleOffset:
    """Decide some minutes after each decision time, when the candles should be there."""

    kind: Literal["cycle_offset"] = "cycle_offset"
    offset_minutes: Minutes = DEFAULT_OFFSET_MIN


@dataclass(frozen=True, slots=True, config=STRICT)
class DataAvailability:
    """Decide as soon as all pairs have their candles; ``max_data_delay_minutes`` None is one cycle."""

    kind: Literal["data_availability"]
    poll_seconds: Annotated[float, Field(ge=5, le=3600)] = 5.0
    max_data_delay_minutes: PositiveMinutes | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class SinceLastCycleEnd:
    """Decide one cycle after the end of the last cycle."""

    kind: Literal["since_last_cycle_end"]


Trigger: TypeAlias = Annotated[CycleOffset | DataAvailability | SinceLastCycleEnd, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, config=STRICT)
class Chain:
    """The chain: its slug in the registry, and which variables hold the URLs of its nodes, the best first.

    Attributes:
        name: The slug.
        rpc_envs: The variables; on paper there may be none.
        confirmations: Blocks after which a transaction counts as settled; None is the registry's number.
        min_gas: Native tokens that the wallet should have; with less there is an alarm.
        multicall: Address of Multicall3 where the registry knows none.
        wrapped_native: Address of the token that stands for native ones where the registry knows none; gas is valued
            by its price.
    """

    name: str
    rpc_envs: tuple[VariableName, ...] = ()
    confirmations: Annotated[int, Field(ge=1, le=10_000)] | None = None
    min_gas: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    multicall: Address | None = None
    wrapped_native: Address | None = None

    @property
    def is_local(self) -> bool:
        """Tell whether it is a chain for development, where nothing is worth anything."""
        return self.name == "local"


@dataclass(frozen=True, slots=True, config=STRICT)
class Exchange:
    """A decentralised exchange: its slug in the registry, or its contracts.

    Attributes:
        slug: Its name in the registry of its chain.
        kind: Which exchange it is a fork of, when it is given by its contracts.
        fee: What pools take where a pair does not say it, a fraction.
        router_kind: The routers of Uniswap v3: ``swap_router`` has a deadline in each swap, ``swap_router_02`` (the
            default, also PancakeSwap's) has none there.
        fee_tiers: The fees that pools of Uniswap v3 can have, fractions; by default 0.0001, 0.0005, 0.003 and 0.01.
    """

    slug: str | None = None
    kind: Literal["uniswap_v2", "uniswap_v3"] | None = None
    factory: Address | None = None
    router: Address | None = None
    quoter: Address | None = None
    fee: Fraction | None = None
    router_kind: Literal["swap_router", "swap_router_02"] | None = None
    fee_tiers: tuple[Fraction, ...] | None = None

    def __post_init__(self) -> None:
        """Check."""
        contracts = (self.kind, self.factory, self.router)
        own = (*contracts, self.quoter, self.router_kind, self.fee_tiers)
        if self.slug is not None and any(part is not None for part in own):
            raise ValueError("slug and contracts are given: keep the slug, or kind, factory and router")
        if self.slug is None and any(part is None for part in contracts):
            raise ValueError("give a slug of the chain's registry, or kind, factory and router")
        if self.kind == "uniswap_v3" and self.quoter is None:
            raise ValueError("uniswap_v3 needs a quoter as well")
        if self.kind == "uniswap_v2" and (self.router_kind is not None or self.fee_tiers is not None):
            raise ValueError("router_kind and fee_tiers are for kind uniswap_v3: remove them")


@dataclass(frozen=True, slots=True, config=STRICT)
class Lending:
    """Where shorts and credit supply are traded.

    Attributes:
        protocol: The lending protocol.
        pool: Address of its pool; None is that of the chain's registry.
        min_health: What the wallet's health factor stays above after each borrowing and withdrawal.
    """

    protocol: Literal["aave_v3"] = "aave_v3"
    pool: Address | None = None
    min_health: Annotated[float, Field(gt=1, le=100, allow_inf_nan=False)] = 1.05


@dataclass(frozen=True, slots=True, config=STRICT)
class ShareVault:
    """An ERC-4626 vault whose shares may be traded.

    Attributes:
        address: Where it is.
        tells_limits: False for one whose ``maxDeposit`` and ``maxRedeem`` say 0 whatever is true.
        locks_shares: True for one that gives shares back only after a time: it is bought without a look at the way out.
    """

    address: Address
    tells_limits: bool = True
    locks_shares: bool = False


@dataclass(frozen=True, slots=True, config=STRICT)
class Wallet:
    """Where the private key is: an environment variable, or a keystore file and a variable with its password.

    Attributes:
        vault: The vault whose asset manager the wallet is: its tokens are traded, the wallet pays gas.
        vault_first_block: A block before the vault's first deposit, such as the one that it was made in.
    """

    key_env: VariableName | None = None
    keystore: Path | None = None
    password_env: VariableName | None = None
    vault: Address | None = None
    vault_first_block: Annotated[int, Field(ge=0)] | None = None

    def __post_init__(self) -> None:
        """Check."""
        if self.vault is None and self.vault_first_block is not None:
            raise ValueError("vault_first_block is given without a vault: add vault, or remove it")
        if (self.key_env is None) == (self.keystore is None):
            raise ValueError("give key_env, or keystore and password_env, and not both")
        if (self.keystore is None) != (self.password_env is None):
            raise ValueError("keystore and password_env go together")

    @property
    def label(self) -> str:
        """Return what tells wallets apart without saying anything secret."""
        return f"env:{self.key_env}" if self.key_env is not None else f"keystore:{(self.keystore or Path()).name}"


@dataclass(frozen=True, slots=True, config=STRICT)
class Token:
    """A token on the chain."""

    symbol: str
    address: Address
    decimals: Annotated[int, Field(ge=0, le=36)] = 18


@dataclass(frozen=True, slots=True, config=STRICT)
class MappedPair:
    """What is traded on the chain for a pair whose candles come from elsewhere; ``fee`` is a fraction."""

    data: DataPair
    base: Token
    quote: Token
    pool: Address
    fee: Fraction | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class Approval:
    """Whether a person must approve trades, and for how long they wait; None is until the next decision time."""

    mode: Literal["automatic", "manual"] = "automatic"
    deadline_minutes: PositiveMinutes | None = None


@dataclass(frozen=True, slots=True, config=STRICT)
class Fees:
    """Fees of simulated fills, fractions; for paper trading."""

    override: Fraction | None = None
    default: Fraction | None = None
    allow_missing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Limits(TradeLimits):
    """What may be traded; see TradeLimits for each."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Deployment:
    """A strategy that trades, on paper or on a chain.

    Attributes:
        file: The YAML file it was read from.
        id: Names its ledger, assets, jobs and tags; never change it while there are positions.
        strategy: The strategy file.
        mode: ``dummy`` (decides, trades nothing), ``paper`` (simulated fills) or ``live`` (transactions).
        parameters: Values that replace those of the strategy's ``Parameters``.
        vaults: ERC-4626 vaults whose shares may be traded.
        max_decision_delay_minutes: A decision time this long ago is skipped; None is one cycle, or the longest delay
            of data that the trigger waits for.
        trigger_check_minutes, revaluation_minutes, treasury_minutes: How often; 0 is never.
        run_timeout_minutes: A run this long is stuck and ended; the time that an approval may take comes on top.
        retries: How often a run that failed or was killed is run again by itself.
        autostart: Whether schedules and sensors begin turned on; only on paper and on the local chain.
        notify_env: Variable that holds the URL where messages go.
    """

    file: Path
    id: DeploymentId
    strategy: Path
    mode: Literal["dummy", "paper", "live"]
    parameters: dict[str, Any] = Field(default_factory=dict)
    ledger: Ledger = Ledger()
    data: CandleData = SampleData()
    clock: Clock = RealClock()
    trigger: Trigger = CycleOffset()
    pairs: tuple[MappedPair, ...] = ()
    chain: Chain | None = None
    exchange: Exchange | None = None
    wallet: Wallet | None = None
    vaults: tuple[ShareVault, ...] = ()
    lending: Lending | None = None
    initial_cash: Usd | None = None
    fees: Fees = Fees()
    limits: Limits = Limits()
    approval: Approval = Approval()
    max_decision_delay_minutes: PositiveMinutes | None = None
    trigger_check_minutes: WholeMinutes = 3
    revaluation_minutes: WholeMinutes = 60
    treasury_minutes: WholeMinutes = 0
    run_timeout_minutes: PositiveMinutes = 30.0
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    autostart: bool = False
    notify_env: VariableName | None = None

    def __post_init__(self) -> None:
        """Check what depends on several fields."""
        is_live = self.mode == "live"
        missing = [name for name in ("chain", "exchange", "wallet") if getattr(self, name) is None]
        if is_live and missing:
            raise ValueError(f"mode live needs {', '.join(missing)}")
        if not is_live and self.wallet is not None:
            raise ValueError(f"wallet is given but mode is {self.mode}, which signs nothing: remove it")
        if not is_live and self.lending is not None:
            raise ValueError("lending is for mode live; on paper loans are at the universe's rates: remove it")
        self._check_vaults()
        if is_live and (self.fees != Fees() or self.initial_cash is not None):
            raise ValueError("fees and initial_cash are for mode paper; on a chain they are what they are: remove them")
        if is_live and self.chain is not None and not self.chain.rpc_envs:
            raise ValueError("chain.rpc_envs is empty: name the variables that hold the URLs of nodes")
        if isinstance(self.data, ChainData) and (self.chain is None or not self.chain.rpc_envs):
            raise ValueError("data of source chain needs chain with rpc_envs: say which nodes are read")
        if isinstance(self.data, ChainData) and (self.pairs or isinstance(self.clock, ReplayClock)):
            raise ValueError("data of source chain has the pools' own pairs, at the present: remove pairs and clock")
        if self.pairs and (self.chain is None or self.exchange is None):
            raise ValueError("pairs need chain and exchange: say where the pools are")
        is_public = is_live and self.chain is not None and not self.chain.is_local
        if is_public and isinstance(self.clock, ReplayClock):
            raise ValueError("clock replay is for mode paper and the local chain: remove it")
        wallet = self.wallet
        if is_public and wallet is not None and wallet.vault is not None and wallet.vault_first_block is None:
            raise ValueError(
                "wallet.vault_first_block is missing: give the block in which the vault was made (explorers show "
                "it); its deposits are read from there"
            )
        if is_public and self.autostart:
            raise ValueError("autostart is for mode paper and the local chain: turn a live deployment on in the UI")

    def _check_vaults(self) -> None:
        """Refuse what cannot be done in the name of a vault."""
        is_managed = self.wallet is not None and self.wallet.vault is not None
        if is_managed and self.lending is not None:
            raise ValueError(
                "lending is for hot wallets: nothing is borrowed or lent in the name of the vault that wallet.vault "
                "names; remove wallet.vault to trade the wallet's own money, or lending to trade without loans"
            )
        if is_managed and self.vaults:
            raise ValueError("vaults are for hot wallets: remove wallet.vault, or vaults")
        if self.vaults and self.chain is None:
            raise ValueError("vaults need a chain: say where they are")

    @property
    def is_replay(self) -> bool:
        """Tell whether its world is another than that of the wall clock."""
        return isinstance(self.clock, ReplayClock)

    @property
    def money(self) -> tuple[object, ...]:
        """Return what tells whose tokens it trades: wallet or vault, and chain; empty when it trades none."""
        chain, wallet = self.chain, self.wallet
        if chain is None or wallet is None:
            return ()
        if wallet.vault is not None:
            return chain.name, wallet.vault.lower()
        return chain.name, wallet.key_env, wallet.keystore

    @property
    def speed(self) -> float:
        """Return how many times as fast as the wall clock its world runs."""
        return self.clock.speed if isinstance(self.clock, ReplayClock) else 1.0

    def run_timeout(self, cycle: timedelta) -> timedelta:
        """Return how long a run may take, by the wall clock; ``cycle`` is the time between decisions."""
        return timedelta(minutes=self.run_timeout_minutes) + self.max_approval_wait(cycle)

    def max_approval_wait(self, cycle: timedelta) -> timedelta:
        """Return how long a person is waited for, zero when nobody is asked."""
        if self.approval.mode == "automatic":
            return timedelta(0)
        minutes = self.approval.deadline_minutes
        return cycle if minutes is None else timedelta(minutes=minutes)

    def max_decision_delay(self, cycle: timedelta) -> timedelta:
        """Return how old a decision time may be when its cycle begins."""
        if self.max_decision_delay_minutes is not None:
            return timedelta(minutes=self.max_decision_delay_minutes)
        return max(cycle, self.max_data_delay(cycle))

    def max_data_delay(self, cycle: timedelta) -> timedelta:
        """Return how long candles are waited for."""
        trigger = self.trigger
        if isinstance(trigger, DataAvailability) and trigger.max_data_delay_minutes is not None:
            return timedelta(minutes=trigger.max_data_delay_minutes)
        return cycle

    def offset(self, cycle: timedelta) -> timedelta:
        """Return how long after its decision time a cycle begins; raises BadConfiguration when that is too long."""
        trigger = self.trigger
        offset = timedelta(minutes=trigger.offset_minutes) if isinstance(trigger, CycleOffset) else timedelta(0)
        if offset >= cycle:
            raise BadConfiguration(
                f"{self.file}: trigger.offset_minutes is {offset.total_seconds() / 60:g}, but a cycle of {self.id} "
                f"lasts {cycle.total_seconds() / 60:g} minutes: give a smaller offset"
            )
        return offset

    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that must be set for it to run."""
        chain, wallet = self.chain, self.wallet
        named = [self.ledger.url_env, self.notify_env, *(() if chain is None else chain.rpc_envs)]
        named += () if wallet is None else (wallet.key_env, wallet.password_env)
        return tuple(dict.fromkeys(name for name in named if name is not None))
