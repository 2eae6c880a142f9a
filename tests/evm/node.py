"""A local chain for tests: the product's own local node with manual mining, and a faulty proxy in front of it.

Nothing compiled by others is kept in this repository: packages are installed once into a cache folder of the user.
"""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from http_server import QuietHandler, serve

from trading_dagster.domain.error import BadConfiguration, EvmError
from trading_dagster.evm import local_package
from trading_dagster.evm.local_contract import OWN_CONTRACTS
from trading_dagster.evm.local_node import LocalNode, Mining, NodeSetting, start_local_node
from trading_dagster.evm.local_package import compile_contracts, read_artefact, read_hardhat_artefact

__all__ = ["read_artefact", "read_hardhat_artefact"]

PACKAGES = (f"@foundry-rs/anvil-linux-amd64@{local_package.ANVIL_VERSION}", *local_package.V2_PACKAGES)
PACKAGES_V3 = local_package.V3_PACKAGES
CHAIN_ID = 31337


def install_packages(packages: tuple[str, ...] = PACKAGES, name: str = "evm-test-1") -> Path:
    """Return the folder of node packages, installing them on first use; skip the test where that is impossible."""
    default = Path.home() / ".cache" / "trading-dagster"
    folder = Path(os.environ.get("TRADING_DAGSTER_TEST_CACHE") or default) / name
    try:
        return local_package.install_packages(packages, folder)
    except BadConfiguration as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"the tests of evm need a local node: {error}")
        pytest.skip(f"no local node: {error}")


def compile_own(packages: Path, source: str = OWN_CONTRACTS) -> dict[str, str]:
    """Compile the contracts of local chains, or others of our own; return bytecode by name."""
    return compile_contracts(packages, source)


class Anvil(LocalNode):
    """A running node; what it refuses is a RuntimeError here, so that no test takes it for an error of the product."""

    def rpc(self, method: str, *parameters: Any) -> Any:
        try:
            return super().rpc(method, *parameters)
        except EvmError as error:
            raise RuntimeError(f"{method}: {error}") from error


@contextmanager
def run_anvil(packages: Path) -> Iterator[Anvil]:
    """Run a node that mines only when told to."""
    started = start_local_node(packages, NodeSetting(mining=Mining.manual, chain_id=CHAIN_ID))
    node = Anvil(started.process, started.port)
    node.accounts = started.accounts
    try:
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

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 65536

        def respond(self) -> None:
            content = self.read_body()
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
            self.send(content, status, {"Content-Type": "application/json"})

    with serve(Handler, is_silent=True) as address:
        yield address
