"""From a deployment to the strategy that trades: the one place where its parts are put together.

Environment variables are read here, by the names that the deployment gives, and nowhere else in the live engine.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.purse import Purse
from trading_dagster.domain.time import CycleDuration
from trading_dagster.execution.approval import ApprovalModel, ManualApproval, UncheckedApproval
from trading_dagster.execution.limit_guard import LimitGuard
from trading_dagster.live.clock import AcceleratedClock, SystemClock, WorldClock
from trading_dagster.live.deployment import Deployment
from trading_dagster.live.deployment_data import ChainData, ExchangeData, FileData, LakeData, ServiceData
from trading_dagster.live.deployment_time import ReplayClock
from trading_dagster.live.desk import Desk, DeskRequest, Venue
from trading_dagster.live.fund_fee import LiveFundFees
from trading_dagster.live.guard import with_emergency_file
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.notification import MessageSink, Notifier, Reporter, apprise_sinks
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.parameter_override import read_overrides
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.exchange_api import CcxtApi
from trading_dagster.market.exchange_source import ExchangeSource
from trading_dagster.market.file_source import EmbeddedSample, FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.mapped_source import MappedSource
from trading_dagster.market.replay_source import ReplaySource
from trading_dagster.market.source import CandleSource
from trading_dagster.market.trading_strategy_source import open_trading_strategy
from trading_dagster.storage.control_store import SqlApprovalStore, SqlKillSwitch
from trading_dagster.storage.limit_history import LedgerLimitHistory
from trading_dagster.storage.message_store import SqlMessageStore
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.strategy.execution_context import ExecutionMode
from trading_dagster.strategy.module import StrategyModule, load_strategy_file

logger = logging.getLogger(__name__)

IGNORED_COSTS = (
    "%s: the strategy's Parameters.costs are for backtests and paper, and are not used here: on a chain trades cost "
    "what it takes, see `live show-costs`. Not used: %s"
)
"""What is told where a strategy's own costs would come on top of real ones."""

WAIT_S = 120.0
"""How long a step waits for another executor to finish, seconds: longer than a killed one's lease lasts."""


def open_strategy(deployment: Deployment) -> StrategyModule:
    """Load the strategy file with the deployment's parameters; raises BadInput naming what is wrong."""
    module = load_strategy_file(deployment.strategy)
    overrides = read_overrides(deployment.parameters, module.parameters, f"{deployment.file}: parameters")
    if deployment.initial_cash is not None:
        overrides["initial_cash"] = deployment.initial_cash
    module = module.with_parameters(overrides)
    duration = module.parameters.get("cycle_duration")
    if not isinstance(duration, CycleDuration) or duration is CycleDuration.cycle_unknown:
        raise BadConfiguration(
            f"{deployment.file}: strategy: Parameters.cycle_duration is {duration!r}: set a real one"
        )
    return module


def open_clock(deployment: Deployment, home: LiveHome) -> WorldClock:
    """Return the deployment's clock; that of a replay begins when it is first asked for, and goes on ever after."""
    clock = deployment.clock
    if not isinstance(clock, ReplayClock):
        return SystemClock()
    began_at = home.begin_clock(deployment.id, clock.start, clock.speed, datetime.now(UTC))
    return AcceleratedClock(clock.start, began_at, clock.speed)


def open_source(deployment: Deployment, clock: WorldClock) -> CandleSource:
    """Return the deployment's candles up to the present of its clock.

    An exchange, a service or a chain itself knows what is closed; what was stored is served as far as it is past.

    Raises:
        MarketDataMissing: There is no such file, folder or source.
        BadConfiguration: The exchange is unknown, or ccxt is not installed.
    """
    data = deployment.data
    source: CandleSource
    if isinstance(data, FileData):
        source = FileSource(data.path)
    elif isinstance(data, LakeData):
        source = Lake(data.folder).source(data.name)
    elif isinstance(data, ExchangeData):
        api = CcxtApi(data.name, api_url=data.api_url)
        source = ExchangeSource(api, pairs=data.symbols or None, now=clock.now)
    elif isinstance(data, ServiceData):
        source = open_trading_strategy(
            data.symbols,
            chain=data.chain,
            pair_file=data.pair_file,
            api_url=data.api_url,
            key_variable=data.key_env,
            now=clock.now,
        )
    elif isinstance(data, ChainData):
        from trading_dagster.live.chain_data_opening import open_chain_data  # only this pays for web3

        return open_chain_data(deployment, data)
    else:
        source = EmbeddedSample()
    if deployment.pairs:
        from trading_dagster.live.chain_opening import describe_pools  # only this pays for web3

        source = MappedSource(source, describe_pools(deployment))
    if isinstance(data, ExchangeData | ServiceData) and not deployment.is_replay:
        return source
    delay_s = deployment.clock.delay_s if isinstance(deployment.clock, ReplayClock) else 0.0
    return ReplaySource(source, clock.now, publication_delay=timedelta(seconds=delay_s))


def open_store(deployment: Deployment, home: LiveHome) -> SqlLedgerStore:
    """Open the deployment's ledger; raises BadConfiguration, StorageFailed."""
    ledger = deployment.ledger
    if ledger.url_env is not None:
        return SqlLedgerStore(read_variable(deployment, ledger.url_env))
    file = ledger.file or home.ledger
    file.parent.mkdir(parents=True, exist_ok=True)
    return SqlLedgerStore(file)


def read_variable(deployment: Deployment, name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return what an environment variable holds; raises BadConfiguration when it is not set."""
    value = environ.get(name)
    if not value:
        raise BadConfiguration(
            f"{deployment.file}: the environment variable {name} is named but not set: set it where Dagster runs"
        )
    return value


def open_live(deployment: Deployment, home: LiveHome, clock: WorldClock | None = None) -> LiveStrategy:
    """Put a deployment together, ready to trade; ``clock`` replaces its own.

    Raises:
        BadConfiguration: A variable is not set, or fields do not fit the strategy, the chain or each other.
    """
    parts = _Parts(deployment, home, clock)
    return parts.assemble(parts.open_venue())


def open_observer(deployment: Deployment, home: LiveHome, clock: WorldClock | None = None) -> LiveStrategy:
    """Put a deployment together without its venue: for those who look and never trade, and need no keys."""
    parts = _Parts(deployment, home, clock)
    return parts.assemble(NoVenue(deployment.id))


def open_reporter(deployment: Deployment, store: SqlLedgerStore) -> Reporter:
    """Return where a deployment's messages go: its database, the log, and the targets of its ``notify_env``.

    Targets that cannot be used are told in the log and left out: an alarm must not fail because of them.
    """
    sinks: Sequence[MessageSink] = ()
    if deployment.notify_env is not None:
        try:
            sinks = apprise_sinks(deployment.notify_env)
        except BadConfiguration as error:
            logger.error("%s: notify_env: %s", deployment.file, error)  # noqa: TRY400 - the message says it all
    return Notifier(SqlMessageStore(store.database), sinks)


class _Parts:
    """The parts of a deployment on their way into a LiveStrategy."""

    def __init__(self, deployment: Deployment, home: LiveHome, clock: WorldClock | None) -> None:
        self.deployment = deployment
        self.home = home
        self.strategy = open_strategy(deployment)
        self.clock = clock or open_clock(deployment, home)
        self.store = open_store(deployment, home)
        self.switch = with_emergency_file(SqlKillSwitch(self.store.database))
        self.reporter = open_reporter(deployment, self.store)

    def assemble(self, venue: Venue) -> LiveStrategy:
        deployment = self.deployment
        return LiveStrategy(
            id=deployment.id,
            strategy=self.strategy,
            source=open_source(deployment, self.clock),
            venue=venue,
            store=self.store,
            clock=self.clock,
            mode=ExecutionMode.real_trading if deployment.mode == "live" else ExecutionMode.simulated_trading,
            guard=LimitGuard(deployment.limits, LedgerLimitHistory(self.store, deployment.id)),
            approval=self._open_approval(),
            forbid_trading=partial(self.switch.is_on, deployment.id),
            reporter=self.reporter,
            wait_s=WAIT_S,
        )

    def open_venue(self) -> Venue:
        deployment, parameters = self.deployment, self.strategy.parameters
        if deployment.mode != "live":
            fees = deployment.fees
            return PaperVenue(
                float(parameters.initial_cash),
                trading_fee_override=fees.override,
                default_fee=fees.default,
                allow_missing_fees=fees.allow_missing,
                trades_nothing=deployment.mode == "dummy",
            )
        for variable in deployment.variables():
            read_variable(deployment, variable)
        from trading_dagster.live.chain_opening import ChainParts, open_chain_venue  # only this pays for web3
        from trading_dagster.live.evm_venue import require_no_fund_fees

        venue = open_chain_venue(
            deployment,
            ChainParts(self.home, parameters, self.clock, self.switch, self.reporter),
        )
        costs = parameters.get("costs")
        if costs:
            logger.warning(IGNORED_COSTS, deployment.file, ", ".join(map(repr, costs)))
        if venue.vault is not None:
            require_no_fund_fees(venue.vault, LiveFundFees.of_strategy(self.strategy))
        return venue

    def _open_approval(self) -> ApprovalModel:
        deployment = self.deployment
        if deployment.approval.mode == "automatic":
            return UncheckedApproval()
        cycle: CycleDuration = self.strategy.parameters.cycle_duration
        patience = deployment.max_approval_wait(cycle.to_timedelta())
        return ManualApproval(SqlApprovalStore(self.store.database), deployment.id, self.clock.now, patience)


@dataclass(frozen=True, slots=True)
class NoVenue:
    """The venue of an observer: it cannot be opened."""

    deployment_id: str
    lease_resources: Sequence[str] = ()

    @property
    def purse(self) -> Purse:
        """Refuse."""
        raise self._refusal()

    def open_desk(self, request: DeskRequest) -> Desk:  # noqa: ARG002 - the port names it
        """Refuse."""
        raise self._refusal()

    def _refusal(self) -> BadConfiguration:
        return BadConfiguration(f"{self.deployment_id} was opened to look at, not to trade")
