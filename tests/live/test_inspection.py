"""What operators are shown comes from the ledger alone, and can be written as JSON."""

import json
from dataclasses import asdict, replace
from decimal import Decimal

import pytest
from live.world import DAY, START, Steps, WalletVenue, hold, load, make_live, run_days, set_time

from trading_dagster.domain.error import BadInput
from trading_dagster.live.blacklist import blacklist_token
from trading_dagster.live.inspection import show_positions, show_status, show_valuation
from trading_dagster.storage.lease import strategy_resource


class Unreachable:
    """A venue and a source that nobody may ask."""

    lease_resources = ()

    def __getattr__(self, name):
        raise AssertionError(f"{name} was asked for")


@pytest.fixture
def held():
    live = make_live(hold(stop_loss_pct=0.5))
    run_days(live, 2)
    return replace(live, venue=Unreachable(), source=Unreachable())


def as_json(value):
    return json.loads(json.dumps(asdict(value), default=str))


def test_positions_are_shown_with_cost_and_last_known_price(held):
    rows = show_positions(held)
    assert [(row.position_id, row.pair, row.status) for row in rows] == [
        (1, "BTC-USD", "open"),
        (2, "ETH-USD", "open"),
        (3, "LTC-USD", "open"),
    ]
    for row in rows:
        assert row.value == pytest.approx(1000)
        assert row.price == pytest.approx(row.average_price)
        assert row.priced_at == START
        assert row.stop_loss == pytest.approx(0.5 * row.price / 1.001)
        assert (row.trades, row.failed_trades) == (1, 0)
    assert as_json(rows[0])["quantity"] == str(rows[0].quantity)


def test_closed_positions_are_shown_when_asked_for():
    live = make_live()
    run_days(live, 2)
    assert show_positions(live) == ()
    rows = show_positions(live, with_closed=True)
    assert [row.status for row in rows] == ["closed"] * 3
    assert {row.value for row in rows} == {0.0}
    profit = sum(row.profit for row in rows)
    assert profit == pytest.approx(load(live).portfolio.get_cash() - 10_000)


def test_valuation_has_cash_positions_and_the_newest_sample(held):
    valuation = show_valuation(held)
    assert valuation.cash == 7000
    assert valuation.equity == pytest.approx(10_000)
    assert valuation.sample.at == START + DAY
    assert valuation.sample.equity == held.store.read_samples(held.id)[-1].equity
    assert valuation.frozen_value == 0
    assert as_json(valuation)["sample"]["open_positions"] == 3


def test_status_before_the_first_cycle():
    live = make_live(hold())
    status = show_status(live)
    assert (status.events, status.cycle, status.next_decision_at, status.lease) == (0, 1, START, "")
    for show in (show_positions, show_valuation):
        with pytest.raises(BadInput, match="has no ledger yet"):
            show(live)


def test_status_tells_the_cycle_in_progress_and_who_works_on_it():
    live = make_live(hold())
    steps = Steps(live)
    steps.decide()
    live.store.acquire("host:7:abc", [strategy_resource(live.id)], 60)
    status = show_status(replace(live, forbid_trading=lambda: "stopped by Ann"))
    assert (status.cycle, status.open_decision_at, status.last_decision_at) == (1, START, START)
    assert status.next_decision_at == START + DAY
    assert [(row.trade_id, row.side, row.status) for row in status.unfinished] == [
        (1, "buy", "planned"),
        (2, "buy", "planned"),
        (3, "buy", "planned"),
    ]
    assert status.lease.startswith("host:7:abc, for another")
    assert status.kill_switch == "stopped by Ann"
    assert as_json(status)["unfinished"][0]["pair"] == "BTC-USD"


def test_status_tells_frozen_positions_balances_and_the_blacklist():
    venue = WalletVenue()
    live = make_live(venue=venue)
    run_days(live, 1)
    set_time(live, START + DAY)
    steps = Steps(live)
    steps.decide()
    venue.take(load(live), "LTC-USD")
    steps.execute()
    blacklist_token(live, "ETH", "delisted")
    status = show_status(live)
    assert [(row.pair, row.failed_trades) for row in status.frozen] == [("LTC-USD", 1)]
    assert "cannot give" in status.frozen[0].notes
    assert [(row.token, row.position_ids) for row in status.balances] == [("USD", ()), ("LTC", (3,))]
    assert status.balances[0].quantity == load(live).portfolio.reserve.quantity
    assert status.blacklist == (("ETH", "delisted"),)
    assert status.next_decision_at == START + 2 * DAY
    assert show_valuation(live).frozen_value > 0
    assert isinstance(status.balances[1].quantity, Decimal)
