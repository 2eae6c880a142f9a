"""A deployment on paper that is fed by the Trading Strategy data service, by the wall clock."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli.conftest import run  # noqa: F401 - fixture
from market.trading_strategy_server import KEY, FakeService, seconds, serve_service

from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_observer
from trading_dagster.market.trading_strategy_source import TradingStrategySource

STRATEGIES = Path(__file__).parents[2] / "strategies"
ETH = (ChainId.ethereum, "uniswap-v3", "WETH", "USDC")


def today():
    return datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def deployment(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MY_KEY", KEY)
    service = FakeService(today() + timedelta(hours=23, minutes=59), p11=today() - timedelta(days=200))
    service.key = KEY
    with serve_service(service) as url:
        file = tmp_path / "paper.yaml"
        file.write_text(
            f"id: paper\nstrategy: {STRATEGIES / 'buy_and_hold.py'}\nmode: paper\n"
            "trigger: {kind: data_availability}\n"
            "data: {source: trading_strategy, symbols: [WETH/USDC], chain: ethereum, pair_file: pairs.parquet,\n"
            f"  key_env: MY_KEY, api_url: '{url}'}}\n",
            encoding="utf-8",
        )
        yield file, service


def test_cycle_is_decided_and_filled_at_the_open_of_the_service(run, deployment, tmp_path):  # noqa: F811
    file, service = deployment
    code, output, errors = run("live", "run-cycle", file)
    assert (code, errors) == (0, "")
    assert f"Cycle 1 of {today()} UTC: done" in output
    opened = service.candle(11, seconds(today()))["o"]
    (trade,) = [line for line in output.splitlines() if line.startswith("#1")]
    price = float(trade.split()[4])
    assert price == pytest.approx(opened * 1.0005, rel=1e-6)  # the pool's fee of 0.05 % is in the price
    assert not any(KEY.encode() in each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())


def test_observer_sees_the_service_itself_and_what_it_has_whole(deployment):
    file, service = deployment
    live = open_observer(read_deployment(file), LiveHome.from_environment())
    assert isinstance(live.source, TradingStrategySource)
    (item,) = live.source.read_availability([ETH], TimeBucket.d1)
    assert item.is_ready(today())
    service.lag = timedelta(days=1)
    (item,) = live.source.read_availability([ETH], TimeBucket.d1)
    assert not item.is_ready(today())
