"""From a deployment to the strategy that trades: the one place where its parts are put together.

Environment variables are read here, by the names that the deployment gives, and nowhere else in the live engine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NoReturn

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.domain.time import CycleDuration
from trading_dagster.live.clock import AcceleratedClock, SystemClock, WorldClock
from trading_dagster.live.deployment import Deployment, FileData, LakeData, MappedPair, ReplayClock
from trading_dagster.live.desk import Desk, DeskRequest, Venue
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.paper import PaperVenue
from trading_dagster.live.parameter_override import parse_data_pair, read_overrides
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.market.file_source import EmbeddedSample, FileSource
from trading_dagster.market.lake import Lake
from trading_dagster.market.mapped_source import MappedSource
from trading_dagster.market.replay_source import ReplaySource
from trading_dagster.market.source import CandleSource
from trading_dagster.storage.ledger_store import LedgerStore
from trading_dagster.storage.sql_ledger_store import SqlLedgerStore
from trading_dagster.strategy.execution_context import ExecutionMode
from trading_dagster.strategy.module import StrategyModule, load_strategy_file

WAIT_S = 120.0
"""How long a step waits for another executor to finish, seconds: longer than a killed one's lease lasts."""
PAPER_EXCHANGE = "paper"


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


def open_source(deployment: Deployment, clock: WorldClock) -> ReplaySource:
    """Return the deployment's candles up to the present of its clock.

    Raises:
        MarketDataMissing: There is no such file, folder or source.
    """
    data = deployment.data
    source: CandleSource
    if isinstance(data, FileData):
        source = FileSource(data.path)
    elif isinstance(data, LakeData):
        source = Lake(data.folder).source(data.name)
    else:
        source = EmbeddedSample()
    if deployment.pairs:
        source = MappedSource(
            source, {parse_data_pair(pair.data): _to_pool(deployment, pair) for pair in deployment.pairs}
        )
    delay_s = deployment.clock.delay_s if isinstance(deployment.clock, ReplayClock) else 0.0
    return ReplaySource(source, clock.now, publication_delay=timedelta(seconds=delay_s))


def open_store(deployment: Deployment, home: LiveHome) -> LedgerStore:
    """Open the deployment's ledger; raises BadConfiguration, StorageFailed."""
    ledger = deployment.ledger
    if ledger.url_env is not None:
        return SqlLedgerStore(read_variable(deployment, "ledger.url_env", ledger.url_env))
    file = ledger.file or home.ledger
    file.parent.mkdir(parents=True, exist_ok=True)
    return SqlLedgerStore(file)


def read_variable(deployment: Deployment, where: str, name: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return what an environment variable holds; raises BadConfiguration when it is not set."""
    value = environ.get(name)
    if not value:
        raise BadConfiguration(f"{deployment.file}: {where}: the environment variable {name} is not set: set it")
    return value


def open_live(deployment: Deployment, home: LiveHome, clock: WorldClock | None = None) -> LiveStrategy:
    """Put a deployment together, ready to trade; ``clock`` replaces its own.

    Raises:
        BadConfiguration: A variable is not set, or fields do not fit the strategy.
        SigningKeyUnusable: The wallet's key is absent or malformed.
    """
    strategy = open_strategy(deployment)
    return _assemble(deployment, home, strategy, _open_venue(deployment, strategy), clock)


def open_observer(deployment: Deployment, home: LiveHome, clock: WorldClock | None = None) -> LiveStrategy:
    """Put a deployment together without its venue: for those who look and never trade, and need no keys."""
    return _assemble(deployment, home, open_strategy(deployment), NoVenue(deployment.id), clock)


def _assemble(
    deployment: Deployment, home: LiveHome, strategy: StrategyModule, venue: Venue, clock: WorldClock | None
) -> LiveStrategy:
    clock = clock or open_clock(deployment, home)
    return LiveStrategy(
        id=deployment.id,
        strategy=strategy,
        source=open_source(deployment, clock),
        venue=venue,
        store=open_store(deployment, home),
        clock=clock,
        mode=ExecutionMode.simulated_trading if deployment.mode == "paper" else ExecutionMode.real_trading,
        wait_s=WAIT_S,
    )


def _open_venue(deployment: Deployment, strategy: StrategyModule) -> Venue:
    if deployment.mode == "paper":
        fees = deployment.fees
        return PaperVenue(
            float(strategy.parameters.initial_cash),
            trading_fee_override=fees.override,
            default_fee=fees.default,
            allow_missing_fees=fees.allow_missing,
        )
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class NoVenue:
    """The venue of an observer: it cannot be opened."""

    deployment_id: str
    lease_resources: Sequence[str] = ()

    def open_desk(self, request: DeskRequest) -> Desk:  # noqa: ARG002 - the port names it
        """Refuse."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise BadConfiguration(f"{self.deployment_id} was opened to look at, not to trade")


def _to_pool(deployment: Deployment, pair: MappedPair) -> TradingPairIdentifier:
    chain_id = _chain_id(deployment)
    exchange = deployment.exchange
    base, quote = (
        AssetIdentifier(chain_id, token.address, token.symbol, token.decimals) for token in (pair.base, pair.quote)
    )
    factory = None if exchange is None else exchange.factory
    return TradingPairIdentifier(
        base=base,
        quote=quote,
        pool_address=pair.pool.lower(),
        exchange_address=(factory or pair.pool).lower(),
        fee=pair.fee if pair.fee is not None or exchange is None else exchange.fee,
        exchange_name=PAPER_EXCHANGE if exchange is None else exchange.slug or exchange.kind,
    )


def _chain_id(deployment: Deployment) -> ChainId:
    raise NotImplementedError
