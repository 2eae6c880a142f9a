"""What a strategy shows in a live cycle as rows of its ledger, and back.

A cycle stores as many rows as there are messages, plots and calculations in it, whatever ran before: a plot's row has
its points of that cycle and its looks, so that a range of cycles can be read by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trading_dagster.domain.identifier import TradingPairIdentifier
from trading_dagster.domain.time import from_unix_us, to_unix_us
from trading_dagster.domain.visualisation import Plot, PlotKind, PlotShape, RecordingTime, Visualisation
from trading_dagster.storage.ledger_store import LedgerStore, ShownRow

MESSAGE, CALCULATION, PLOT, PAIRS = "message", "calculation", "plot", "pairs"


def take_shown_rows(shown: Visualisation, at_us: int, seq: int) -> list[ShownRow]:
    """Return what a strategy showed as rows, and forget it.

    Args:
        shown: What was shown in a cycle.
        at_us: The cycle's decision time, unix microseconds.
        seq: The event that the rows are stored with.
    """
    found: list[tuple[str, Mapping[str, Any]]] = []
    found += [(MESSAGE, {"at_us": to_unix_us(at), "text": text}) for at, text in shown.take_messages()]
    found += [
        (CALCULATION, {"at_us": to_unix_us(at), "values": values}) for at, values in shown.take_calculations().items()
    ]
    found += [(PLOT, _encode_plot(plot)) for plot in shown.take_plots()]
    pairs = shown.take_visualised_pairs()
    if pairs:
        found.append((PAIRS, {"pairs": [pair.get_identifier() for pair in pairs]}))
    return [
        ShownRow(seq, number, at_us, kind, json.dumps(body, separators=(",", ":")))
        for number, (kind, body) in enumerate(found)
    ]


def read_visualisation(
    store: LedgerStore,
    strategy_id: str,
    *,
    pairs: Iterable[TradingPairIdentifier] = (),
    from_us: int | None = None,
    to_us: int | None = None,
    newest: int | None = None,
) -> Visualisation:
    """Return what was shown in live cycles; of a plot's looks those of the first cycle read, of chosen pairs the last.

    Args:
        store: Where the ledger is.
        strategy_id: Whose it is.
        pairs: The pairs that identifiers are looked up among; a plot of another pair counts as one of no pair.
        from_us: First decision time, unix microseconds; None from the beginning.
        to_us: Last decision time, inclusive.
        newest: At most so many rows of each kind, the newest.
    """
    shown = Visualisation()
    known = {pair.get_identifier(): pair for pair in pairs}

    def read(kind: str, count: int | None) -> Iterable[Mapping[str, Any]]:
        rows = store.read_shown(strategy_id, kind, from_us=from_us, to_us=to_us, newest=count)
        return (json.loads(row.body) for row in rows)

    for body in read(MESSAGE, newest):
        shown.add_message(from_unix_us(body["at_us"]), body["text"])
    for body in read(CALCULATION, newest):
        shown.calculations[from_unix_us(body["at_us"])] = body["values"]
    for body in read(PLOT, newest):
        plot = shown.plots.get(body["name"])
        if plot is None:
            plot = shown.plots[body["name"]] = _decode_looks(body, known)
        plot.points += [(from_unix_us(at_us), value) for at_us, value in body["points"]]
    for body in read(PAIRS, 1):
        shown.visualised_pairs = [known[name] for name in body["pairs"] if name in known]
    return shown


def _encode_plot(plot: Plot) -> Mapping[str, Any]:
    looks = {
        "name": plot.name,
        "kind": plot.kind.value,
        "colour": _known(str, plot.colour),
        "label": plot.label,
        "overlays": _known(str, plot.detached_overlay_name),
        "shape": plot.plot_shape.value,
        "size": _known(float, plot.indicator_size),
        "recording_time": plot.recording_time.value,
        "pair": None if plot.pair is None else plot.pair.get_identifier(),
        "height": _known(round, plot.height),
    }
    given = {name: value for name, value in looks.items() if value is not None}
    return given | {"points": [(to_unix_us(at), value) for at, value in plot.points]}


def _decode_looks(body: Mapping[str, Any], pairs: Mapping[str, TradingPairIdentifier]) -> Plot:
    return Plot(
        name=body["name"],
        kind=PlotKind(body["kind"]),
        colour=body.get("colour"),
        label=body.get("label"),
        detached_overlay_name=body.get("overlays"),
        plot_shape=PlotShape(body["shape"]),
        indicator_size=body.get("size"),
        recording_time=RecordingTime(body["recording_time"]),
        pair=pairs.get(body.get("pair", "")),
        height=body.get("height"),
    )


def _known(convert: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else convert(value)
