"""What a deployment is: a strategy file, where its candles come from, where it trades, and when; no secrets.

Every field is a field of the YAML file that ``deployment_file`` reads. Secrets are named by the environment variable
that holds them, never given.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.execution.limit import TradeLimits
from trading_dagster.live.deployment_chain import Chain, Exchange, Lending, MappedPair, ShareVault, Wallet
from trading_dagster.live.deployment_data import CandleData, ChainData, SampleData
from trading_dagster.live.deployment_field import (
    STRICT,
    DeploymentId,
    Fraction,
    PositiveMinutes,
    Usd,
    VariableName,
    WholeMinutes,
)
from trading_dagster.live.deployment_time import Clock, CycleOffset, DataAvailability, RealClock, ReplayClock, Trigger


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
