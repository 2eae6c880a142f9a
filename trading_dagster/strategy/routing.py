"""How trades find their venue: the names a strategy may set."""

from __future__ import annotations

from enum import Enum


class TradeRouting(Enum):
    """The venue choice of a strategy; ``default`` lets the engine route each pair by its exchange."""

    default = "default"
    ignore = "ignore"
    user_supplied_routing_model = "user_supplied_routing_model"
    pancakeswap_busd = "pancakeswap_busd"
    pancakeswap_usdc = "pancakeswap_usdc"
    pancakeswap_usdt = "pancakeswap_usdt"
    quickswap_usdc = "quickswap_usdc"
    quickswap_usdt = "quickswap_usdt"
    trader_joe_usdc = "trader_joe_usdc"
    trader_joe_usdt = "trader_joe_usdt"
    sushi_usdc = "sushi_usdc"
    uniswap_v2_usdc = "uniswap_v2_usdc"
    uniswap_v2_usdt = "uniswap_v2_usdt"
    uniswap_v2_dai = "uniswap_v2_dai"
    uniswap_v3_usdc = "uniswap_v3_usdc"
    uniswap_v3_usdt = "uniswap_v3_usdt"
    uniswap_v3_dai = "uniswap_v3_dai"
    uniswap_v3_usdc_poly = "uniswap_v3_usdc_poly"
    uniswap_v3_usdt_poly = "uniswap_v3_usdt_poly"
    uniswap_v3_usdc_arbitrum = "uniswap_v3_usdc_arbitrum"
    uniswap_v3_usdc_arbitrum_native = "uniswap_v3_usdc_arbitrum_native"
    one_delta_polygon_usdc = "one_delta_polygon_usdc"


class ReserveCurrency(Enum):
    """The cash token of a strategy."""

    busd = "busd"
    usdc = "usdc"
    usdc_e = "usdc_e"
    usdt = "usdt"
    dai = "dai"
