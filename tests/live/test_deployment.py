"""Deployment files: what is read, and that every mistake is one message that helps and shows no secret."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.fund_fee import FundFees
from trading_dagster.domain.time import CycleDuration
from trading_dagster.domain.trade import TradeStatus
from trading_dagster.live.clock import ManualClock
from trading_dagster.live.cycle import decide_cycle, run_cycle
from trading_dagster.live.deployment import Deployment
from trading_dagster.live.deployment_data import SampleData
from trading_dagster.live.deployment_file import (
    FOLDERS_VARIABLE,
    find_deployment_files,
    read_deployment,
    read_deployments,
)
from trading_dagster.live.deployment_time import CycleOffset, DataAvailability, ReplayClock
from trading_dagster.live.evm_venue import EvmVenue
from trading_dagster.live.live_home import LiveHome
from trading_dagster.live.opening import open_clock, open_live, open_observer, open_strategy
from trading_dagster.live.parameter_override import read_overrides
from trading_dagster.live.universe import calculate, load_universe

KEY = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
WORDS = "test test test test test test test test test test test junk"
STRATEGIES = Path(__file__).parents[2] / "strategies"
DEPLOY = Path(__file__).parents[2] / "deploy"
LIVE = """
strategy: ema_cross.py
mode: live
chain: {name: base, rpc_envs: [BASE_RPC_1, BASE_RPC_2]}
exchange: {slug: uniswap-v3}
wallet: {key_env: BASE_KEY}
"""
PAIRS = """
pairs:
  - data: BTC/USD@coinbase
    base: {symbol: cbBTC, address: "0xcbB7C0000aB88B473b1f5aFd9ef808440eed33Bf", decimals: 8}
    quote: {symbol: USDC, address: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", decimals: 6}
    pool: "0xfBB6Eed8e7aa03B138556eeDaF5D271A5E1e43ef"
    fee: 0.0005
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a deployment file beside a strategy file."""
    (tmp_path / "ema_cross.py").write_text((STRATEGIES / "ema_cross.py").read_text(encoding="utf-8"), encoding="utf-8")

    def make(text, name="ema-paper.yaml") -> Path:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return make


@pytest.fixture
def refuse(write):
    """Return a function that reads a deployment that must be refused, and returns the message."""

    def read(text) -> str:
        with pytest.raises(BadConfiguration) as caught:
            read_deployment(write(text))
        return str(caught.value)

    return read


def test_the_shortest_deployment_has_safe_defaults(write, tmp_path):
    deployment = read_deployment(write("strategy: ema_cross.py\nmode: paper\n"))

    assert deployment.id == "ema_paper"
    assert deployment.strategy == tmp_path / "ema_cross.py"
    assert deployment.data == SampleData()
    assert deployment.trigger == CycleOffset(offset_minutes=8)
    assert (deployment.trigger_check_minutes, deployment.revaluation_minutes, deployment.treasury_minutes) == (3, 60, 0)
    assert deployment.autostart is False
    assert deployment.variables() == ()
    assert deployment.max_decision_delay(timedelta(hours=1)) == timedelta(hours=1)


def test_every_part_can_be_set(write):
    deployment = read_deployment(
        write(
            """
            id: my_ema
            strategy: ema_cross.py
            mode: live
            parameters: {fast: 5}
            ledger: {url_env: LEDGER_URL}
            data: {source: file, path: candles}
            clock: {kind: replay, start: 2018-01-01T00:00:00Z, speed: 60}
            trigger: {kind: data_availability, poll_seconds: 10, max_data_delay_minutes: 90}
            pairs:
              - data: BTC/USD@coinbase
                base: {symbol: WBTC, address: "0x1111111111111111111111111111111111111111", decimals: 8}
                quote: {symbol: USDC, address: "0x2222222222222222222222222222222222222222", decimals: 6}
                pool: "0x3333333333333333333333333333333333333333"
                fee: 0.0005
            chain: {name: local, rpc_envs: [LOCAL_RPC], confirmations: 2}
            exchange:
              kind: uniswap_v2
              factory: "0x4444444444444444444444444444444444444444"
              router: "0x5555555555555555555555555555555555555555"
            wallet: {keystore: wallet.json, password_env: WALLET_PASSWORD}
            limits: {max_trade_usd: 500, max_day_loss_share: 0.1}
            approval: {mode: manual, deadline_minutes: 15}
            trigger_check_minutes: 0
            run_timeout_minutes: 10
            autostart: true
            notify_env: ALARMS
            """
        )
    )

    assert deployment.id == "my_ema"
    assert deployment.clock == ReplayClock("replay", datetime(2018, 1, 1, tzinfo=UTC), 60.0)
    assert isinstance(deployment.trigger, DataAvailability)
    assert deployment.max_data_delay(timedelta(hours=1)) == timedelta(minutes=90)
    assert deployment.max_decision_delay(timedelta(hours=1)) == timedelta(minutes=90)
    assert deployment.pairs[0].base.decimals == 8
    assert deployment.limits.max_trade_usd == 500
    assert deployment.run_timeout(timedelta(hours=1)) == timedelta(minutes=25)
    assert deployment.variables() == ("LEDGER_URL", "ALARMS", "LOCAL_RPC", "WALLET_PASSWORD")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "strategy: ema_cross.py\nmode: papr\n",
            "mode: 'papr' cannot be used: input should be 'dummy', 'paper' or 'live'",
        ),
        ("strategy: ema_cross.py\n", "mode: it is missing"),
        ("mode: paper\nstrategy: absent.py\n", "strategy: .*absent.py does not exist"),
        ("mode: paper\nstrategy: ema_cross.py\ntriger: {}\n", "triger: there is no such field"),
        ("mode: paper\nstrategy: ema_cross.py\nretries: '2'\n", "retries: '2' cannot be used.*integer"),
        ("mode: paper\nstrategy: ema_cross.py\nautostart: 1\n", "autostart: 1 cannot be used.*boolean"),
        ("mode: paper\nstrategy: ema_cross.py\nrevaluation_minutes: -1\n", "revaluation_minutes: -1 cannot be used"),
        ("mode: paper\nstrategy: ema_cross.py\nid: My-Bot\n", "id: 'My-Bot' cannot be used"),
        ("mode: paper\nstrategy: ema_cross.py\nlimits: {max_trade_usd: -5}\n", "limits: max_trade_usd is -5"),
        ("mode: paper\nstrategy: ema_cross.py\nlimits: {max_trade: 5}\n", "limits.max_trade: there is no such field"),
        ("mode: paper\nstrategy: ema_cross.py\ndata: {source: fil}\n", "data: .*'fil'.*'sample', 'file', 'lake'"),
        (
            "mode: paper\nstrategy: ema_cross.py\ntrigger: {kind: data_availability, poll_seconds: 1}\n",
            "poll_seconds: 1 ",
        ),
        ("mode: paper\nstrategy: ema_cross.py\nledger: {file: a, url_env: B}\n", "ledger: both file and url_env"),
        ("mode: paper\nstrategy: ema_cross.py\nwallet: {key_env: A}\n", "wallet is given but mode is paper"),
        ("mode: paper\nstrategy: ema_cross.py\nclock: {kind: replay, start: 2018-01-01 00:00:00}\n", "no time zone"),
        ("mode: paper\nmode: live\n", "line 2: .*a key is given twice"),
        ("mode: [paper\n", "line 2: this is no YAML"),
        ("- mode\n", "no mapping of fields"),
        ("mode: paper\nstrategy: ema_cross.py\nfile: x\n", "file: there is no such field"),
        ("mode: live\nstrategy: ema_cross.py\n", "mode live needs chain, exchange, wallet"),
        (LIVE.replace("[BASE_RPC_1, BASE_RPC_2]", "[]"), "chain.rpc_envs is empty"),
        (LIVE + "autostart: true\n", "autostart is for mode paper and the local chain"),
        (LIVE + "clock: {kind: replay, start: 2018-01-01T00:00:00Z}\n", "clock replay is for mode paper"),
        ("mode: paper\nstrategy: ema_cross.py\n" + PAIRS, "pairs need chain and exchange"),
        (LIVE + "initial_cash: 5\n", "fees and initial_cash are for mode paper"),
        (LIVE.replace("uniswap-v3", "a, kind: uniswap_v2"), "exchange: slug and contracts are given"),
        (LIVE.replace("key_env: BASE_KEY", "keystore: w.json"), "wallet: keystore and password_env go together"),
        (
            LIVE + "pairs: [{data: BTC/USD, base: {symbol: A, address: 0x1111111111111111111111111111111111111111}}]\n",
            r"pairs.0.base.address: \d+ cannot be used: input should be a valid string: put quotes around it",
        ),
    ],
)
def test_a_mistake_is_named_with_file_field_value_and_remedy(refuse, text, expected):
    message = refuse(text)

    import re

    assert re.search(expected, message)
    assert "ema-paper.yaml" in message


def test_all_mistakes_of_a_file_are_told_at_once(refuse):
    message = refuse("strategy: ema_cross.py\nmode: papr\nretries: -1\nx: 1\n")

    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (LIVE.replace("BASE_KEY", f'"0x{KEY}"'), KEY),
        (LIVE.replace("BASE_KEY", f"0x{KEY}"), str(int(KEY, 16))),  # without quotes YAML reads a number
        (LIVE.replace("BASE_KEY", KEY), KEY),
        (LIVE + f"{KEY}: 1\n", KEY),
        (LIVE + f'notes: "my key is {KEY}."\n', KEY),
        (LIVE.replace("BASE_KEY", f'"{WORDS}"'), "junk"),
        (LIVE.replace("BASE_RPC_2", '"https://base.example.org/v2/AbCdEfGhIjKlMnOpQrSt"'), "AbCdEf"),
        (LIVE.replace("BASE_RPC_2", '"https://me:secret@base.example.org"'), "secret@"),
        (LIVE.replace("BASE_RPC_2", '"not a name"'), "not a name"),
        (LIVE.replace("BASE_KEY", '"hunter2!"'), "hunter2"),
        (LIVE.replace("mode: live", f"mode: live {KEY}"), KEY),
        (LIVE + f"ledger: {{file: a, url: '{KEY}'}}\n", KEY),
        (f"mode: [paper {KEY}\nx: 0x{KEY}]]", KEY),
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(refuse, text, secret):
    message = refuse(text)

    assert secret not in message
    assert KEY not in message


def test_a_literal_key_is_called_one(refuse):
    assert "wallet.key_env: the value looks like a private key" in refuse(LIVE.replace("BASE_KEY", f"0x{KEY}"))


def test_what_a_variable_holds_is_nowhere_in_the_deployment(write, monkeypatch):
    monkeypatch.setenv("BASE_KEY", KEY)

    deployment = read_deployment(write(LIVE))

    assert KEY not in repr(deployment)
    assert deployment.wallet is not None
    assert deployment.wallet.label == "env:BASE_KEY"


def test_addresses_and_hashes_are_not_taken_for_keys(write):
    text = (
        LIVE + 'pairs: [{data: A/B, base: {symbol: A, address: "0x' + "1" * 40 + '"}, quote: {symbol: B, address: "0x'
    )
    deployment = read_deployment(write(text + "2" * 40 + '"}, pool: "0x' + "3" * 40 + '", fee: 0.003}]'))

    assert deployment.pairs[0].pool == "0x" + "3" * 40


def test_folders_leave_out_examples_and_named_files_do_not(tmp_path):
    for name in ("b.yaml", "a.yml", "example-paper.yaml", "_draft.yaml", ".hidden.yaml", "notes.txt"):
        (tmp_path / name).write_text("", encoding="utf-8")
    example = tmp_path / "example-paper.yaml"
    places = os.pathsep.join([str(tmp_path), str(example)])

    found = find_deployment_files({FOLDERS_VARIABLE: places})

    assert [path.name for path in found] == ["a.yml", "b.yaml", "example-paper.yaml"]


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(BadConfiguration, match="absent, which does not exist"):
        find_deployment_files({FOLDERS_VARIABLE: str(tmp_path / "absent")})


def test_without_a_deploy_folder_there_is_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert find_deployment_files({}) == []


def test_one_bad_file_does_not_hide_the_others_and_no_id_comes_twice(write):
    good = write("strategy: ema_cross.py\nmode: paper\nid: one\n", "a.yaml")
    bad = write("strategy: ema_cross.py\nmode: nothing\n", "b.yaml")
    twice = write("strategy: ema_cross.py\nmode: paper\nid: one\n", "c.yaml")

    first, second, third = read_deployments([good, bad, twice])

    assert isinstance(first, Deployment)
    assert isinstance(second, BadConfiguration)
    assert "one is the id of" in str(third)


def test_parameters_are_of_the_strategys_types(write):
    text = "strategy: ema_cross.py\nmode: paper\nparameters: {cycle_duration: 4h, backtest_start: 2018-02-01}\n"

    module = open_strategy(read_deployment(write(text)))

    assert module.parameters.cycle_duration is CycleDuration.cycle_4h
    assert module.parameters.backtest_start == datetime(2018, 2, 1)


def test_periods_tuples_and_numbers_are_read():
    current = {"wait": timedelta(days=1), "pairs": (1, 2), "size": 0.5, "on": True, "any": None}

    changes = read_overrides({"wait": "90m", "pairs": [3], "size": 1, "on": False, "any": "x"}, current, "f")

    assert changes == {"wait": timedelta(minutes=90), "pairs": (3,), "size": 1, "on": False, "any": "x"}


def test_fund_fees_are_read_though_the_strategy_has_none():
    text = {"management": 0.02, "performance": 0.2, "every": "7d"}
    expected = FundFees(management=0.02, performance=0.2, every=timedelta(days=7))
    assert read_overrides({"fund_fees": text}, {}, "f") == {"fund_fees": expected}
    for switch in (True, False):
        assert read_overrides({"fund_fees": switch}, {"fund_fees": expected}, "f") == {"fund_fees": switch}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"fund_fees": 0.2}, r"f.fund_fees: 0.2 are no fees of a fund: write {management, performance, every}"),
        ({"fund_fees": {"managment": 0.2}}, "f.fund_fees: .*managment"),
        ({"fund_fees": {"management": 2}}, "f.fund_fees: FundFees.management is 2"),
        ({"fund_fees": {"every": 7}}, "f.fund_fees.every: 7 is no period"),
        ({"sise": 1}, "f.sise: Parameters has no 'sise'; did you mean 'size'"),
        ({"size": "much"}, "f.size: 'much' is no float"),
        ({"size": True}, "f.size: True is no float"),
        ({"on": 1}, "f.on: 1 is no bool"),
        ({"wait": 5}, "f.wait: 5 is no period"),
        ({"begin": "soon"}, "f.begin: 'soon' is no time"),
        ({"begin": "2018-01-01T00:00:00+00:00"}, "has a time zone"),
        ({"cycle": "5 parsecs"}, "f.cycle: '5 parsecs' is no CycleDuration: use one of cycle_1s"),
    ],
)
def test_a_parameter_of_another_type_is_refused(given, expected):
    current = {
        "wait": timedelta(days=1),
        "size": 0.5,
        "on": True,
        "begin": datetime(2018, 1, 1),
        "cycle": CycleDuration.cycle_1h,
    }

    with pytest.raises(BadConfiguration, match=expected):
        read_overrides(given, current, "f")


def test_an_offset_as_long_as_a_cycle_is_refused(write):
    deployment = read_deployment(write("strategy: ema_cross.py\nmode: paper\n"))

    assert deployment.offset(timedelta(hours=1)) == timedelta(minutes=8)
    with pytest.raises(BadConfiguration, match=r"offset_minutes is 8.*lasts 5 minutes"):
        deployment.offset(timedelta(minutes=5))


def test_a_replays_clock_goes_on_after_a_restart_and_is_not_turned_back(write, tmp_path):
    text = "strategy: ema_cross.py\nmode: paper\nclock: {kind: replay, start: 2018-01-01T00:00:00Z, speed: 3600}\n"
    deployment, home = read_deployment(write(text)), LiveHome(tmp_path / "home")

    first = open_clock(deployment, home)
    second = open_clock(deployment, home)

    assert first == second
    faster = read_deployment(write(text.replace("3600", "7200")))
    with pytest.raises(BadConfiguration, match="give the replay another id"):
        open_clock(faster, home)


def test_a_live_deployment_is_put_together_without_asking_a_node(write, tmp_path, monkeypatch):
    for name in ("BASE_RPC_1", "BASE_RPC_2"):
        monkeypatch.setenv(name, "http://localhost:1")
    monkeypatch.setenv("BASE_KEY", f"0x{KEY}")
    text = LIVE + PAIRS + "limits: {max_slippage_tolerance: 0.01}\nparameters: {slippage_tolerance: 0.05}\n"
    deployment = read_deployment(write(text))

    live = open_live(deployment, LiveHome(tmp_path / "home"))

    assert isinstance(live.venue, EvmVenue)
    assert live.venue.chain_id == 8453
    assert live.venue.limits.max_slippage == 0.01
    assert live.parameters.slippage_tolerance == 0.05
    (resource,) = live.venue.lease_resources
    assert "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266" in resource
    market = next(market for market in live.source.list_markets() if market.bucket.value == "1h")
    assert (market.chain_id, market.exchange_slug, market.pair) == (8453, "uniswap-v3", "cbBTC/USDC")
    live.store.close()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("name: base", "name: bace"), "chain.name: 'bace' is no known chain: did you mean base"),
        (("slug: uniswap-v3", "slug: uniswap-v9"), "exchange: 'uniswap-v9' is no known exchange of Base"),
        (("0xcbB7", "0xcBB7"), "breaks its own checksum"),
        (("fee: 0.0005", "decimals: 1"), "there is no such field"),
        (("    fee: 0.0005\n", ""), "pairs.0.fee: it is missing"),
    ],
)
def test_what_does_not_fit_the_chain_is_refused(write, tmp_path, monkeypatch, change, expected):
    for name in ("BASE_RPC_1", "BASE_RPC_2", "BASE_KEY"):
        monkeypatch.setenv(name, "x")

    with pytest.raises(BadConfiguration, match=expected):
        open_live(read_deployment(write((LIVE + PAIRS).replace(*change))), LiveHome(tmp_path / "home"))


def test_a_variable_that_is_not_set_is_named(write, tmp_path, monkeypatch):
    for name in ("BASE_RPC_1", "BASE_RPC_2", "BASE_KEY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(BadConfiguration, match="the environment variable BASE_RPC_1 is named but not set"):
        open_live(read_deployment(write(LIVE)), LiveHome(tmp_path / "home"))


def test_an_observer_needs_no_keys(write, tmp_path, monkeypatch):
    for name in ("BASE_RPC_1", "BASE_RPC_2", "BASE_KEY"):
        monkeypatch.delenv(name, raising=False)

    live = open_observer(read_deployment(write(LIVE)), LiveHome(tmp_path / "home"))

    with pytest.raises(BadConfiguration, match="opened to look at, not to trade"):
        live.venue.open_desk(None)
    live.store.close()


@pytest.mark.parametrize("file", sorted(DEPLOY.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_read(file):
    deployment = read_deployment(file)

    assert open_strategy(deployment).parameters.cycle_duration
    assert deployment.autostart is False


def test_dummy_deployment_decides_and_trades_nothing(tmp_path):
    file = tmp_path / "watch.yaml"
    file.write_text(
        f"strategy: {STRATEGIES / 'buy_and_hold.py'}\nmode: dummy\n"
        "clock: {kind: replay, start: 2018-06-01T00:00:00Z}\ninitial_cash: 1000\n",
        encoding="utf-8",
    )
    clock = ManualClock(datetime(2018, 6, 1, tzinfo=UTC))
    live = open_live(read_deployment(file), LiveHome(tmp_path / "home"), clock)
    decided = decide_cycle(live, universe := load_universe(live, live.now()), calculate(live, universe), live.now())
    assert len(decided.trades) == 3
    ended = run_cycle(live)
    assert [trade.get_status() for trade in ended.trades] == [TradeStatus.discarded] * 3
    assert ended.sample is not None
    assert (ended.sample.equity, ended.sample.open_positions) == (1000.0, 0)


VAULT = '"0x1111111111111111111111111111111111111111"'


@pytest.mark.parametrize(
    ("second", "is_refused"),
    [
        ({}, True),
        ({"name: base": "name: arbitrum"}, False),
        ({"key_env: BASE_KEY": "key_env: OTHER_KEY"}, False),
        ({"key_env: BASE_KEY": f"key_env: BASE_KEY, vault: {VAULT}, vault_first_block: 1"}, False),
    ],
    ids=["the same", "another chain", "another key", "its vault"],
)
def test_two_deployments_never_trade_with_the_same_money(write, second, is_refused):
    text = LIVE + PAIRS
    for old, new in second.items():
        text = text.replace(old, new)

    first, other = read_deployments([write(LIVE + PAIRS, "a.yaml"), write(text, "b.yaml")])

    assert isinstance(first, Deployment)
    assert isinstance(other, BadConfiguration) is is_refused
    if is_refused:
        assert "each would take the other's for its own deposit" in str(other)


def test_one_vault_with_two_keys_is_the_same_money(write):
    texts = [
        LIVE.replace("key_env: BASE_KEY", f"key_env: {key}, vault: {VAULT}, vault_first_block: 1") for key in ("A", "B")
    ]
    _, other = read_deployments([write(text, f"{name}.yaml") for text, name in zip(texts, "ab", strict=True)])
    assert "trades with the same money" in str(other)
