"""A crowd that swaps on pools of a test node: one contract makes many real swaps in each transaction."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eth_abi.abi import encode
from evm.deployment import Market, deploy_market
from evm.deployment_v3 import MarketV3, deploy_v3
from evm.node import PACKAGES_V3, Anvil, compile_own, install_packages

from trading_dagster.evm.abi import Function
from trading_dagster.evm.block import BlockHeader
from trading_dagster.evm.chain_data import LOCAL
from trading_dagster.evm.client import EvmClient
from trading_dagster.evm.erc20 import transfer
from trading_dagster.evm.pool import ChainPool, read_pool
from trading_dagster.evm.uniswap_v2 import find_pool

CROWD = """
// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

interface IToken {
    function transfer(address to, uint256 value) external returns (bool);
    function balanceOf(address owner) external view returns (uint256);
}
interface IPair {
    function token0() external view returns (address);
    function token1() external view returns (address);
    function getReserves() external view returns (uint112, uint112, uint32);
    function swap(uint256 out0, uint256 out1, address to, bytes calldata data) external;
}
interface IPool {
    function token0() external view returns (address);
    function token1() external view returns (address);
    function swap(address to, bool zeroForOne, int256 amount, uint160 limit, bytes calldata data) external;
}

contract Crowd {
    // Each draws a direction and a size up to `most` parts in 1e6 of what the pool holds.
    function swapV2(address pool, uint256 count, uint256 seed, uint256 most) external {
        for (uint256 i = 0; i < count; i++) _swapV2(IPair(pool), uint256(keccak256(abi.encode(seed, i))), most);
    }

    function _swapV2(IPair pair, uint256 draw, uint256 most) internal {
        (uint256 rIn, uint256 rOut,) = pair.getReserves();
        bool zeroForOne = draw & 1 == 0;
        if (!zeroForOne) (rIn, rOut) = (rOut, rIn);
        uint256 amount = rIn * (1 + (draw >> 1) % most) / 1000000;
        IToken(zeroForOne ? pair.token0() : pair.token1()).transfer(address(pair), amount);
        uint256 got = amount * 997 * rOut / (rIn * 1000 + amount * 997);
        pair.swap(zeroForOne ? 0 : got, zeroForOne ? got : 0, address(this), "");
    }

    // Each brings up to so much of one token, worth as much on both sides, so that the price stays in its ranges.
    function swapV3(address pool, uint256 count, uint256 seed, uint256 most0, uint256 most1) external {
        address token0 = IPool(pool).token0();
        address token1 = IPool(pool).token1();
        for (uint256 i = 0; i < count; i++) {
            uint256 draw = uint256(keccak256(abi.encode(seed, i)));
            bool zeroForOne = draw & 1 == 0;
            int256 amount = int256(1 + (draw >> 1) % (zeroForOne ? most0 : most1));
            uint160 limit = zeroForOne ? 4295128740 : 1461446703485210103287273052203988822378723970341;
            IPool(pool).swap(address(this), zeroForOne, amount, limit, abi.encode(token0, token1));
        }
    }

    function uniswapV3SwapCallback(int256 owed0, int256 owed1, bytes calldata data) external {
        (address token0, address token1) = abi.decode(data, (address, address));
        if (owed0 > 0) IToken(token0).transfer(msg.sender, uint256(owed0));
        if (owed1 > 0) IToken(token1).transfer(msg.sender, uint256(owed1));
    }
}
"""
SWAP_V2 = Function("swapV2", ("address", "uint256", "uint256", "uint256"))
SWAP_V3 = Function("swapV3", ("address", "uint256", "uint256", "uint256", "uint256"))
MOST = 2_000
MOST_USD, MOST_ETH = 1_200 * 10**6, 3 * 10**17


@dataclass
class SwapWorld:
    """Uniswap v2 and v3 with a crowd: ``pools`` are USD/ETH on each."""

    market: Market
    v3: MarketV3
    crowd: str
    client: EvmClient
    pools: tuple[ChainPool, ChainPool]
    start: BlockHeader
    swaps: int = 0

    @property
    def node(self) -> Anvil:
        return self.market.node

    def trade(self, per_pool: int, seed: int) -> None:
        """Mine a block in which the crowd swaps this often on each pool."""
        v2, v3 = self.pools
        most = (MOST_ETH, MOST_USD) if v3.is_base_token0 else (MOST_USD, MOST_ETH)
        for data in (
            SWAP_V2.encode(v2.address, per_pool, seed, MOST),
            SWAP_V3.encode(v3.address, per_pool, seed, *most),
        ):
            self.node.send(self.market.owner, self.crowd, data, gas=hex(14_000_000))
        self.node.mine()
        self.swaps += 2 * per_pool


def make_swap_world(node: Anvil, packages: Path) -> SwapWorld:
    market = deploy_market(node, packages)
    v3 = deploy_v3(market, packages, install_packages(PACKAGES_V3, "evm-test-v3-1"))
    crowd = node.deploy(market.owner, compile_own(packages, CROWD)["Crowd"], encode([], []))
    for token, amount in ((market.usd, 10**14), (market.eth, 10**23)):
        node.do(market.owner, token, transfer(token, crowd, amount).data)
    client = market.client()
    start = client.read_head()
    v2_pool = find_pool(client, market.uniswap, market.usd, market.eth, start).lower()
    (v3_pool,) = node.call(v3.dex.factory, Function("getPool", ("address", "address", "uint24"), ("address",)),
                           market.usd, market.eth, 3000)  # fmt: skip
    pools = tuple(
        read_pool(client, LOCAL, address, start, first_block=0, usd_tokens=[market.usd])
        for address in (v2_pool, v3_pool)
    )
    return SwapWorld(market, v3, crowd, client, pools, start)
