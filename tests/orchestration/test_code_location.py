"""The code location loads whatever the strategies folder holds, and the home is fit for several processes."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from orchestration.conftest import STRATEGIES

from assets.backtest import backtest_assets
from trading_dagster.domain.error import BadConfiguration
from trading_dagster.orchestration.home import prepare_home
from trading_dagster.orchestration.strategy_file import SHIPPED_FOLDER, find_demo_strategy, find_strategy_files

pytestmark = pytest.mark.dagster


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "mine"
    made.mkdir()
    monkeypatch.setenv("TRADING_DAGSTER_STRATEGIES", str(made))
    return made


def groups(assets: list[dg.AssetsDefinition]) -> set[str]:
    return {group for each in assets for group in each.group_names_by_key.values()}


def test_broken_strategy_files_are_named_and_the_others_load(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(STRATEGIES / "ema_cross.py", folder / "good.py")
    (folder / "unparsable.py").write_text("def decide(:\n", encoding="utf-8")
    (folder / "raising.py").write_text("1 / 0\n", encoding="utf-8")
    text = (STRATEGIES / "ema_cross.py").read_text(encoding="utf-8")
    backwards = text.replace("backtest_end = datetime(2019, 10, 17)", "backtest_end = datetime(2017, 10, 17)")
    (folder / "backwards.py").write_text(backwards, encoding="utf-8")

    with caplog.at_level(logging.ERROR):
        assets = backtest_assets()

    assert groups(assets) == {"good", "research"}
    for name in ("unparsable.py", "raising.py", "backwards.py"):
        assert name in caplog.text


def test_an_empty_folder_gives_no_assets(folder: Path) -> None:
    assert backtest_assets() == []


def test_a_folder_that_does_not_exist_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRADING_DAGSTER_STRATEGIES", str(tmp_path / "absent"))

    assert find_strategy_files() == []
    assert "absent does not exist" in caplog.text


def test_examples_are_found_where_there_is_no_strategies_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRADING_DAGSTER_STRATEGIES", raising=False)
    monkeypatch.chdir(tmp_path)

    assert find_demo_strategy() == SHIPPED_FOLDER / "ema_cross.py"
    assert len(find_strategy_files()) >= 5


def test_every_example_has_its_seven_assets() -> None:
    assets = backtest_assets(find_strategy_files([STRATEGIES]))

    assert groups(assets) >= {"ema_cross", "momentum_rotation", "rsi_mean_reversion", "breakout_atr", "buy_and_hold"}
    assert {len(each.keys) for each in assets} == {1, 3}
    for each in assets:
        for spec in each.specs:
            assert spec.description
            assert spec.owners
            assert spec.kinds
            assert spec.code_version


def test_home_can_be_opened_by_several_processes_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    home = tmp_path / "home"
    code = (
        "import sys, pathlib; from trading_dagster.orchestration.home import prepare_home;"
        "prepare_home(pathlib.Path(sys.argv[1]))"
    )

    processes = [subprocess.Popen([sys.executable, "-c", code, str(home)]) for _ in range(3)]

    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    assert prepare_home(home) == home
    with dg.DagsterInstance.get() as instance:
        assert instance.get_runs_count() == 0


def test_a_home_that_is_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")
    (tmp_path / "home").write_text("", encoding="utf-8")

    with pytest.raises(BadConfiguration, match="choose another folder with --home"):
        prepare_home(tmp_path / "home")
