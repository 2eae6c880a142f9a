"""A deployment on paper that is fed by an exchange, by the wall clock, through the commands an operator types."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cli.conftest import run  # noqa: F401 - fixture
from market.exchange_server import FakeExchange, serve_exchange, to_ms

from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import TimeBucket
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_observer
from trading_dagster.market.availability import AvailabilitySource
from trading_dagster.market.exchange_source import ExchangeSource

STRATEGIES = Path(__file__).parents[2] / "strategies"


def today():
    return datetime.now(UTC).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def deployment(tmp_path, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    first = today() - timedelta(days=200)
    exchange = FakeExchange(today() + timedelta(hours=23, minutes=59), BTCUSDT=first, ETHUSDT=first)
    with serve_exchange(exchange) as url:
        file = tmp_path / "paper.yaml"
        file.write_text(
            f"id: paper\nstrategy: {STRATEGIES / 'buy_and_hold.py'}\nmode: paper\n"
            "trigger: {kind: data_availability}\n"
            f"data: {{source: exchange, name: binance, symbols: [BTC/USDT, ETH/USDT], api_url: '{url}'}}\n",
            encoding="utf-8",
        )
        yield file, exchange


def test_cycle_is_decided_and_filled_at_the_open_of_the_exchange(run, deployment):  # noqa: F811
    file, exchange = deployment
    code, output, errors = run("live", "run-cycle", file)
    assert (code, errors) == (0, "")
    assert f"Cycle 1 of {today()} UTC: done" in output
    assert output.count("buy") == 2
    opened = float(exchange.rows("BTCUSDT", "1d", to_ms(today()), 1)[0][1])
    assert f"{opened * 1.001:.5f}" in output  # the strategy's fee of 0.1 % is in the price
    assert "already done" in run("live", "run-cycle", file)[1]


def test_observer_sees_the_exchange_itself_and_what_it_has_closed(deployment):
    file, _ = deployment
    live = open_observer(read_deployment(file), LiveHome.from_environment())
    assert isinstance(live.source, ExchangeSource)
    assert isinstance(live.source, AvailabilitySource)
    pairs = [(ChainId.centralised_exchange, "binance", base, "USDT") for base in ("BTC", "ETH")]
    assert all(item.is_ready(today()) for item in live.source.read_availability(pairs, TimeBucket.d1))
