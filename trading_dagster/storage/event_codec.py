"""Ledger events as JSON text and back, exactly: floats round-trip, Decimals and times are tagged text.

Pairs are written once, in PairIntroduced; elsewhere a pair is its key. On reading, keys resolve to the pairs of the
running universe where they are known there, because internal ids are valid inside one universe only.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from trading_dagster.domain import event as events
from trading_dagster.domain.error import LedgerError, SerialisationRefused
from trading_dagster.domain.event import DataSaved, Event, PairIntroduced
from trading_dagster.domain.identifier import AssetIdentifier, AssetType, TradingPairIdentifier, TradingPairKind
from trading_dagster.domain.loan import LoanChange
from trading_dagster.domain.other_data import MAX_SAFE_INTEGER, require_storable
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trade import TradeCharges, TradeFlag, TradePlan, TradePricing, TradeType
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.domain.trigger import Trigger, TriggerCondition, TriggerType

SCHEMA_VERSION = 1

_VALUES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        AssetIdentifier,
        TradingPairIdentifier,
        TradePlan,
        TradePricing,
        TradeCharges,
        BalanceUpdate,
        Trigger,
        LoanChange,
    )
}
_ENUMS: dict[str, type[Enum]] = {
    cls.__name__: cls
    for cls in (
        AssetType,
        TradingPairKind,
        TradeFlag,
        TradeType,
        BalanceUpdateCause,
        BalanceUpdatePositionType,
        CycleDuration,
        TimeBucket,
        TriggerCondition,
        TriggerType,
    )
}
_EVENTS: dict[str, type[Event]] = {cls.__name__: cls for cls in Event.__subclasses__()}
_FIELDS: dict[type, tuple[str, ...]] = {
    cls: tuple(f.name for f in dataclasses.fields(cls) if f.init) for cls in (*_VALUES.values(), *_EVENTS.values())
}

_to_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def encode_event(event: Event) -> str:
    """Return an event as one line of JSON; raises SerialisationRefused for a value that would not come back equal."""
    cls = type(event)
    if isinstance(event, DataSaved):
        require_storable(event.value, event.name)
    inner = _encode_pair if cls is PairIntroduced else _encode
    body = {name: inner(getattr(event, name)) for name in _FIELDS[cls]}
    return _to_json({"event": cls.__name__, **body})


class EventDecoder:
    """Reads events in ledger order; remembers the pairs introduced so far."""

    def __init__(self, known_pairs: Iterable[TradingPairIdentifier] = ()) -> None:
        """Resolve keys to these pairs where possible; a pair that is not among them loses its internal id."""
        self._known = {pair.get_identifier(): pair for pair in known_pairs}
        self._pairs: dict[str, TradingPairIdentifier] = {}
        self._decoders: dict[Any, Callable[[Any], Any]] = {
            **_DECODERS,
            "$tuple": lambda items: tuple(self._decode(item) for item in items),
            "$flags": lambda items: frozenset(TradeFlag(item) for item in items),
            "$pair": self._pairs.__getitem__,
            "$dict": lambda items: {self._decode(key): self._decode(item) for key, item in items},
        }

    def decode(self, line: str) -> Event:
        """Return the event of one line; raises LedgerError when it cannot be read."""
        try:
            body = json.loads(line)
            cls = _EVENTS[body.pop("event")]
            event = cls(**{name: self._decode(value) for name, value in body.items()})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LedgerError(
                f"A ledger line cannot be read ({type(error).__name__}: {error}): {line[:200]}"
            ) from error
        if isinstance(event, PairIntroduced):
            key = event.pair.get_identifier()
            pair = self._pairs[key] = self._resolve(event.pair)
            return PairIntroduced(event.at, pair)
        return event

    def _resolve(self, pair: TradingPairIdentifier) -> TradingPairIdentifier:
        """Return the running universe's pair; the id of a pair that it lacks is of another universe."""
        known = self._known.get(pair.get_identifier())
        if known is not None or not self._known:
            return known or pair
        spot = pair.underlying_spot_pair
        if spot is None:
            return dataclasses.replace(pair, internal_id=None)
        spot = self._resolve(spot)  # a loan is priced, and found, by its spot pair
        return dataclasses.replace(pair, internal_id=spot.internal_id, underlying_spot_pair=spot)

    def decode_all(self, lines: Iterable[str]) -> list[Event]:
        """Return the events of several lines."""
        return [self.decode(line) for line in lines]

    def _decode(self, value: Any) -> Any:
        cls = value.__class__
        if cls is list:
            return [self._decode(item) for item in value]
        if cls is not dict:
            return value
        tag = next(iter(value), None)
        if tag == "$type":
            known = _VALUES[value.pop("$type")]
            return known(**{name: self._decode(item) for name, item in value.items()})
        if len(value) == 1:
            decode = self._decoders.get(tag)
            if decode is not None:
                return decode(value[tag])
        return {key: self._decode(item) for key, item in value.items()}


def _decode_enum(text: str) -> Enum:
    cls, _, name = text.partition(".")
    return _ENUMS[cls][name]


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$decimal": Decimal,
    "$time": datetime.fromisoformat,
    "$duration": lambda microseconds: timedelta(microseconds=microseconds),
    "$enum": _decode_enum,
}


def _encode_pair(value: Any) -> Any:
    """Encode like _encode, but a pair in full."""
    if isinstance(value, TradingPairIdentifier):
        return {"$type": "TradingPairIdentifier", **{n: _encode_pair(getattr(value, n)) for n in _FIELDS[type(value)]}}
    return _encode(value)


def _encode(value: Any) -> Any:
    encoder = _ENCODERS.get(value.__class__)
    return encoder(value) if encoder is not None else _encode_other(value)


def _encode_other(value: Any) -> Any:
    """Encode a value whose class derives from one that is known."""
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, int):
        return _encode_integer(value)
    if isinstance(value, Mapping):
        return _encode_mapping(value)
    if isinstance(value, float):  # numpy floats derive from float
        return _encode_float(float(value))
    item = getattr(value, "item", None)
    if callable(item):
        return _encode(item())
    raise SerialisationRefused(f"The ledger cannot store a {value.__class__.__name__}: {value!r}; use plain data")


def _encode_float(value: float) -> float:
    if not math.isfinite(value):
        raise SerialisationRefused(f"The ledger cannot store {value}: store None or a finite number")
    return value


def _encode_integer(value: int) -> int:
    if abs(value) > MAX_SAFE_INTEGER:
        raise SerialisationRefused(f"The ledger cannot store the integer {value}: above 2^53, store it as text")
    return int(value)


def _encode_fields(value: Any) -> dict[str, Any]:
    cls = value.__class__
    return {"$type": cls.__name__, **{name: _encode(getattr(value, name)) for name in _FIELDS[cls]}}


def _encode_enum(value: Enum) -> dict[str, str]:
    return {"$enum": f"{value.__class__.__name__}.{value.name}"}


def _encode_as_is(value: Any) -> Any:
    return value


def _encode_mapping(value: Mapping[Any, Any]) -> Any:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _encode(item) for key, item in value.items()}
    for key in value:
        if isinstance(key, float) and not math.isfinite(key):
            raise SerialisationRefused("The ledger cannot store NaN or infinity as a key")
    return {"$dict": [[_encode(key), _encode(item)] for key, item in value.items()]}


_ENCODERS: dict[type, Callable[[Any], Any]] = {
    **dict.fromkeys((type(None), str, bool), _encode_as_is),
    **dict.fromkeys(_VALUES.values(), _encode_fields),
    **dict.fromkeys(_EVENTS.values(), _encode_fields),
    **dict.fromkeys(_ENUMS.values(), _encode_enum),
    int: _encode_integer,
    float: _encode_float,
    Decimal: lambda value: {"$decimal": str(value)},
    datetime: lambda value: {"$time": value.isoformat()},
    timedelta: lambda value: {"$duration": value // timedelta(microseconds=1)},
    TradingPairIdentifier: lambda value: {"$pair": value.get_identifier()},
    tuple: lambda value: {"$tuple": [_encode(item) for item in value]},
    list: lambda value: [_encode(item) for item in value],
    frozenset: lambda value: {"$flags": sorted(item.value for item in value)},
    dict: _encode_mapping,
}

EVENT_TYPES = tuple(sorted(_EVENTS))
"""Names of all events, for documentation and tests."""

assert all(events.__dict__[name] is cls for name, cls in _EVENTS.items()), "every event is defined in domain.event"
