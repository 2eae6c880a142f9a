"""The chains that are known without configuration.

Where the addresses come from. None was called on its chain yet: look one up with the exchange before trading there.

- Uniswap v2 and v3: docs.uniswap.org, "V2 Deployment Addresses" and "Deployment Addresses" of each chain;
  npm @uniswap/sdk-core 7.19 (``addresses``). QuoterV2 where the package has the first quoter, as used across public
  repositories.
- PancakeSwap v2: developer.pancakeswap.finance, "PancakeSwap v2 Addresses"; v3: as used across public repositories.
- SushiSwap v2: npm @sushiswap/core (Ethereum), elsewhere its router as used across public repositories; QuickSwap v2:
  a copy of its core repository; Trader Joe v1 and Pangolin: as used across public repositories.
- Wrapped native tokens, stablecoins and Aave v3's pools: npm @bgd-labs/aave-address-book 4.44, Circle's "USDC Contract
  Addresses", npm @uniswap/default-token-list 22.21.
- Multicall3: github.com/mds1/multicall3, the same address everywhere.
- Pace and explorers: npm viem 2.57 (``chains``).

Depths and gas limits are our choice; where a protocol demands a minimum the entry says so. ``dataclasses.replace``
changes them.
"""

from __future__ import annotations

from fractions import Fraction

from trading_dagster.domain.identifier import ChainId
from trading_dagster.evm.chain import Chain, ChainRegistry, KnownExchange, KnownToken, uniswap_v2, uniswap_v3
from trading_dagster.evm.client import ClientSetting
from trading_dagster.evm.gas import GWEI, GasPolicy
from trading_dagster.evm.transaction import ExecutionSetting
from trading_dagster.evm.uniswap_v3 import RouterKind

MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
PANCAKE_FEE = Fraction(25, 10_000)


def _stablecoin(symbol: str, address: str, decimals: int = 6) -> KnownToken:
    return KnownToken(symbol, address, decimals, is_stablecoin=True)


def _pancakeswap_v3() -> KnownExchange:
    """Return PancakeSwap v3, which is at the same addresses on Ethereum, BNB Smart Chain, Arbitrum and Base."""
    return uniswap_v3(
        "pancakeswap-v3",
        "PancakeSwap v3",
        "0x0BFbCF9fa4f9C56B0F40a671Ad40E0805A091865",
        "0x1b81D678ffb9C0263b24A97847620C99d213eB14",
        "0xB048Bbc1Ee6b733FFfCFb9e9CeF7375518e25997",
        router_kind=RouterKind.swap_router,
        tiers=(100, 500, 2500, 10_000),
    )


def _uniswap_v3_original() -> KnownExchange:
    """Return Uniswap v3 as on Ethereum, Arbitrum and Polygon."""
    return uniswap_v3(
        "uniswap-v3",
        "Uniswap v3",
        "0x1F98431c8aD98523631AE4a59f267346ea31F984",
        "0x68b3465833fb72A70ecDF485E0e4C7bD8665Fc45",
        "0x61fFE014bA17989E743c5F6cB21bF9697530B21e",
    )


def _sushi_elsewhere() -> KnownExchange:
    """Return SushiSwap v2 as on Arbitrum, Polygon, BNB Smart Chain and Avalanche."""
    return uniswap_v2(
        "sushi",
        "SushiSwap",
        "0xc35DADB65012eC5796536bD9864eD8773aBc74C4",
        "0x1b02dA8Cb0d097eB8D57A175b88c7D8b47997506",
    )


ETHEREUM = Chain(
    chain_id=ChainId.ethereum,
    slug="ethereum",
    name="Ethereum",
    native_symbol="ETH",
    block_time_s=12.0,
    client=ClientSetting(max_lag=2),
    # An epoch has 32 blocks; blocks two epochs old are final.
    execution=ExecutionSetting(confirmations=3, replan_depth=32, audit_blocks=96, poll_s=2.0),
    gas=GasPolicy(
        max_fee_cap=200 * GWEI, priority_fee_cap=10 * GWEI, priority_fee_floor=GWEI // 20, bump_after_blocks=5
    ),
    wrapped_native=KnownToken("WETH", "0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", 18),
    explorer="https://etherscan.io",
    multicall=MULTICALL3,
    aave_v3="0x87870Bca3F3fD6335C3F4ce8392D69350B4fA4E2",
    exchanges=(
        uniswap_v2(
            "uniswap-v2",
            "Uniswap v2",
            "0x5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f",
            "0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D",
        ),
        _uniswap_v3_original(),
        uniswap_v2(
            "sushi",
            "SushiSwap",
            "0xC0AEe478e3658e2610c5F7A4A2E1777cE9e4f2Ac",
            "0xd9e1cE17f2641f24aE83637ab66a2cca9C378B9F",
        ),
        uniswap_v2(
            "pancakeswap-v2",
            "PancakeSwap v2",
            "0x1097053Fd2ea711dad45caCcc45EfF7548fCB362",
            "0xEfF92A263d31888d860bD50809A8D171709b7b1c",
            PANCAKE_FEE,
        ),
        _pancakeswap_v3(),
    ),
    tokens=(
        _stablecoin("USDC", "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48"),
        _stablecoin("USDT", "0xdAC17F958D2ee523a2206206994597C13D831ec7"),
        _stablecoin("DAI", "0x6B175474E89094C44Da98b954EedeAC495271d0F", 18),
        KnownToken("WBTC", "0x2260FAC5E5542a773Aa44fBCfeDf7C193bc2C599", 8),
    ),
)

BASE = Chain(
    chain_id=ChainId.base,
    slug="base",
    name="Base",
    native_symbol="ETH",
    block_time_s=2.0,
    client=ClientSetting(max_lag=5),
    execution=ExecutionSetting(confirmations=3, replan_depth=60, audit_blocks=600),
    gas=GasPolicy(
        max_fee_cap=10 * GWEI, priority_fee_cap=2 * GWEI, priority_fee_floor=GWEI // 1000, bump_after_blocks=15
    ),
    wrapped_native=KnownToken("WETH", "0x4200000000000000000000000000000000000006", 18),
    explorer="https://basescan.org",
    multicall=MULTICALL3,
    aave_v3="0xA238Dd80C259a72e81d7e4664a9801593F98d1c5",
    exchanges=(
        uniswap_v2(
            "uniswap-v2",
            "Uniswap v2",
            "0x8909Dc15e40173Ff4699343b6eB8132c65e18eC6",
            "0x4752ba5DBc23f44D87826276BF6Fd6b1C372aD24",
        ),
        uniswap_v3(
            "uniswap-v3",
            "Uniswap v3",
            "0x33128a8fC17869897dcE68Ed026d694621f6FDfD",
            "0x2626664c2603336E57B271c5C0b26F421741e481",
            "0x3d4e44Eb1374240CE5F1B871ab261CD16335B76a",
        ),
        uniswap_v2(
            "pancakeswap-v2",
            "PancakeSwap v2",
            "0x02a84c1b3BBD7401a5f7fa98a384EBC70bB5749E",
            "0x8cFe327CEc66d1C090Dd72bd0FF11d690C33a2Eb",
            PANCAKE_FEE,
        ),
        _pancakeswap_v3(),
    ),
    tokens=(
        _stablecoin("USDC", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"),
        _stablecoin("USDbC", "0xd9aAEc86B65D86f6A7B5B1b0c42FFA531710b6CA"),
        _stablecoin("DAI", "0x50c5725949A6F0c72E6C4a641F24049A917DB0Cb", 18),
        KnownToken("cbBTC", "0xcbB7C0000aB88B473b1f5aFd9ef808440eed33Bf", 8),
    ),
)

ARBITRUM = Chain(
    chain_id=ChainId.arbitrum,
    slug="arbitrum",
    name="Arbitrum One",
    native_symbol="ETH",
    block_time_s=0.25,
    client=ClientSetting(max_lag=20),
    execution=ExecutionSetting(confirmations=8, replan_depth=480, audit_blocks=4800, poll_s=0.5),
    # The sequencer takes first come, first served; gas includes what the data costs on Ethereum, so limits are wide.
    gas=GasPolicy(
        max_fee_cap=10 * GWEI,
        priority_fee_cap=GWEI,
        priority_fee_floor=1,
        limit_cap=30_000_000,
        bump_after_blocks=60,
    ),
    wrapped_native=KnownToken("WETH", "0x82aF49447D8a07e3bd95BD0d56f35241523fBab1", 18),
    explorer="https://arbiscan.io",
    multicall=MULTICALL3,
    aave_v3="0x794a61358D6845594F94dc1DB02A252b5b4814aD",
    exchanges=(
        uniswap_v2(
            "uniswap-v2",
            "Uniswap v2",
            "0xf1D7CC64Fb4452F05c498126312eBE29f30Fbcf9",
            "0x4752ba5DBc23f44D87826276BF6Fd6b1C372aD24",
        ),
        _uniswap_v3_original(),
        _sushi_elsewhere(),
        uniswap_v2(
            "pancakeswap-v2",
            "PancakeSwap v2",
            "0x02a84c1b3BBD7401a5f7fa98a384EBC70bB5749E",
            "0x8cFe327CEc66d1C090Dd72bd0FF11d690C33a2Eb",
            PANCAKE_FEE,
        ),
        _pancakeswap_v3(),
    ),
    tokens=(
        _stablecoin("USDC", "0xaf88d065e77c8cC2239327C5EDb3A432268e5831"),
        _stablecoin("USDC.e", "0xFF970A61A04b1cA14834A43f5dE4533eBDDB5CC8"),
        _stablecoin("USDT", "0xFd086bC7CD5C481DCC9C85ebE478A1C0b69FCbb9"),
        _stablecoin("DAI", "0xDA10009cBd5D07dd0CeCc66161FC93D7c9000da1", 18),
        KnownToken("WBTC", "0x2f2a2543B76A4166549F7aaB2e75Bef0aefC5B0f", 8),
    ),
)

POLYGON = Chain(
    chain_id=ChainId.polygon,
    slug="polygon",
    name="Polygon",
    native_symbol="POL",
    block_time_s=2.0,
    client=ClientSetting(max_lag=5),
    # Reorgs of more than a hundred blocks have happened before milestones; since then they end within seconds.
    execution=ExecutionSetting(confirmations=8, replan_depth=128, audit_blocks=512),
    # Nodes drop what tips less than 25 gwei, and asked for 30 gwei before.
    gas=GasPolicy(
        max_fee_cap=2_000 * GWEI, priority_fee_cap=300 * GWEI, priority_fee_floor=30 * GWEI, bump_after_blocks=15
    ),
    wrapped_native=KnownToken("WPOL", "0x0d500B1d8E8eF31E21C99d1Db9A6444d3ADf1270", 18),
    explorer="https://polygonscan.com",
    multicall=MULTICALL3,
    aave_v3="0x794a61358D6845594F94dc1DB02A252b5b4814aD",
    exchanges=(
        uniswap_v2(
            "uniswap-v2",
            "Uniswap v2",
            "0x9e5A52f57b3038F1B8EeE45F28b3C1967e22799C",
            "0xedf6066a2b290C185783862C7F4776A2C8077AD1",
        ),
        _uniswap_v3_original(),
        uniswap_v2(
            "quickswap",
            "QuickSwap",
            "0x5757371414417b8C6CAad45bAeF941aBc7d3Ab32",
            "0xa5E0829CaCEd8fFDD4De3c43696c57F7D7A678ff",
        ),
        _sushi_elsewhere(),
    ),
    tokens=(
        _stablecoin("USDC", "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359"),
        _stablecoin("USDC.e", "0x2791Bca1f2de4661ED88A30C99A7a9449Aa84174"),
        _stablecoin("USDT", "0xc2132D05D31c914a87C6611C10748AEb04B58e8F"),
        _stablecoin("DAI", "0x8f3Cf7ad23Cd3CaDbD9735AFf958023239c6A063", 18),
        KnownToken("WETH", "0x7ceB23fD6bC0adD59E62ac25578270cFf1b9f619", 18),
        KnownToken("WBTC", "0x1BFD67037B42Cf73acF2047067bd4F2C47D9BfD6", 8),
    ),
)

BSC = Chain(
    chain_id=ChainId.bsc,
    slug="bsc",
    name="BNB Smart Chain",
    native_symbol="BNB",
    block_time_s=0.75,
    client=ClientSetting(max_lag=8),
    execution=ExecutionSetting(confirmations=8, replan_depth=64, audit_blocks=512, poll_s=0.5),
    # There is no base fee: the tip is the gas price, of which validators want at least 0.05 gwei.
    gas=GasPolicy(
        max_fee_cap=10 * GWEI, priority_fee_cap=5 * GWEI, priority_fee_floor=GWEI // 20, bump_after_blocks=20
    ),
    wrapped_native=KnownToken("WBNB", "0xbb4CdB9CBd36B01bD1cBaEBF2De08d9173bc095c", 18),
    explorer="https://bscscan.com",
    multicall=MULTICALL3,
    aave_v3="0x6807dc923806fE8Fd134338EABCA509979a7e0cB",
    exchanges=(
        uniswap_v2(
            "pancakeswap-v2",
            "PancakeSwap v2",
            "0xcA143Ce32Fe78f1f7019d7d551a6402fC5350c73",
            "0x10ED43C718714eb63d5aA57B78B54704E256024E",
            PANCAKE_FEE,
        ),
        _pancakeswap_v3(),
        uniswap_v2(
            "uniswap-v2",
            "Uniswap v2",
            "0x8909Dc15e40173Ff4699343b6eB8132c65e18eC6",
            "0x4752ba5DBc23f44D87826276BF6Fd6b1C372aD24",
        ),
        uniswap_v3(
            "uniswap-v3",
            "Uniswap v3",
            "0xdB1d10011AD0Ff90774D0C6Bb92e5C5c8b4461F7",
            "0xB971eF87ede563556b2ED4b1C0b0019111Dd85d2",
            "0x78D78E420Da98ad378D7799bE8f4AF69033EB077",
        ),
        _sushi_elsewhere(),
    ),
    # Stablecoins have 18 decimals here, not 6.
    tokens=(
        _stablecoin("USDT", "0x55d398326f99059fF775485246999027B3197955", 18),
        _stablecoin("USDC", "0x8AC76a51cc950d9822D68b83fE1Ad97B32Cd580d", 18),
        _stablecoin("DAI", "0x1AF3F329e8BE154074D8769D1FFa4eE058B1DBc3", 18),
        _stablecoin("BUSD", "0xe9e7CEA3DedcA5984780Bafc599bD69ADd087D56", 18),
        KnownToken("ETH", "0x2170Ed0880ac9A755fd29B2688956BD959F933F8", 18),
        KnownToken("BTCB", "0x7130d2A12B9BCbFAe4f2634d864A1Ee1Ce3Ead9c", 18),
    ),
)

AVALANCHE = Chain(
    chain_id=ChainId.avalanche,
    slug="avalanche",
    name="Avalanche C-Chain",
    native_symbol="AVAX",
    block_time_s=1.7,
    client=ClientSetting(max_lag=5),
    # Accepted blocks are final; the depths are for nodes that answer before they have them.
    execution=ExecutionSetting(confirmations=2, replan_depth=12, audit_blocks=64),
    gas=GasPolicy(
        max_fee_cap=200 * GWEI, priority_fee_cap=10 * GWEI, priority_fee_floor=GWEI // 1000, bump_after_blocks=15
    ),
    wrapped_native=KnownToken("WAVAX", "0xB31f66AA3C1e785363F0875A1B74E27b85FD66c7", 18),
    explorer="https://snowtrace.io",
    multicall=MULTICALL3,
    aave_v3="0x794a61358D6845594F94dc1DB02A252b5b4814aD",
    exchanges=(
        uniswap_v2(
            "trader-joe",
            "Trader Joe v1",
            "0x9Ad6C38BE94206cA50bb0d90783181662f0Cfa10",
            "0x60aE616a2155Ee3d9A68541Ba4544862310933d4",
        ),
        uniswap_v2(
            "pangolin",
            "Pangolin",
            "0xefa94DE7a4656D787667C749f7E1223D71E9FD88",
            "0xE54Ca86531e17Ef3616d22Ca28b0D458b6C89106",
        ),
        uniswap_v2(
            "uniswap-v2",
            "Uniswap v2",
            "0x9e5A52f57b3038F1B8EeE45F28b3C1967e22799C",
            "0x4752ba5DBc23f44D87826276BF6Fd6b1C372aD24",
        ),
        uniswap_v3(
            "uniswap-v3",
            "Uniswap v3",
            "0x740b1c1de25031C31FF4fC9A62f554A55cdC1baD",
            "0xbb00FF08d01D300023C629E8fFfFcb65A5a578cE",
            "0xbe0F5544EC67e9B3b2D979aaA43f18Fd87E6257F",
        ),
        _sushi_elsewhere(),
    ),
    tokens=(
        _stablecoin("USDC", "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E"),
        _stablecoin("USDT", "0x9702230A8Ea53601f5cD2dc00fDBc13d4dF4A8c7"),
        _stablecoin("DAI.e", "0xd586E7F844cEa2F87f50152665BCbc2C279D8d70", 18),
        KnownToken("WETH.e", "0x49D5c2BdFfac6CE2BFdB6640F4F80f226bc10bAB", 18),
        KnownToken("BTC.b", "0x152b9d0FdC40C096757F570A51E494bd4b943E50", 8),
    ),
)

LOCAL = Chain(
    chain_id=ChainId.anvil,
    slug="local",
    name="a local node",
    native_symbol="ETH",
    block_time_s=1.0,
    client=ClientSetting(max_lag=3, backoff_s=0.05, health_check_s=1.0),
    execution=ExecutionSetting(confirmations=1, replan_depth=5, audit_blocks=40, poll_s=0.1),
    gas=GasPolicy(),
)

KNOWN_CHAINS = ChainRegistry((ETHEREUM, BASE, ARBITRUM, POLYGON, BSC, AVALANCHE, LOCAL))
"""All of the above."""
