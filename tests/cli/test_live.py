"""The live commands on a paper deployment, as an operator would type them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from cli.conftest import Run
from live.world import WalletVenue
from typer.testing import CliRunner

from trading_dagster.cli import live_action
from trading_dagster.cli.live_worker import LiveWorker
from trading_dagster.cli.main import app
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_live
from trading_dagster.live.progress import read_progress

STRATEGY = Path(__file__).parents[1] / "live" / "three_pairs.py"
START = datetime(2018, 4, 10, 0, 10, tzinfo=UTC)
DAY = timedelta(days=1)


def write(folder: Path, extra: str = "", *, speed: float = 1.0, name: str = "three") -> Path:
    file = folder / f"{name}.yaml"
    clock = f"clock: {{kind: replay, start: {START.isoformat()}, speed: {speed}}}"
    file.write_text(f"strategy: {STRATEGY}\nmode: paper\n{clock}\n{extra}", encoding="utf-8")
    return file


@pytest.fixture
def deployment(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    return write(tmp_path)


def words(output: str) -> list[list[str]]:
    return [line.split() for line in output.splitlines()]


def test_day_of_an_operator(run: Run, deployment: Path):
    code, output, errors = run("live", "init", deployment)
    assert (code, errors) == (0, "")
    assert ["USD", "0"] in [line[:2] for line in words(output)]

    code, output, _ = run("live", "run-cycle", deployment)
    assert code == 0
    assert "Cycle 1 of 2018-04-10 00:00:00 UTC: done" in output
    assert [line[1:3] for line in words(output)[2:5]] == [["buy", "BTC-USD"], ["buy", "ETH-USD"], ["buy", "LTC-USD"]]

    code, output, _ = run("live", "run-cycle", deployment)
    assert (code, "already done" in output) == (0, True)

    assert run("live", "check-triggers", deployment)[0] == 0
    assert "3 open positions" in run("live", "revalue", deployment)[1]
    code, output, _ = run("live", "check-accounts", deployment)
    assert (code, output.count(" ok")) == (0, 4)
    assert "Nothing is to be corrected" in run("live", "correct-accounts", deployment)[1]

    code, output, _ = run("live", "show-positions", deployment)
    assert [line[:3] for line in words(output)[1:]] == [
        ["#1", "BTC-USD", "open"],
        ["#2", "ETH-USD", "open"],
        ["#3", "LTC-USD", "open"],
    ]

    code, output, _ = run("live", "close-position", deployment, 2)
    assert (code, "success" in output) == (0, True)
    code, output, _ = run("live", "close-all", deployment, "--yes")
    assert (code, output.count("success")) == (0, 2)
    assert "No positions." in run("live", "show-positions", deployment)[1]
    code, output, _ = run("live", "show-positions", deployment, "--closed")
    assert output.count("closed") == 3
    code, output, _ = run("live", "test-trade", deployment, "--pair", "ETH/USD", "--value", "5")
    assert (code, "Buying and selling 5.00 USD of ETH-USD cost" in output) == (0, True)


def test_what_is_shown_as_json_can_be_read(run: Run, deployment: Path):
    run("live", "run-cycle", deployment)
    positions = json.loads(run("live", "show-positions", deployment, "--json")[1])
    assert [row["pair"] for row in positions] == ["BTC-USD", "ETH-USD", "LTC-USD"]
    valuation = json.loads(run("live", "show-valuation", deployment, "--json")[1])
    assert valuation["cash"] == 7000
    assert valuation["sample"]["at"].endswith("Z")
    status = json.loads(run("live", "status", deployment, "--json")[1])
    assert (status["cycle"], status["last_decision_at"]) == (2, "2018-04-10T00:00:00Z")
    wallet = json.loads(run("live", "check-wallet", deployment, "--json")[1])
    assert wallet["balances"][0]["quantity"] == "7000"
    text = run("live", "status", deployment)[1]
    assert "Kill switch     off" in text
    shown = run("live", "show-valuation", deployment)[1]
    assert "Cash" in shown
    assert "Share price" in shown
    costs = {row["cost"]: row for row in json.loads(run("live", "show-costs", deployment, "--json")[1])}
    assert costs["fee"]["usd"] == costs["total"]["usd"] > 0
    head, *rows = run("live", "show-costs", deployment)[1].splitlines()
    assert head.split() == ["cost", "USD", "USD", "a", "trade", "of", "volume"]
    assert [row.split()[0] for row in rows] == list(costs)


def test_money_is_taken_out_waits_and_is_cancelled(run: Run, deployment: Path):
    run("live", "run-cycle", deployment)
    code, output, _ = run("live", "redeem", deployment, "1500.50", "--to", "Alice", "--yes")
    assert (code, "redemption 1 of 1500.50 to Alice is paid" in output) == (0, True)
    code, output, _ = run("live", "redeem", deployment, "8000", "--yes")
    assert (code, "redemption 2 of 8000 waits" in output) == (0, True)
    assert "Waiting         redemption 2 of 8000" in run("live", "status", deployment)[1]
    code, output, _ = run("live", "cancel-redemption", deployment, 2)
    assert (code, "redemption 2 of 8000 is cancelled" in output) == (0, True)
    assert "Waiting" not in run("live", "status", deployment)[1]
    code, output, _ = run("live", "deposit", deployment, "99.5")
    assert (code, "deposit of 99.5 is booked" in output) == (0, True)
    code, _, error = run("live", "redeem", deployment, "much", "--yes")
    assert (code != 0, "The amount is 'much'" in error) == (True, True)


def test_ledger_is_ended_and_another_begins(run: Run, deployment: Path, tmp_path: Path):
    run("live", "run-cycle", deployment)
    words = ["--by", "Ann", "--reason", "a new idea", "--yes"]
    code, _, error = run("live", "end-ledger", deployment, *words)
    assert (code, "The ledger of three is not over" in error) == (1, True)
    run("live", "close-all", deployment, "--yes")
    code, output, _ = run("live", "end-ledger", deployment, *words)
    assert (code, output.startswith("The ledger of three was ended at 2018-04-10")) == (0, True)
    code, _, error = run("live", "run-cycle", deployment)
    assert (code, "was ended at" in error, "begin a ledger under a new id" in error) == (2, True, True)
    shown = run("live", "status", deployment)[1]
    assert "Money           paper, no real money" in shown
    assert re.search(r"Ended +2018-04-10 .* UTC, Ann: a new idea", shown)

    deployment.unlink()
    following = write(tmp_path, name="following")
    assert run("live", "init", following)[0] == 0
    code, again, _ = run("live", "end-ledger", "three", "--database-of", following, *words)
    assert (code, again) == (0, output)
    code, _, error = run("live", "end-ledger", "thre", "--database-of", following, *words)
    assert (code, "it has those of following, three" in error) == (2, True)


def test_what_the_strategy_said_is_shown(run: Run, deployment: Path, tmp_path: Path):
    strategy = tmp_path / "says.py"
    said = 'def decide_trades(input):\n    input.state.visualisation.add_message(input.timestamp, "all is well")\n'
    strategy.write_text(STRATEGY.read_text().replace("def decide_trades(input):\n", said), encoding="utf-8")
    deployment.write_text(deployment.read_text().replace(str(STRATEGY), str(strategy)), encoding="utf-8")
    assert "has no ledger yet" in run("live", "show-messages", deployment)[2]
    run("live", "run-cycle", deployment)
    assert run("live", "show-messages", deployment)[1] == "2018-04-10 00:00:00  all is well\n"
    rows = json.loads(run("live", "show-messages", deployment, "--json", "--count", "1")[1])
    assert rows == [{"decision_at": "2018-04-10T00:00:00Z", "at": "2018-04-10T00:00:00Z", "text": "all is well"}]


def test_status_works_before_anything_ran(run: Run, deployment: Path):
    code, output, _ = run("live", "status", deployment)
    assert (code, "none yet" in output) == (0, True)
    code, _, errors = run("live", "show-positions", deployment)
    assert (code, "has no ledger yet" in errors) == (2, True)


def test_kill_switch_from_the_command_line(run: Run, deployment: Path):
    run("live", "init", deployment)
    code, output, _ = run("live", "kill", deployment, "--by", "Ann", "--reason", "odd prices")
    assert (code, "is on since" in output) == (0, True)
    code, output, _ = run("live", "run-cycle", deployment)
    assert (code, "skipped" in output, "odd prices" in output) == (1, True, True)
    code, _, errors = run("live", "test-trade", deployment, "--pair", "ETH/USD")
    assert (code, "odd prices" in errors) == (1, True)
    assert "odd prices" in run("live", "status", deployment)[1]
    assert run("live", "resume", deployment, "--by", "Ann", "--reason", "looked into it")[0] == 0
    assert run("live", "test-trade", deployment, "--pair", "ETH/USD")[0] == 0
    assert run("live", "kill", deployment, "--by", "", "--reason", "x")[0] == 2


def test_blacklist_from_the_command_line(run: Run, deployment: Path):
    assert "No token" in run("live", "blacklist", deployment)[1]
    code, output, _ = run("live", "blacklist", deployment, "--add", "eth", "--reason", "delisted")
    assert (code, words(output)[1][0], words(output)[1][-1]) == (0, "ETH", "delisted")
    assert run("live", "blacklist", deployment, "--add", "DOGE", "--reason", "x")[0] == 2
    assert "No token" in run("live", "blacklist", deployment, "--remove", "ETH")[1]


def test_nothing_waits_and_nothing_is_frozen(run: Run, deployment: Path):
    run("live", "run-cycle", deployment)
    assert "Nothing waits" in run("live", "approve", deployment)[1]
    assert run("live", "approve", deployment, "0123456789", "--by", "Ann")[0] == 2
    assert run("live", "repair", deployment)[:2] == (0, "No position is frozen.\n")
    assert run("live", "retry", deployment)[:2] == (0, "No trades.\n")
    code, _, errors = run("live", "repair", deployment, 7)
    assert (code, "#7 is not frozen" in errors) == (2, True)
    code, _, errors = run("live", "close-position", deployment, 9)
    assert (code, "no open position #9" in errors) == (2, True)
    code, _, errors = run("live", "correct-accounts", deployment, "--reserve", "gift")
    assert (code, "--reserve is 'gift'" in errors) == (2, True)


def test_deployment_is_found_by_its_id(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deployment: Path):
    monkeypatch.setenv("TRADING_DAGSTER_DEPLOYMENTS", str(tmp_path))
    assert run("live", "status", "three")[0] == 0
    code, _, errors = run("live", "status", "four")
    assert (code, errors) == (2, "Error: four is neither a file nor the id of a deployment; found are: three\n")


def test_mistake_in_a_deployment_is_one_message(run: Run, tmp_path: Path):
    code, _, errors = run("live", "run-cycle", write(tmp_path, "wallet: {key_env: KEY}"))
    assert code == 2
    assert errors.startswith("Error: ")
    assert "Traceback" not in errors


@pytest.fixture
def wallet(monkeypatch: pytest.MonkeyPatch) -> WalletVenue:
    """A wallet of its own behind the deployment, from which tokens can be taken."""
    venue = WalletVenue()
    monkeypatch.setattr(live_action, "open_live", lambda *given: replace(open_live(*given), venue=venue))
    return venue


def take(venue: WalletVenue, symbol: str) -> Decimal:
    asset = next(asset for asset in venue.wallet.balances if asset.token_symbol == symbol)
    taken = venue.wallet.get_balance(asset)
    venue.wallet.add(asset, -taken)
    return taken


def test_accounts_are_corrected_after_a_question(deployment: Path, run: Run, wallet: WalletVenue):
    run("live", "run-cycle", deployment)
    take(wallet, "ETH")
    code, output, _ = run("live", "check-accounts", deployment)
    assert (code, output.count("MISMATCH")) == (1, 1)
    assert "close position #2" in run("live", "correct-accounts", deployment, "--dry-run")[1]
    arguments = ["live", "correct-accounts", str(deployment)]
    refused = CliRunner().invoke(app, arguments, input="n\n")
    assert (refused.exit_code, "Nothing was recorded." in refused.stdout) == (0, True)
    assert run("live", "check-accounts", deployment)[0] == 1
    accepted = CliRunner().invoke(app, arguments, input="y\n")
    assert (accepted.exit_code, "Recorded" in accepted.stdout) == (0, True)
    assert run("live", "check-accounts", deployment)[0] == 0


def test_what_froze_is_retried_or_released(deployment: Path, run: Run, wallet: WalletVenue):
    run("live", "run-cycle", deployment)
    taken = {symbol: take(wallet, symbol) for symbol in ("ETH", "LTC")}
    code, output, _ = run("live", "close-all", deployment, "--yes")
    statuses = [line[6] for line in words(output) if line and re.fullmatch(r"#\d+", line[0])]
    assert (code, sorted(statuses)) == (1, ["failed", "failed", "success"])
    code, _, errors = run("live", "correct-accounts", deployment, "--yes")
    assert (code, "Release them first" in errors) == (1, True)
    for asset in list(wallet.wallet.balances):
        wallet.wallet.add(asset, taken.get(asset.token_symbol, Decimal(0)))
    assert run("live", "status", deployment)[1].count("Frozen          position") == 2
    code, output, _ = run("live", "retry", deployment, 2)
    assert (code, "success" in output) == (0, True)
    assert run("live", "repair", deployment)[:2] == (0, "Position #3 is released: open\n")
    assert "already done" in run("live", "run-cycle", deployment)[1]
    assert run("live", "close-position", deployment, 3)[0] == 0


# -- the process that goes on ------------------------------------------------------------------------------------------


class Life:
    """A worker on a clock that goes on only when it waits."""

    def __init__(self, folder: Path, extra: str = "", hop: timedelta = timedelta(hours=2)):
        self.clock = ManualClock(START)
        self.deployment = read_deployment(write(folder, extra))
        self.live = open_live(self.deployment, LiveHome(folder / "live"), self.clock)
        self.hop = hop
        self.waits = 0
        self.stop_at: datetime | None = None

    def wait(self, seconds: float) -> None:
        self.waits += 1
        self.clock.moment += self.hop

    def is_stopping(self) -> bool:
        return self.stop_at is not None and self.clock.moment >= self.stop_at

    def worker(self) -> LiveWorker:
        return LiveWorker(self.deployment, self.live, is_stopping=self.is_stopping, wait=self.wait)

    def events(self) -> list[str]:
        return [row.type for row in self.live.store.read(self.live.id)]


@pytest.fixture
def life(tmp_path):
    made = []

    def make(extra: str = "", **options) -> Life:
        made.append(Life(tmp_path, extra, **options))
        return made[-1]

    yield make
    for each in made:
        each.live.store.close()


@pytest.mark.parametrize(
    "trigger",
    ["{kind: cycle_offset, offset_minutes: 8}", "{kind: data_availability}", "{kind: since_last_cycle_end}"],
)
def test_worker_runs_each_cycle_once(life, trigger):
    world = life(f"trigger: {trigger}")
    assert world.worker().run(max_cycles=4) == 4
    events = world.events()
    assert (events.count("CycleDecided"), events.count("CycleCompleted"), events.count("CycleSkipped")) == (4, 4, 0)
    assert events.count("TradeExecuted") == 12
    assert read_progress(world.live).last_decision_at == datetime(2018, 4, 13)


def test_worker_values_and_checks_between_cycles(life):
    world = life("revaluation_minutes: 120", hop=timedelta(hours=1))
    world.worker().run(max_cycles=2)
    assert len(world.live.store.read_samples(world.live.id)) >= 12


def test_worker_records_what_it_missed(life):
    world = life()
    world.worker().run(max_cycles=1)
    world.clock.moment += 4 * DAY
    assert world.worker().run(max_cycles=1) == 1
    rows = [row for row in world.live.store.read(world.live.id) if row.type == "CycleSkipped"]
    assert ["3 decision times" in row.body for row in rows] == [True]
    assert world.events().count("CycleCompleted") == 2


def test_worker_stops_between_steps_and_the_next_goes_on(life):
    world = life()
    worker = world.worker()
    seen = []
    decide = world.live.strategy.decide_trades

    def decide_and_stop(input):
        seen.append(input.timestamp)
        world.stop_at = world.clock.moment
        return decide(input)

    object.__setattr__(world.live.strategy, "decide_trades", decide_and_stop)
    assert worker.run() == 0
    assert world.events().count("CycleDecided") == 1
    assert "TradeExecuted" not in world.events()
    object.__setattr__(world.live.strategy, "decide_trades", decide)
    world.stop_at = None
    assert world.worker().run(max_cycles=1) == 1
    assert world.events().count("TradeExecuted") == 3
    assert world.events().count("CycleDecided") == 1
    assert seen == [datetime(2018, 4, 10)]


def test_error_of_one_job_leaves_the_others_alone(life, caplog):
    world = life("revaluation_minutes: 60", hop=timedelta(hours=1))
    fails = [True]
    decide = world.live.strategy.decide_trades

    def fail_at_first(input):
        if input.timestamp == datetime(2018, 4, 10) and fails:
            fails.pop()
            raise ZeroDivisionError("mine")
        return decide(input)

    object.__setattr__(world.live.strategy, "decide_trades", fail_at_first)
    assert world.worker().run(max_cycles=2) == 2
    assert "mine" in caplog.text
    assert world.events().count("CycleCompleted") == 2
    assert len(world.live.store.read_samples(world.live.id)) > 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_start_ends_at_a_signal_and_another_goes_on(tmp_path, number):
    """Two days pass in a second: the process is asked to stop in the middle of its work."""
    file = write(tmp_path, speed=2 * 86_400.0)
    command = [sys.executable, "-m", "trading_dagster.cli.main", "live", "start", str(file)]
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    ledger = tmp_path / "home" / "live" / "ledger.sqlite"
    while not ledger.exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    time.sleep(3)
    process.send_signal(number)
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "cycles ended" in output
    again = subprocess.run(
        [*command, "--max-cycles", "1"], capture_output=True, text=True, env=environment, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "1 cycles ended" in again.stdout


@pytest.mark.slow
def test_trades_wait_for_an_approval_from_the_command_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    file = write(tmp_path, "approval: {mode: manual}")
    command = [sys.executable, "-m", "trading_dagster.cli.main", "live", "run-cycle", str(file)]
    waiting = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    run("live", "status", file)
    while "Nothing waits" in (shown := run("live", "approve", file)[1]):
        assert waiting.poll() is None, waiting.communicate()[1]
        time.sleep(0.2)
    digest = shown.partition(":")[0]
    assert "to be answered until" in shown
    answer = ["--by", "Ann", "--trade", 1, "--trade", 3, "--comment", "no ETH"]
    code, output, _ = run("live", "approve", file, digest, *answer)
    assert (code, output.count("approved")) == (0, 3)
    assert run("live", "approve", file, digest, "--by", "Bob", "--reject")[0] == 1
    output, errors = waiting.communicate()
    assert waiting.returncode == 0, errors
    assert "Nothing waits" in run("live", "approve", file)[1]
    rows = json.loads(run("live", "show-positions", file, "--json")[1])
    assert [row["pair"] for row in rows] == ["BTC-USD", "LTC-USD"]
