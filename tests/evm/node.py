"""A local chain for tests: anvil, contracts compiled when the tests run, a faulty proxy in front of it.

Nothing compiled by others is kept in this repository: packages are installed once into a cache folder of the user.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

PACKAGES = (
    "@foundry-rs/anvil-linux-amd64@1.7.1",
    "@uniswap/v2-core@1.0.1",
    "@uniswap/v2-periphery@1.1.0-beta.0",
    "solc@0.8.30",
)
PACKAGES_V3 = (
    "@uniswap/v3-core@1.0.1",
    "@uniswap/v3-periphery@1.4.4",
    "@uniswap/swap-router-contracts@1.3.1",
)
CHAIN_ID = 31337
GAS = hex(8_000_000)

SOURCE = """
// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

contract Token {
    string public name;
    string public symbol;
    uint8 public immutable decimals;
    uint256 public immutable taxBps;
    uint256 public totalSupply;
    mapping(address => uint256) public balanceOf;
    mapping(address => mapping(address => uint256)) public allowance;
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    constructor(string memory symbol_, uint8 decimals_, uint256 taxBps_, uint256 supply) {
        name = symbol_; symbol = symbol_; decimals = decimals_; taxBps = taxBps_;
        totalSupply = supply; balanceOf[msg.sender] = supply;
        emit Transfer(address(0), msg.sender, supply);
    }

    function approve(address spender, uint256 value) external returns (bool) {
        allowance[msg.sender][spender] = value;
        emit Approval(msg.sender, spender, value);
        return true;
    }

    function transfer(address to, uint256 value) external returns (bool) { return _move(msg.sender, to, value); }

    function transferFrom(address from, address to, uint256 value) external returns (bool) {
        require(allowance[from][msg.sender] >= value, "allowance too small");
        allowance[from][msg.sender] -= value;
        return _move(from, to, value);
    }

    function _move(address from, address to, uint256 value) internal returns (bool) {
        require(balanceOf[from] >= value, "balance too small");
        uint256 tax = value * taxBps / 10000;
        balanceOf[from] -= value;
        balanceOf[to] += value - tax;
        balanceOf[address(0xdead)] += tax;
        emit Transfer(from, to, value - tax);
        if (tax > 0) emit Transfer(from, address(0xdead), tax);
        return true;
    }
}

contract Aggregator {
    struct Call { address target; bool allowFailure; bytes callData; }
    struct Result { bool success; bytes returnData; }

    function aggregate3(Call[] calldata calls) external payable returns (Result[] memory results) {
        results = new Result[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            (results[i].success, results[i].returnData) = calls[i].target.call(calls[i].callData);
            require(results[i].success || calls[i].allowFailure, "call failed");
        }
    }
}
"""

COMPILE = """
const solc = require('solc');
let text = '';
process.stdin.on('data', d => text += d).on('end', () => {
  const input = {language: 'Solidity', sources: {'own.sol': {content: text}}, settings: {
    evmVersion: 'paris', optimizer: {enabled: true, runs: 200},
    outputSelection: {'*': {'*': ['evm.bytecode.object']}}}};
  process.stdout.write(solc.compile(JSON.stringify(input)));
});
"""


NPM_INSTALL = (
    "install",
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    "--legacy-peer-deps",  # swap-router-contracts would bring all of hardhat
    "--loglevel=error",
)


def install_packages(packages: tuple[str, ...] = PACKAGES, name: str = "evm-test-1") -> Path:
    """Return the folder of node packages, installing them on first use; skip the test where that is impossible."""
    default = Path.home() / ".cache" / "trading-dagster"
    folder = Path(os.environ.get("TRADING_DAGSTER_TEST_CACHE") or default) / name
    if not (folder / "complete").exists():
        npm = shutil.which("npm")
        if npm is None:
            _cannot("npm is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two workers of the tests may get here at once
            if not (folder / "complete").exists():
                (folder / "package.json").write_text("{}", encoding="utf-8")
                command = [str(npm), *NPM_INSTALL, *packages]
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
                if done.returncode:
                    _cannot(f"npm cannot install {', '.join(packages)}: {done.stderr[-500:]}")
                (folder / "complete").touch()
    return folder / "node_modules"


def _cannot(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"the tests of evm need a local node: {reason}")
    pytest.skip(f"no local node: {reason}")


def compile_own(packages: Path, source: str = SOURCE) -> dict[str, str]:
    """Compile the contracts above, or others of our own; return bytecode by name."""
    command = ["node", "-e", COMPILE]
    done = subprocess.run(command, cwd=packages, input=source, capture_output=True, text=True, timeout=120, check=True)
    output = json.loads(done.stdout)
    problems = [e["formattedMessage"] for e in output.get("errors", []) if e["severity"] == "error"]
    assert not problems, problems
    return {name: body["evm"]["bytecode"]["object"] for name, body in output["contracts"]["own.sol"].items()}


def read_artefact(packages: Path, package: str, name: str) -> str:
    """Return the bytecode of a compiled contract in a package."""
    body = json.loads((packages / "@uniswap" / package / "build" / f"{name}.json").read_text(encoding="utf-8"))
    return str(body["bytecode"]).removeprefix("0x")


def read_hardhat_artefact(packages: Path, contract: str) -> str:
    """Return the bytecode of a contract such as "@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol"."""
    file = packages / contract / f"{contract.rsplit('/', 1)[1].removesuffix('.sol')}.json"
    return str(json.loads(file.read_text(encoding="utf-8"))["bytecode"]).removeprefix("0x")


class Anvil:
    """A running node, spoken to directly."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self._session = requests.Session()
        self.accounts: list[str] = []

    def rpc(self, method: str, *parameters: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        answer = self._session.post(self.url, json=body, timeout=30).json()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def mine(self, blocks: int = 1) -> None:
        self.rpc("anvil_mine", hex(blocks))

    def head(self) -> int:
        return int(self.rpc("eth_blockNumber"), 16)

    def timestamp(self) -> int:
        return int(self.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def send(self, sender: str, to: str | None, data: str, value: int = 0, **more: Any) -> str:
        """Send from an account of the node, without mining."""
        fields = {"from": sender, "data": data, "value": hex(value), "gas": GAS} | more
        return str(self.rpc("eth_sendTransaction", fields | ({"to": to} if to else {})))

    def do(self, sender: str, to: str | None, data: str, value: int = 0) -> dict[str, Any]:
        """Send, mine and require success."""
        tx_hash = self.send(sender, to, data, value)
        self.mine()
        receipt: dict[str, Any] = self.rpc("eth_getTransactionReceipt", tx_hash)
        assert receipt["status"] == "0x1", receipt
        return receipt

    def deploy(self, sender: str, bytecode: str, arguments: bytes = b"") -> str:
        return str(self.do(sender, None, "0x" + bytecode + arguments.hex())["contractAddress"]).lower()

    def close(self) -> None:
        self._session.close()
        self.process.terminate()
        self.process.wait(timeout=10)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def run_anvil(packages: Path) -> Iterator[Anvil]:
    """Run a node that mines only when told to."""
    binary = packages / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
    binary.chmod(0o755)
    port = free_port()
    command = [
        str(binary),
        "--port",
        str(port),
        "--no-mining",
        "--chain-id",
        str(CHAIN_ID),
        "--quiet",
        "--accounts",
        "4",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    node = Anvil(process, port)
    try:
        end = time.monotonic() + 20
        while True:
            try:
                node.accounts = [str(account).lower() for account in node.rpc("eth_accounts")]
                break
            except requests.RequestException:
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        node.rpc("anvil_setBlockTimestampInterval", 1)  # chain time goes by blocks, not by the clock of the machine
        yield node
    finally:
        node.close()


@dataclass
class Faults:
    """How faulty a proxy is: the share of answers that are wrong, drawn from a seeded generator."""

    share: float = 0.0
    seed: int = 1
    lag: int = 0
    chain_id: int = 0
    next_send: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.lock = threading.Lock()
        self.told: dict[str, int] = {}

    def draw(self, method: str) -> str:
        with self.lock:
            if method == "eth_sendRawTransaction" and self.next_send:
                kind = self.next_send.pop(0)
            elif self.random.random() >= self.share:
                return ""
            else:
                kinds = ["error", "http", "forward_then_close"]
                kinds += ["stale"] * (method == "eth_getTransactionCount")
                kinds += ["null"] * 2 * (method == "eth_getTransactionReceipt")
                kind = self.random.choice(kinds)
            self.told[kind] = self.told.get(kind, 0) + 1
            return kind


@contextmanager
def run_proxy(node: Anvil, faults: Faults) -> Iterator[str]:
    """Run a proxy that forwards to a node and lies as told; yield its URL."""
    local = threading.local()

    def session() -> requests.Session:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        return local.session

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 65536

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if len(content) < int(self.headers["Content-Length"]):  # who asked was killed meanwhile
                self.close_connection = True
                return None
            body = json.loads(content)
            kind = faults.draw(body["method"])
            if kind == "error":
                return self.reply({"error": {"code": -32603, "message": "internal error"}}, body)
            if kind == "http":
                return self.reply({}, body, 503)
            if kind == "drop":
                self.close_connection = True
                return None
            answer = session().post(node.url, json=body, timeout=30).json()
            if kind == "forward_then_close":
                self.close_connection = True
                return None
            if kind == "stale" and "result" in answer:
                answer["result"] = hex(max(0, int(answer["result"], 16) - 1))
            if kind == "null":
                answer["result"] = None
            if body["method"] == "eth_blockNumber" and faults.lag:
                answer["result"] = hex(max(0, int(answer["result"], 16) - faults.lag))
            if body["method"] == "eth_chainId" and faults.chain_id:
                answer["result"] = hex(faults.chain_id)
            return self.reply({k: v for k, v in answer.items() if k in ("result", "error")}, body)

        def reply(self, fields: dict[str, Any], body: dict[str, Any], status: int = 200) -> None:
            content = json.dumps({"jsonrpc": "2.0", "id": body["id"], **fields}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """Say nothing: who asked was killed meanwhile, or a fault was meant to break the connection."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
