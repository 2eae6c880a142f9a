"""Deploys Uniswap v3 beside a market: factory, both routers, quoter, and pools with liquidity in a range."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from eth_abi.abi import encode
from evm.deployment import FOREVER, Market
from evm.node import read_artefact, read_hardhat_artefact

from trading_dagster.evm.abi import Function
from trading_dagster.evm.erc20 import approve
from trading_dagster.evm.uniswap_v3 import RouterKind, UniswapV3Dex

CREATE_POOL = Function("createAndInitializePoolIfNecessary", ("address", "address", "uint24", "uint160"), ("address",))
CREATE_UNPRICED = Function("createPool", ("address", "address", "uint24"), ("address",))
MINT = Function(
    "mint",
    ("(address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256)",),
    ("uint256", "uint128", "uint256", "uint256"),
)
CONTRACTS = {
    "factory": "@uniswap/v3-core/artifacts/contracts/UniswapV3Factory.sol",
    "positions": "@uniswap/v3-periphery/artifacts/contracts/NonfungiblePositionManager.sol",
    "router": "@uniswap/v3-periphery/artifacts/contracts/SwapRouter.sol",
    "router_02": "@uniswap/swap-router-contracts/artifacts/contracts/SwapRouter02.sol",
    "quoter": "@uniswap/swap-router-contracts/artifacts/contracts/lens/QuoterV2.sol",
}
SPACING = {100: 1, 500: 10, 3000: 60, 10000: 200}


@dataclass
class MarketV3:
    """A market and Uniswap v3 on the same chain.

    Pools: USD-ETH at 4,000 with fee 3000 in two overlapping ranges, ETH-BTC at 25 with fee 500, USD-BTC with fee 10000
    that has a price and no liquidity, and USD-ETH with fee 500 and little liquidity.
    """

    market: Market
    dex: UniswapV3Dex
    router_01: str
    positions: str

    def with_router(self, kind: RouterKind) -> UniswapV3Dex:
        """Return the exchange with the router of a kind."""
        router = self.router_01 if kind is RouterKind.swap_router else self.dex.router
        return replace(self.dex, router=router, router_kind=kind)

    def create_pool(self, base: str, quote: str, fee: int, price: float) -> None:
        """Make a pool; the price is in smallest units of the quote for one of the base."""
        token0, token1 = sorted((base, quote))
        sqrt_price = int(math.sqrt(price if token0 == base else 1 / price) * 2**96)
        node, owner = self.market.node, self.market.owner
        node.do(owner, self.positions, CREATE_POOL.encode(token0, token1, fee, sqrt_price))

    def make_unpriced_pool(self, token_a: str, token_b: str, fee: int) -> None:
        """Make a pool without saying at which price."""
        self.market.node.do(self.market.owner, self.dex.factory, CREATE_UNPRICED.encode(token_a, token_b, fee))

    def mint(self, base: str, quote: str, fee: int, price: float, width: float, amounts: tuple[int, int]) -> None:
        """Add liquidity from price / width to price * width; amounts are of base and quote."""
        token0, token1 = sorted((base, quote))
        amount0, amount1 = amounts if token0 == base else amounts[::-1]
        price0 = price if token0 == base else 1 / price
        low, high = (
            round(math.log(limit, 1.0001) / SPACING[fee]) * SPACING[fee] for limit in (price0 / width, price0 * width)
        )
        node, owner = self.market.node, self.market.owner
        terms = (token0, token1, fee, low, high, amount0, amount1, 0, 0, owner, FOREVER)
        node.do(owner, self.positions, MINT.encode(terms))


def deploy_v3(market: Market, packages: Path, packages_v3: Path) -> MarketV3:
    node, owner = market.node, market.owner
    code = {name: read_hardhat_artefact(packages_v3, contract) for name, contract in CONTRACTS.items()}
    weth = node.deploy(owner, read_artefact(packages, "v2-periphery", "WETH9"))
    factory = node.deploy(owner, code["factory"])
    positions = node.deploy(owner, code["positions"], encode(["address"] * 3, [factory, weth, weth]))
    router = node.deploy(owner, code["router"], encode(["address"] * 2, [factory, weth]))
    router_02 = node.deploy(
        owner, code["router_02"], encode(["address"] * 4, [market.uniswap.factory, factory, positions, weth])
    )
    quoter = node.deploy(owner, code["quoter"], encode(["address"] * 2, [factory, weth]))
    for token in (market.usd, market.eth, market.btc):
        for spender in (positions, router, router_02):
            node.do(owner, token, approve(token, spender, 2**256 - 1).data)
    made = MarketV3(market, UniswapV3Dex(factory, router_02, quoter), router, positions)
    eth_price, btc_price, usd_price = 4000 * 10**6 / 10**18, 25 * 10**18 / 10**8, 100_000 * 10**6 / 10**8
    made.create_pool(market.eth, market.usd, 3000, eth_price)
    made.mint(market.eth, market.usd, 3000, eth_price, 1.1, (100 * 10**18, 400_000 * 10**6))
    made.mint(market.eth, market.usd, 3000, eth_price, 1.02, (50 * 10**18, 200_000 * 10**6))
    made.create_pool(market.eth, market.usd, 500, eth_price)
    made.mint(market.eth, market.usd, 500, eth_price, 1.1, (10**18, 4_000 * 10**6))
    made.create_pool(market.btc, market.eth, 500, btc_price)
    made.mint(market.btc, market.eth, 500, btc_price, 1.5, (40 * 10**8, 1_000 * 10**18))
    made.create_pool(market.btc, market.usd, 10000, usd_price)
    return made
