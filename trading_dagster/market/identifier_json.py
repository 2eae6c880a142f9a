"""Tokens, pairs and venues as plain JSON values and back."""

from __future__ import annotations

from typing import Any

from trading_dagster.domain.identifier import (
    AssetIdentifier,
    AssetType,
    ChainId,
    TradingPairIdentifier,
    TradingPairKind,
)
from trading_dagster.market.exchange import Exchange

JsonObject = dict[str, Any]


def asset_to_json(asset: AssetIdentifier) -> JsonObject:
    """Return a token as a JSON object."""
    return {
        "chain_id": asset.chain_id,
        "address": asset.address,
        "token_symbol": asset.token_symbol,
        "decimals": asset.decimals,
        "internal_id": asset.internal_id,
        "underlying": None if asset.underlying is None else asset_to_json(asset.underlying),
        "type": asset.type.value,
        "liquidation_threshold": asset.liquidation_threshold,
    }


def asset_from_json(value: JsonObject) -> AssetIdentifier:
    """Return the token of `asset_to_json`."""
    underlying = value["underlying"]
    return AssetIdentifier(
        **{
            **value,
            "underlying": None if underlying is None else asset_from_json(underlying),
            "type": AssetType(value["type"]),
        }
    )


def pair_to_json(pair: TradingPairIdentifier) -> JsonObject:
    """Return a pair as a JSON object; its ``other_data`` must hold JSON values."""
    spot = pair.underlying_spot_pair
    return {
        "base": asset_to_json(pair.base),
        "quote": asset_to_json(pair.quote),
        "pool_address": pair.pool_address,
        "exchange_address": pair.exchange_address,
        "internal_id": pair.internal_id,
        "internal_exchange_id": pair.internal_exchange_id,
        "fee": pair.fee,
        "kind": pair.kind.value,
        "underlying_spot_pair": None if spot is None else pair_to_json(spot),
        "exchange_name": pair.exchange_name,
        "other_data": dict(pair.other_data),
    }


def pair_from_json(value: JsonObject) -> TradingPairIdentifier:
    """Return the pair of `pair_to_json`."""
    spot = value["underlying_spot_pair"]
    return TradingPairIdentifier(
        **{
            **value,
            "base": asset_from_json(value["base"]),
            "quote": asset_from_json(value["quote"]),
            "kind": TradingPairKind(value["kind"]),
            "underlying_spot_pair": None if spot is None else pair_from_json(spot),
        }
    )


def exchange_to_json(exchange: Exchange) -> JsonObject:
    """Return a venue as a JSON object."""
    return {
        "exchange_id": exchange.exchange_id,
        "chain_id": int(exchange.chain_id),
        "address": exchange.address,
        "exchange_slug": exchange.exchange_slug,
        "name": exchange.name,
    }


def exchange_from_json(value: JsonObject) -> Exchange:
    """Return the venue of `exchange_to_json`."""
    return Exchange(**{**value, "chain_id": ChainId(value["chain_id"])})
