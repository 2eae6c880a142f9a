"""A chain on this machine: anvil as a child process that never outlives its parent."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path

from trading_dagster.domain.error import BadConfiguration, NodeError, NodeUnavailable
from trading_dagster.domain.identifier import ChainId
from trading_dagster.domain.time import to_naive, to_unix_us
from trading_dagster.evm.dev_node import DevNode
from trading_dagster.evm.local_package import anvil_package

START_TIMEOUT_S = 30.0
START_POLL_S = 0.02
STOP_TIMEOUT_S = 120.0
"""Longer than it takes to remove gigabytes of old states on a machine that is busy otherwise."""
ATTEMPTS = 3
LOG_TAIL = 500
SUPERVISE = """
states=$(mktemp -d) || exit
exec 3<&0
"$@" --cache-path "$states" 3<&- </dev/null &
node=$!
{ read -r _ <&3; kill -9 "$node"; } 2>/dev/null &
watcher=$!
wait "$node"
code=$?
kill "$watcher" 2>/dev/null
rm -rf "$states"
exit "$code"
"""
"""Run a node until it ends, or until the other end of standard input is closed, as when the parent is killed.

What it keeps of old blocks, gigabytes after some thousand, goes with it; a node that is killed would leave it.
"""


class Mining(Enum):
    """When the node makes a block."""

    automatic = "automatic"
    """At once for each transaction."""
    interval = "interval"
    """Every ``block_time_s``."""
    manual = "manual"
    """Only when told to; chain time then goes by a second a block."""


@dataclass(frozen=True, slots=True)
class NodeSetting:
    """How a local chain runs.

    Args:
        mining: When there are blocks.
        block_time_s: Seconds between blocks, with ``Mining.interval``; fractions are allowed.
        chain_id: What the chain calls itself.
        starts_at: Time of the first block, aware UTC; None is now.
        accounts: How many accounts it signs for, each with 10,000 of the native token.
        log: File to which the node's own log is added; None for none.
    """

    mining: Mining = Mining.interval
    block_time_s: float = 1.0
    chain_id: int = ChainId.anvil
    starts_at: datetime | None = None
    accounts: int = 4
    log: Path | None = None

    def __post_init__(self) -> None:
        """Check."""
        if not self.block_time_s > 0:
            raise BadConfiguration(f"block_time_s is {self.block_time_s}: give seconds above 0")
        if self.accounts < 1:
            raise BadConfiguration(f"accounts is {self.accounts}: give at least 1")


class LocalNode(DevNode):
    """A running node. It ends with ``close``, or with the process that started it, however that ends.

    Children of that process made by fork, without exec, keep it alive as long as they live.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int, *, name: str = "anvil") -> None:
        super().__init__(f"http://127.0.0.1:{port}")
        self.process = process
        self.port = port
        self.name = name
        self.accounts: list[str] = []

    @property
    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self.process.poll() is None

    def close(self) -> None:
        """End the process and wait for that."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=STOP_TIMEOUT_S)


@contextmanager
def run_local_node(packages: Path, setting: NodeSetting | None = None) -> Iterator[LocalNode]:
    """Run a node on a free port of the loopback interface while the block runs.

    Args:
        packages: Folder of node packages; see `local_package.install_v2`.
        setting: How it runs.

    Raises:
        NodeUnavailable: It does not start.
    """
    node = start_local_node(packages, setting or NodeSetting())
    try:
        yield node
    finally:
        node.close()


def start_local_node(packages: Path, setting: NodeSetting) -> LocalNode:
    """Start a node on a free port of the loopback interface; raises NodeUnavailable when it does not start."""
    binary = packages / anvil_package() / "bin" / "anvil"
    if not binary.is_file():
        raise NodeUnavailable(f"There is no node in {packages}: install it with local_package.install_v2()")
    binary.chmod(0o755)
    failure = ""
    for _ in range(ATTEMPTS):  # another process may take the port before the node does
        node = _launch(binary, setting)
        try:
            failure = _wait_for_answer(node)
        except BaseException:
            node.close()
            raise
        if not failure:
            if setting.mining is Mining.manual:
                node.rpc("anvil_setBlockTimestampInterval", 1)
            return node
        node.close()
    raise NodeUnavailable(f"The node {binary} does not start: {failure}{_log_tail(setting.log)}")


def _launch(binary: Path, setting: NodeSetting) -> LocalNode:
    port = _free_port()
    command = [str(binary), "--host", "127.0.0.1", "--port", str(port), "--chain-id", str(int(setting.chain_id))]
    command += ["--accounts", str(setting.accounts)]
    if setting.mining is Mining.manual:
        command.append("--no-mining")
    if setting.mining is Mining.interval:
        command += ["--block-time", str(setting.block_time_s)]
    if setting.starts_at is not None:
        command += ["--timestamp", str(to_unix_us(to_naive(setting.starts_at)) // 1_000_000)]
    if setting.log is None:
        return LocalNode(_supervise([*command, "--quiet"], subprocess.DEVNULL), port)
    setting.log.parent.mkdir(parents=True, exist_ok=True)
    with setting.log.open("ab") as log:
        return LocalNode(_supervise(command, log.fileno()), port)


def _supervise(command: list[str], output: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - our own script and arguments
        ["/bin/sh", "-c", SUPERVISE, "sh", *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        start_new_session=True,  # an interrupt at the terminal is for the parent, which then ends the node in order
    )


def _wait_for_answer(node: LocalNode) -> str:
    """Wait until the node answers; return why it does not, or nothing."""
    end = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            node.accounts = [str(account).lower() for account in node.rpc("eth_accounts")]
        except NodeError as error:
            if not node.is_running:
                return f"it ended with code {node.process.returncode}"
            if time.monotonic() > end:
                return f"it does not answer after {START_TIMEOUT_S} s ({error})"
            time.sleep(START_POLL_S)
        else:
            return "" if node.is_running else "another process has its port"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _log_tail(log: Path | None) -> str:
    if log is None or not log.is_file():
        return ""
    return f"; end of {log}: {log.read_text(encoding='utf-8', errors='replace')[-LOG_TAIL:].strip()}"
