"""A market on a local chain: tokens, Uniswap v2 and v3 with liquidity, and the pairs a strategy trades there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from math import isqrt
from pathlib import Path

from eth_abi.abi import encode

from trading_dagster.domain.error import BadConfiguration
from trading_dagster.domain.identifier import AssetIdentifier, ChainId, TradingPairIdentifier
from trading_dagster.evm.abi import Function
from trading_dagster.evm.dev_node import DevNode
from trading_dagster.evm.erc20 import APPROVE, TRANSFER
from trading_dagster.evm.local_contract import OWN_CONTRACTS
from trading_dagster.evm.local_package import compile_contracts, read_artefact, read_hardhat_artefact
from trading_dagster.evm.multicall import MULTICALL3

ADD_LIQUIDITY = Function(
    "addLiquidity",
    ("address", "address", "uint256", "uint256", "uint256", "uint256", "address", "uint256"),
    ("uint256", "uint256", "uint256"),
)
GET_PAIR = Function("getPair", ("address", "address"), ("address",))
GET_POOL = Function("getPool", ("address", "address", "uint24"), ("address",))
CREATE_POOL = Function("createAndInitializePoolIfNecessary", ("address", "address", "uint24", "uint160"), ("address",))
MINT = Function(
    "mint",
    ("(address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256)",),
    ("uint256", "uint128", "uint256", "uint256"),
)
V3_CONTRACTS = {
    "factory": "@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol",
    "positions": "@uniswap/v3-periphery/artifacts/contracts/NonfungiblePositionManager.sol",
    "router": "@uniswap/swap-router-contracts/artifacts/contracts/SwapRouter02.sol",
    "quoter": "@uniswap/swap-router-contracts/artifacts/contracts/lens/QuoterV2.sol",
}
TICK_SPACING = {100: 1, 500: 10, 3000: 60, 10000: 200}
MAX_TICK = 887272
V2_FEE = Fraction(3, 1000)
FEE_UNITS = 1_000_000
SUPPLY = 10**30
UNLIMITED = 2**256 - 1
FOREVER = 2**64


class PoolKind(Enum):
    """What a pool is; the value is the exchange slug."""

    v2 = "uniswap-v2"
    v3 = "uniswap-v3"


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A pool to be made against the market's quote token.

    Args:
        base_symbol: Symbol of the base token; pools of one symbol share the token.
        price: First price, quote tokens for one base token.
        depth: Quote tokens in the pool; base tokens of the same value are beside them, over all prices.
        kind: Uniswap v2 or v3.
        fee: A fraction: of v3 one of 0.0001, 0.0005, 0.003, 0.01; v2 has 0.003.
        base_decimals: Of the base token.
    """

    base_symbol: str
    price: float
    depth: float
    kind: PoolKind = PoolKind.v2
    fee: Fraction = V2_FEE
    base_decimals: int = 8

    def __post_init__(self) -> None:
        """Check."""
        if not (self.price > 0 and self.depth > 0):
            raise BadConfiguration(f"Pool of {self.base_symbol}: price {self.price} and depth {self.depth} must be > 0")
        allowed = [V2_FEE] if self.kind is PoolKind.v2 else [Fraction(units, FEE_UNITS) for units in TICK_SPACING]
        if self.fee not in allowed:
            choices = ", ".join(str(float(fee)) for fee in allowed)
            raise BadConfiguration(
                f"Pool of {self.base_symbol} on {self.kind.value}: fee {self.fee} is none of {choices}"
            )


@dataclass(frozen=True, slots=True)
class DemoPool:
    """A pool: its pair as strategies trade it, and the router that swaps in it."""

    kind: PoolKind
    pair: TradingPairIdentifier
    fee: Fraction
    router: str

    @property
    def is_base_first(self) -> bool:
        """Tell whether the base token is the pool's token0."""
        return int(self.pair.base.address, 16) < int(self.pair.quote.address, 16)

    @property
    def unit_ratio(self) -> Fraction:
        """Return quote units per base unit at a price of 1 quote token for 1 base token."""
        return Fraction(10**self.pair.quote.decimals, 10**self.pair.base.decimals)


@dataclass(frozen=True, slots=True)
class V3Address:
    """Where Uniswap v3 is; the router is a SwapRouter02, the quoter a QuoterV2."""

    factory: str
    router: str
    quoter: str
    positions: str


@dataclass(frozen=True, slots=True)
class DemoMarket:
    """What was deployed. Multicall3 is where it is on public chains.

    Args:
        chain_id: Of the chain.
        owner: Account that made all and holds the rest of the tokens.
        quote: The quote token, a strategy's reserve.
        pools: In the order planned.
        wrapped_native: The wrapped native token.
        v2_factory: Of Uniswap v2.
        v2_router: Of Uniswap v2 (UniswapV2Router02).
        v3: Uniswap v3, if there are pools of it.
    """

    chain_id: ChainId
    owner: str
    quote: AssetIdentifier
    pools: tuple[DemoPool, ...]
    wrapped_native: str
    v2_factory: str
    v2_router: str
    v3: V3Address | None

    def get_pool(self, base_symbol: str, kind: PoolKind) -> DemoPool:
        """Return the pool of a token on an exchange; raises BadConfiguration."""
        for pool in self.pools:
            if pool.kind is kind and pool.pair.base.token_symbol == base_symbol:
                return pool
        known = ", ".join(f"{pool.pair.base.token_symbol} on {pool.kind.value}" for pool in self.pools)
        raise BadConfiguration(f"No pool of {base_symbol} on {kind.value}: there are {known}")

    def fund(self, node: DevNode, wallet: str, amounts: dict[AssetIdentifier, int], native: int = 100 * 10**18) -> None:
        """Set a wallet's native balance in wei, and send it tokens, amounts in their smallest units."""
        node.rpc("anvil_setBalance", wallet, hex(native))
        for token, amount in amounts.items():
            node.do(self.owner, token.address, TRANSFER.encode(wallet, amount))


def deploy_demo_market(
    node: DevNode,
    owner: str,
    plans: Sequence[PoolPlan],
    packages: Path,
    packages_v3: Path | None = None,
    *,
    quote_symbol: str = "USDC",
    quote_decimals: int = 6,
) -> DemoMarket:
    """Deploy tokens, exchanges and pools to a fresh local chain.

    Args:
        node: The chain.
        owner: One of its accounts, which owns everything.
        plans: The pools.
        packages: Of `local_package.install_v2`.
        packages_v3: Of `local_package.install_v3`; needed for pools on v3.
        quote_symbol: Symbol of the quote token.
        quote_decimals: Its decimals.

    Raises:
        BadConfiguration: A pool is planned twice, or is on v3 without its packages.
        NodeError, CallReverted: The chain does not take it.
    """
    keys = [(plan.base_symbol, plan.kind, plan.fee) for plan in plans]
    if len(set(keys)) != len(keys):
        raise BadConfiguration(f"A pool is planned twice: {[(symbol, kind.value) for symbol, kind, _ in keys]}")
    needs_v3 = any(plan.kind is PoolKind.v3 for plan in plans)
    if needs_v3 and packages_v3 is None:
        raise BadConfiguration("A pool is on Uniswap v3: give the packages of local_package.install_v3()")
    chain_id = ChainId(int(node.rpc("eth_chainId"), 16))
    own = compile_contracts(packages, OWN_CONTRACTS)
    builder = _Builder(node, owner, chain_id, own)
    quote = builder.token(quote_symbol, quote_decimals)
    bases = {plan.base_symbol: plan.base_decimals for plan in plans}
    tokens = {symbol: builder.token(symbol, decimals) for symbol, decimals in bases.items()}
    native = node.deploy(owner, read_artefact(packages, "v2-periphery", "WETH9"))
    factory = node.deploy(owner, read_artefact(packages, "v2-core", "UniswapV2Factory"), encode(["address"], [owner]))
    code = read_artefact(packages, "v2-periphery", "UniswapV2Router02")
    router = node.deploy(owner, code, encode(["address", "address"], [factory, native]))
    v3 = _deploy_v3(node, owner, packages_v3, factory, native) if needs_v3 and packages_v3 is not None else None
    for token in (quote, *tokens.values()):
        for spender in (router, *((v3.positions,) if v3 else ())):
            node.do(owner, token.address, APPROVE.encode(spender, UNLIMITED))
    _deploy_multicall(node, owner, own["Aggregator"])
    pools = []
    for plan in plans:
        base = tokens[plan.base_symbol]
        if plan.kind is PoolKind.v2:
            pools.append(builder.pool_v2(plan, base, quote, factory, router))
        else:
            assert v3 is not None
            pools.append(builder.pool_v3(plan, base, quote, v3))
    return DemoMarket(chain_id, owner, quote, tuple(pools), native, factory, router, v3)


@dataclass(frozen=True, slots=True)
class _Builder:
    node: DevNode
    owner: str
    chain_id: ChainId
    own: dict[str, str]

    def token(self, symbol: str, decimals: int) -> AssetIdentifier:
        arguments = encode(["string", "uint8", "uint256", "uint256"], [symbol, decimals, 0, SUPPLY])
        address = self.node.deploy(self.owner, self.own["Token"], arguments)
        return AssetIdentifier(self.chain_id, address, symbol, decimals)

    def pool_v2(
        self, plan: PoolPlan, base: AssetIdentifier, quote: AssetIdentifier, factory: str, router: str
    ) -> DemoPool:
        base_units, quote_units = _amounts(plan, base, quote)
        terms = (base.address, quote.address, base_units, quote_units, 0, 0, self.owner, FOREVER)
        self.node.do(self.owner, router, ADD_LIQUIDITY.encode(*terms))
        (address,) = self.node.call(factory, GET_PAIR, base.address, quote.address)
        return DemoPool(plan.kind, _pair(plan, base, quote, address, factory), plan.fee, router)

    def pool_v3(self, plan: PoolPlan, base: AssetIdentifier, quote: AssetIdentifier, v3: V3Address) -> DemoPool:
        units = int(plan.fee * FEE_UNITS)
        amounts = _amounts(plan, base, quote)
        token0, token1 = sorted((base.address, quote.address))
        amount0, amount1 = amounts if token0 == base.address else amounts[::-1]
        create = CREATE_POOL.encode(token0, token1, units, isqrt((amount1 << 192) // amount0))
        self.node.do(self.owner, v3.positions, create)
        reach = MAX_TICK // TICK_SPACING[units] * TICK_SPACING[units]  # all prices, as in v2
        terms = (token0, token1, units, -reach, reach, amount0, amount1, 0, 0, self.owner, FOREVER)
        self.node.do(self.owner, v3.positions, MINT.encode(terms))
        (address,) = self.node.call(v3.factory, GET_POOL, token0, token1, units)
        return DemoPool(plan.kind, _pair(plan, base, quote, address, v3.factory), plan.fee, v3.router)


def _amounts(plan: PoolPlan, base: AssetIdentifier, quote: AssetIdentifier) -> tuple[int, int]:
    """Return the base and the quote units of a pool."""
    base_units = int(Fraction(plan.depth) / Fraction(plan.price) * 10**base.decimals)
    return base_units, int(Fraction(plan.depth) * 10**quote.decimals)


def _pair(
    plan: PoolPlan, base: AssetIdentifier, quote: AssetIdentifier, address: str, factory: str
) -> TradingPairIdentifier:
    return TradingPairIdentifier(
        base, quote, address.lower(), factory, fee=float(plan.fee), exchange_name=plan.kind.value
    )


def _deploy_v3(node: DevNode, owner: str, packages: Path, v2_factory: str, native: str) -> V3Address:
    code = {name: read_hardhat_artefact(packages, contract) for name, contract in V3_CONTRACTS.items()}
    factory = node.deploy(owner, code["factory"])
    positions = node.deploy(owner, code["positions"], encode(["address"] * 3, [factory, native, native]))
    router = node.deploy(owner, code["router"], encode(["address"] * 4, [v2_factory, factory, positions, native]))
    quoter = node.deploy(owner, code["quoter"], encode(["address"] * 2, [factory, native]))
    return V3Address(factory, router, quoter, positions)


def _deploy_multicall(node: DevNode, owner: str, bytecode: str) -> None:
    """Put an aggregator where Multicall3 is on public chains."""
    address = node.deploy(owner, bytecode)
    node.rpc("anvil_setCode", MULTICALL3, node.rpc("eth_getCode", address, "latest"))
