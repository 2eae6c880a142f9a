"""What a strategy shows comes back from the rows of its ledger as it was."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from random_strategy import PAIRS
from storage.crash_writer import NAME, batch_of

from trading_dagster.domain.time import to_unix_us
from trading_dagster.domain.visualisation import PlotKind, PlotShape, RecordingTime, Visualisation
from trading_dagster.storage.ledger_store import MemoryLedgerStore
from trading_dagster.storage.visualisation_codec import read_visualisation, take_shown_rows

START = datetime(2022, 1, 1)
times = st.integers(0, 10**6).map(lambda minutes: START + timedelta(minutes=minutes))
texts = st.text(st.characters(codec="utf-8"), max_size=20)
values = st.none() | st.floats(allow_nan=False)
looks = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(PlotKind),
        "detached_overlay_name": texts.map(lambda text: f"on {text}"),
        "plot_shape": st.sampled_from(PlotShape),
        "recording_time": st.sampled_from(RecordingTime),
        "colour": st.none() | texts,
        "label": st.none() | texts,
        "indicator_size": st.none() | st.floats(0, 10),
        "pair": st.none() | st.sampled_from(PAIRS),
        "height": st.none() | st.integers(1, 1000),
    }
)
plots = st.dictionaries(texts, st.tuples(looks, st.lists(st.tuples(times, values), min_size=1, max_size=3)), max_size=3)
plain = st.dictionaries(texts, st.none() | st.booleans() | st.integers() | values | texts | st.lists(texts), max_size=3)
cycles = st.lists(
    st.tuples(
        st.lists(st.tuples(times, texts), max_size=3), st.dictionaries(times, plain, max_size=2), plots,
        st.lists(st.sampled_from(PAIRS), max_size=2, unique=True),
    ),
    max_size=4,
)  # fmt: skip


def show(shown, messages, calculations, drawn, pairs):
    for at, text in messages:
        shown.add_message(at, text)
    for at, named in calculations.items():
        shown.add_calculations(at, named)
    for name, (style, points) in drawn.items():
        for at, value in points:
            shown.plot_indicator(at, name, value=value, **style)
    if pairs:
        shown.set_visualised_pairs(pairs)


@given(cycles)
def test_cycles_read_together_are_what_one_run_would_have_shown(cycles):
    store, whole = MemoryLedgerStore(), Visualisation()
    lease = store.acquire("tester", [f"strategy:{NAME}"], 600)
    for number, content in enumerate(cycles):
        one = Visualisation()
        show(one, *content)
        show(whole, *content)
        batch = batch_of(number)
        rows = tuple(take_shown_rows(one, number, batch.end_seq))
        assert one == Visualisation()
        store.append(replace(batch, shown=rows), lease)
    back = read_visualisation(store, NAME, pairs=PAIRS)
    assert back.plots == whole.plots
    assert list(back.plots) == list(whole.plots)
    assert back.calculations == whole.calculations
    assert back.visualised_pairs == whole.visualised_pairs
    assert {at: sorted(said) for at, said in back.messages.items()} == {
        at: sorted(said) for at, said in whole.messages.items()
    }


def test_range_of_cycles_has_its_own_plots_and_their_looks():
    store = MemoryLedgerStore()
    lease = store.acquire("tester", [f"strategy:{NAME}"], 600)
    for number in range(4):
        shown, at = Visualisation(), START + timedelta(days=number)
        shown.plot_indicator(at, "mean", PlotKind.technical_indicator_on_price, number, colour=f"#00000{number}")
        batch = batch_of(number)
        store.append(replace(batch, shown=tuple(take_shown_rows(shown, to_unix_us(at), batch.end_seq))), lease)
    days = [to_unix_us(START + timedelta(days=number)) for number in (1, 2)]
    plot = read_visualisation(store, NAME, from_us=days[0], to_us=days[1]).plots["mean"]
    assert (plot.colour, [value for _, value in plot.points]) == ("#000001", [1.0, 2.0])
    assert [value for _, value in read_visualisation(store, NAME, newest=1).plots["mean"].points] == [3.0]


def test_pair_that_is_not_known_any_more_leaves_the_plot():
    store, shown = MemoryLedgerStore(), Visualisation()
    shown.plot_indicator(START, "mean", PlotKind.technical_indicator_on_price, 1.0, pair=PAIRS[0])
    shown.set_visualised_pairs(PAIRS[:2])
    batch = replace(batch_of(0), shown=tuple(take_shown_rows(shown, 0, 5)))
    store.append(batch, store.acquire("tester", [f"strategy:{NAME}"], 600))
    back = read_visualisation(store, NAME, pairs=PAIRS[1:2])
    assert back.plots["mean"].pair is None
    assert back.visualised_pairs == [PAIRS[1]]
