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
from operator import attrgetter
from typing import Any, TypeAlias

from trading_dagster.domain import event as events
from trading_dagster.domain.error import LedgerError, SerialisationRefused
from trading_dagster.domain.event import DataSaved, Event, PairIntroduced
from trading_dagster.domain.fund_fee import FundFeeTake
from trading_dagster.domain.identifier import AssetIdentifier, AssetType, TradingPairIdentifier, TradingPairKind
from trading_dagster.domain.loan import LoanChange
from trading_dagster.domain.other_data import MAX_SAFE_INTEGER, require_storable
from trading_dagster.domain.purse import Purse, PurseKind
from trading_dagster.domain.time import CycleDuration, TimeBucket
from trading_dagster.domain.trade import TradeCharges, TradeFlag, TradePlan, TradePricing, TradeType
from trading_dagster.domain.treasury import BalanceUpdate, BalanceUpdateCause, BalanceUpdatePositionType
from trading_dagster.domain.trigger import Trigger, TriggerCondition, TriggerType

SCHEMA_VERSION = 1
MOST_REMEMBERED = 1_000
"""Tokens, and pairs, whose text is kept."""

_VALUES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (
        AssetIdentifier,
        TradingPairIdentifier,
        TradePlan,
        TradePricing,
        TradeCharges,
        FundFeeTake,
        BalanceUpdate,
        Trigger,
        LoanChange,
        Purse,
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
        PurseKind,
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

_quote: Callable[[str], str] = json.encoder.encode_basestring_ascii


def encode_event(event: Event) -> str:
    """Return an event as one line of JSON; raises SerialisationRefused for a value that would not come back equal."""
    if isinstance(event, DataSaved):
        require_storable(event.value, event.name)
    return _EVENT_ENCODERS[type(event)](event)


class EventDecoder:
    """Reads events in ledger order; remembers the pairs introduced so far."""

    def __init__(self, known_pairs: Iterable[TradingPairIdentifier] = ()) -> None:
        """Resolve keys to these pairs where possible; a pair that is not among them loses its internal id."""
        self._known = {pair.get_identifier(): pair for pair in known_pairs}
        self._pairs: dict[str, TradingPairIdentifier] = {}
        self._decoders: dict[Any, Callable[[Any], Any]] = {**_DECODERS, "$pair": self._pairs.__getitem__}
        self._read = json.JSONDecoder(object_pairs_hook=self._decode_object).raw_decode

    def decode(self, line: str) -> Event:
        """Return the event of one line; raises LedgerError when it cannot be read."""
        try:
            body, end = self._read(line)
            if end != len(line) and line[end:].strip():
                raise ValueError("more than one value")  # noqa: TRY301 - said below
            event = _EVENTS[body.pop("event")](**body)
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

    def _decode_object(self, items: list[tuple[str, Any]]) -> Any:
        """Return the value of a JSON object, whose inner objects are values already."""
        if len(items) == 1:
            tag, inner = items[0]
            decode = self._decoders.get(tag)
            if decode is not None:
                return decode(inner)
        body = dict(items)
        return _VALUES[body.pop("$type")](**body) if "$type" in body else body


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$decimal": Decimal,
    "$time": datetime.fromisoformat,
    "$duration": lambda microseconds: timedelta(microseconds=microseconds),
    "$enum": {
        f"{cls}.{name}": member for cls in _ENUMS for name, member in _ENUMS[cls].__members__.items()
    }.__getitem__,
    "$tuple": tuple,
    "$flags": lambda items: frozenset(map(TradeFlag, items)),
    "$dict": dict,
}


def _encode(value: Any) -> str:
    encoder = _ENCODERS.get(value.__class__)
    return encoder(value) if encoder is not None else _encode_other(value)


def _encode_other(value: Any) -> str:
    """Encode a value whose class derives from one that is known."""
    if isinstance(value, datetime):
        return f'{{"$time":"{value.isoformat()}"}}'
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


def _encode_float(value: float) -> str:
    if not math.isfinite(value):
        raise SerialisationRefused(f"The ledger cannot store {value}: store None or a finite number")
    return repr(value)


def _encode_integer(value: int) -> str:
    if abs(value) > MAX_SAFE_INTEGER:
        raise SerialisationRefused(f"The ledger cannot store the integer {value}: above 2^53, store it as text")
    return int.__repr__(value)


def _encode_sequence(value: Iterable[Any]) -> str:
    return f"[{','.join([_encode(item) for item in value])}]"


def _encode_mapping(value: Mapping[Any, Any]) -> str:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return f"{{{','.join([f'{_quote(key)}:{_encode(item)}' for key, item in value.items()])}}}"
    for key in value:
        if isinstance(key, float) and not math.isfinite(key):
            raise SerialisationRefused("The ledger cannot store NaN or infinity as a key")
    return f'{{"$dict":[{",".join([_encode_sequence(pair) for pair in value.items()])}]}}'


_Encoders: TypeAlias = dict[type, Callable[[Any], str]]


def _field_encoder(cls: type, tag: str, encoders: _Encoders) -> Callable[[Any], str]:
    """Return what encodes the fields of a class after a tag with its name."""
    fields = "".join([f',"{name}":%s' for name in _FIELDS[cls]])
    text = f'{{"{tag}":"{cls.__name__}"{fields}}}'
    values_of = attrgetter(*_FIELDS[cls]) if len(_FIELDS[cls]) > 1 else lambda value: (getattr(value, *_FIELDS[cls]),)

    def encode(value: Any) -> str:
        parts = [
            "null" if item is None else encoders.get(item.__class__, _encode_other)(item) for item in values_of(value)
        ]
        return text % tuple(parts)

    return encode


def _remembering(encode: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return what encodes the objects it met last only once: all events of a run name the same few tokens and pairs."""
    known: dict[int, tuple[object, str]] = {}

    def encode_once(value: object) -> str:
        found = known.get(id(value))
        if found is None:
            if len(known) >= MOST_REMEMBERED:
                known.clear()
            found = known[id(value)] = (value, encode(value))  # holding the value keeps its id from being used again
        return found[1]

    return encode_once


_ENCODERS: _Encoders = {
    type(None): lambda _: "null",
    str: _quote,
    bool: lambda value: "true" if value else "false",
    int: _encode_integer,
    float: _encode_float,
    Decimal: lambda value: f'{{"$decimal":"{value}"}}',
    datetime: lambda value: f'{{"$time":"{value.isoformat()}"}}',
    timedelta: lambda value: f'{{"$duration":{value // timedelta(microseconds=1)}}}',
    TradingPairIdentifier: _remembering(lambda value: f'{{"$pair":{_quote(value.get_identifier())}}}'),
    tuple: lambda value: f'{{"$tuple":{_encode_sequence(value)}}}',
    list: _encode_sequence,
    frozenset: lambda value: f'{{"$flags":{_encode_sequence(sorted(item.value for item in value))}}}',
    dict: _encode_mapping,
}
_ENCODERS |= {cls: _field_encoder(cls, "$type", _ENCODERS) for cls in _VALUES.values() if cls not in _ENCODERS}
_ENCODERS |= {cls: _field_encoder(cls, "$type", _ENCODERS) for cls in _EVENTS.values()}
_ENCODERS[AssetIdentifier] = _remembering(_ENCODERS[AssetIdentifier])
_ENCODERS |= dict.fromkeys(_ENUMS.values(), lambda value: f'{{"$enum":"{value.__class__.__name__}.{value.name}"}}')

_FULL_ENCODERS = dict(_ENCODERS)
"""Encode pairs with all their fields."""
_FULL_ENCODERS[TradingPairIdentifier] = _field_encoder(TradingPairIdentifier, "$type", _FULL_ENCODERS)

_EVENT_ENCODERS: _Encoders = {
    cls: _field_encoder(cls, "event", _FULL_ENCODERS if cls is PairIntroduced else _ENCODERS)
    for cls in _EVENTS.values()
}

EVENT_TYPES = tuple(sorted(_EVENTS))
"""Names of all events, for documentation and tests."""

assert all(events.__dict__[name] is cls for name, cls in _EVENTS.items()), "every event is defined in domain.event"
