"""A deployment lives through good and bad: nothing it leaves behind has a key, a password or a secret part of a URL."""

import base64
import gzip
import json
import logging
import os
import secrets
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pytest
import requests
import yaml
from eth_account import Account
from evm.node import install_packages
from http_server import QuietHandler, serve
from orchestration.live_daemon import ROOT, Daemon, write_workspace
from orchestration.live_deployment import STRATEGY
from orchestration.secret_scan import Secret, list_files, scan

from trading_dagster.demo.stage import DEMO_ID, KEY_VARIABLE, RPC_VARIABLE, DemoSetting, Stage, open_stage
from trading_dagster.domain.error import NodeError
from trading_dagster.domain.event import CycleCompleted, TradeExecuted, TradeFailed
from trading_dagster.evm.endpoint import HttpEndpoint
from trading_dagster.live.deployment_file import read_deployment
from trading_dagster.live.opening import open_observer
from trading_dagster.live.strategy import LiveStrategy
from trading_dagster.orchestration.home import prepare_home
from trading_dagster.storage.event_codec import EventDecoder

pytestmark = [pytest.mark.dagster]
JOB = f"live_{DEMO_ID}"
HOUR_S = 40.0
NOTIFY_VARIABLE, PASSWORD_VARIABLE = "TRADING_DAGSTER_TEST_NOTIFY", "TRADING_DAGSTER_TEST_PASSWORD"
COPY = "c0de" * 10
"""Where a router's code is while it refuses the wallet."""
LOGGING = """
python_logs:
  managed_python_loggers: [root]
  python_log_level: DEBUG
"""
CRASH = """

_decide = decide_trades


def decide_trades(input):
    import pathlib

    if pathlib.Path(__file__).with_name("crash").exists():
        raise ValueError("the strategy has a bug")
    return _decide(input)
"""
KEY = "0x" + "c0ffee" * 10 + "1234"


def plant_text(folder: Path, text: str) -> None:
    (folder / "some.log").write_text(f"before {text} after", encoding="utf-8")


def plant_cell(folder: Path, cell: Any) -> None:
    with sqlite3.connect(folder / "some.db") as connection:
        connection.execute("CREATE TABLE snapshots (body BLOB)")
        connection.execute("INSERT INTO snapshots VALUES (?)", (cell,))
    connection.close()


@pytest.mark.parametrize(
    "plant",
    [
        lambda folder: plant_text(folder, KEY),
        lambda folder: plant_text(folder, KEY[2:].upper()),
        lambda folder: plant_text(folder, str(int(KEY, 16))),
        lambda folder: plant_text(folder, base64.b64encode(b"x" + bytes.fromhex(KEY[2:]) + b"yz").decode()),
        lambda folder: plant_text(folder, base64.b64encode(json.dumps({"key": KEY}).encode()).decode()),
        lambda folder: plant_text(folder, repr({"key": bytes.fromhex(KEY[2:])})),
        lambda folder: plant_text(folder, str(list(bytes.fromhex(KEY[2:])))),
        lambda folder: (folder / KEY).touch(),
        lambda folder: (folder / "some.gz").write_bytes(gzip.compress(KEY.encode())),
        lambda folder: plant_cell(folder, KEY),
        lambda folder: plant_cell(folder, zlib.compress(json.dumps([KEY]).encode())),
    ],
)
def test_scan_finds_a_planted_key(tmp_path: Path, plant: Callable[[Path], object]) -> None:
    searched = [Secret.of_key("key", KEY)]
    plant_text(tmp_path, KEY[:-1])
    assert scan([tmp_path], searched) == []
    plant(tmp_path)
    assert scan([tmp_path], searched)


@pytest.mark.parametrize("leak", ["metadata", "tag", "stdout", "config", "error"])
def test_scan_finds_a_key_that_a_run_leaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, leak: str) -> None:
    @dg.op(config_schema=dg.Field(str, is_required=False))
    def work(context: dg.OpExecutionContext) -> None:
        if leak == "metadata":
            context.add_output_metadata({"wallet": KEY})
        if leak == "stdout":
            print(KEY)  # noqa: T201
        if leak == "error":
            raise ValueError(KEY)

    @dg.job
    def leaking() -> None:
        work()

    home = prepare_home(tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        leaking.execute_in_process(
            instance=instance,
            tags={"wallet": KEY} if leak == "tag" else {},
            run_config={"ops": {"work": {"config": KEY}}} if leak == "config" else {},
            raise_on_error=False,
        )
    assert scan([home], [Secret.of_key("key", KEY)])


class Gateway:
    """A server in front of a node, as a provider has one whose URLs have keys in them; it can be shut."""

    def __init__(self, target: str = "") -> None:
        self.target = target
        self.status = 200
        self.seen: list[str] = []

    @contextmanager
    def serve(self) -> Iterator[int]:
        gateway = self

        class Handler(QuietHandler):
            def respond(self) -> None:
                body = self.read_body()
                gateway.seen.append(self.path)
                answer = b"{}"
                if gateway.target and gateway.status == 200:
                    sent = requests.post(
                        gateway.target, data=body, headers={"Content-Type": "application/json"}, timeout=30
                    )
                    answer = sent.content
                self.send(answer, gateway.status, {"Content-Type": "application/json"})

        with serve(Handler) as address:
            yield urlsplit(address).port


def test_node_url_is_logged_at_no_level(caplog: pytest.LogCaptureFixture) -> None:
    gateway = Gateway()
    with caplog.at_level(logging.DEBUG), gateway.serve() as port:
        endpoint = HttpEndpoint(f"http://someone:word@127.0.0.1:{port}/v2/apikey?token=hidden")
        for gateway.status in (200, 503):
            with pytest.raises(NodeError):
                endpoint.request("eth_blockNumber", [])
        logging.getLogger("urllib3.connectionpool").warning("a sign that logs are seen")
    assert len(gateway.seen) == 2
    assert "a sign" in caplog.text
    assert not any(secret in caplog.text for secret in ("someone", "word", "apikey", "hidden"))


class Life:
    """The deployment, and waiting for what becomes of it."""

    def __init__(self, stage: Stage, live: LiveStrategy, instance: dg.DagsterInstance, log: Path) -> None:
        self.stage, self.live, self.instance, self.log = stage, live, instance, log

    def count(self, kind: type) -> int:
        rows = self.live.store.read(self.live.id)
        return sum(isinstance(event, kind) for event in EventDecoder(()).decode_all(row.body for row in rows))

    def failures(self) -> int:
        failed = dg.RunsFilter(job_name=JOB, statuses=[dg.DagsterRunStatus.FAILURE])
        return self.instance.get_runs_count(failed)

    def wait_for_more(self, what: str, count: Callable[[], int], by: int = 1) -> None:
        target = count() + by
        for _ in range(1800):
            if count() >= target:
                return
            self.stage.check()
            time.sleep(0.1)
        pytest.fail(f"{what} did not happen:\n{self.log.read_text(encoding='utf-8')[-6000:]}")


@pytest.mark.slow
def test_nothing_that_runs_leave_behind_has_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        name: f"{name}-{secrets.token_hex(12)}"
        for name in ("apikey", "token", "user", "password", "channel", "poster", "passphrase")
    }
    (tmp_path / "strategy").mkdir()
    strategy = tmp_path / "strategy" / "flip.py"
    own = STRATEGY.replace("        trading_fee=0.001,\n", "")
    strategy.write_text(own + CRASH, encoding="utf-8")
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("TRADING_DAGSTER_STRATEGIES", str(tmp_path / "none"))
    log = tmp_path / "demo" / "log" / "daemon.log"
    with open_stage(DemoSetting(tmp_path / "demo", strategy, hour_s=HOUR_S), install_packages()) as stage:
        key = os.environ[KEY_VARIABLE]
        provider, receiver = Gateway(stage.node.url), Gateway()
        with provider.serve() as rpc_port, receiver.serve() as notify_port:
            host = f"{texts['user']}:{texts['password']}@127.0.0.1:{rpc_port}"
            monkeypatch.setenv(RPC_VARIABLE, f"http://{host}/v2/{texts['apikey']}?token={texts['token']}")
            target = f"json://{texts['poster']}:{texts['password']}@127.0.0.1:{notify_port}/{texts['channel']}"
            monkeypatch.setenv(NOTIFY_VARIABLE, target)
            monkeypatch.setenv(PASSWORD_VARIABLE, "wrong-" + texts["passphrase"])
            change_deployment(stage.deployment.file, notify_env=NOTIFY_VARIABLE, retries=0)
            live_through(tmp_path, stage, provider, receiver, log)
            run_with_keystore(tmp_path, stage, key, texts["passphrase"], monkeypatch)
        assert any(texts["apikey"] in path for path in provider.seen)
        assert any(texts["channel"] in path for path in receiver.seen)
    searched = [Secret.of_key("the private key", key)]
    searched += [Secret.of_text(name, text) for name, text in texts.items()]
    assert scan([tmp_path], searched) == []
    names = {file.name for file in list_files([tmp_path])}
    assert {"runs.db", "ledger.sqlite", "transactions.sqlite", "daemon.log", "keystore.out"} <= names
    planted = next(file for file in list_files([tmp_path]) if file.name == "daemon.log")
    with planted.open("a", encoding="utf-8") as opened:
        opened.write(key)
    assert scan([tmp_path], searched) == [f"the private key in {planted}"]


def live_through(tmp_path: Path, stage: Stage, provider: Gateway, receiver: Gateway, log: Path) -> None:
    """Run cycles by the daemon: good ones, a trade that fails, a bug, a node and a receiver that are down."""
    home = prepare_home(stage.home.root.parent)
    with (home / "dagster.yaml").open("a", encoding="utf-8") as settings:
        settings.write(LOGGING)
    workspace = write_workspace(tmp_path, ROOT / "trading_dagster" / "definitions.py")
    live = open_observer(read_deployment(stage.deployment.file), stage.home)
    with dg.DagsterInstance.get() as instance:
        life = Life(stage, live, instance, log)
        daemon = Daemon(workspace, log)
        try:
            life.wait_for_more("a trade", lambda: life.count(TradeExecuted))
            life.wait_for_more("a cycle", lambda: life.count(CycleCompleted))
            code = stage.node.rpc("eth_getCode", stage.pool.router, "latest")
            stage.node.rpc("anvil_setCode", "0x" + COPY, code)
            stage.node.rpc("anvil_setCode", stage.pool.router, refuse(stage.wallet))
            life.wait_for_more("a failed trade", lambda: life.count(TradeFailed))
            stage.node.rpc("anvil_setCode", stage.pool.router, code)
            receiver.status = 500
            crash = tmp_path / "strategy" / "crash"
            crash.touch()
            life.wait_for_more("a run that fails by a bug", life.failures)
            crash.unlink()
            provider.status = 503
            life.wait_for_more("a run that fails without a node", life.failures)
            provider.status = 200
        finally:
            daemon.kill_all()
    live.store.close()


def refuse(wallet: str) -> str:
    """Return the code of a contract that reverts for a wallet and is another one (ERC-1167) for everybody else."""
    is_wallet = "33" + "73" + wallet[2:] + "14" + "6047" + "57"
    other = "363d3d373d3d3d363d73" + COPY + "5af43d82803e903d91" + "6045" + "57fd5bf3"
    return "0x" + is_wallet + other + "5b60006000fd"


def run_with_keystore(tmp_path: Path, stage: Stage, key: str, passphrase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a cycle from a keystore file, with a wrong password and with the right one."""
    keystore = stage.deployment.file.with_name("wallet.json")
    keystore.write_text(
        json.dumps(Account.encrypt(bytes.fromhex(key[2:]), passphrase, kdf="pbkdf2", iterations=10)), encoding="utf-8"
    )
    change_deployment(stage.deployment.file, wallet={"keystore": str(keystore), "password_env": PASSWORD_VARIABLE})
    monkeypatch.delenv(KEY_VARIABLE)
    location = str(ROOT / "trading_dagster" / "definitions.py")
    command = [sys.executable, "-m", "dagster", "job", "execute", "-f", location, "-d", str(ROOT), "-j", JOB]
    for password, status in (("wrong-" + passphrase, 1), (passphrase, 0)):
        monkeypatch.setenv(PASSWORD_VARIABLE, password)
        with (tmp_path / "keystore.out").open("ab") as output:
            done = subprocess.run(command, stdout=output, stderr=output, check=False, cwd=tmp_path)
        assert done.returncode == status, (tmp_path / "keystore.out").read_text(encoding="utf-8")[-4000:]
    assert "is wrong" in (tmp_path / "keystore.out").read_text(encoding="utf-8")


def change_deployment(file: Path, **fields: Any) -> None:
    """Write a deployment file with some fields changed."""
    body = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump(body | fields, sort_keys=False), encoding="utf-8")
