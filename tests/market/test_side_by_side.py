"""Work that is done side by side has results, errors and effects in the order of its pieces."""

import threading
from concurrent.futures import CancelledError

import pytest

from trading_dagster.domain.error import BadInput
from trading_dagster.market.side_by_side import Turns, choose_workers, map_in_order


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers):
    assert list(map_in_order(lambda item: item * item, iter(range(50)), workers)) == [item**2 for item in range(50)]


@pytest.mark.parametrize("workers", [1, 3])
def test_first_error_in_order_is_told_and_nothing_is_begun_long_after(workers):
    begun = []
    late = threading.Event()

    def work(item):
        begun.append(item)
        if item == 4:
            late.wait(5)  # fails after item 5 did
            raise ValueError(item)
        if item == 5:
            late.set()
            raise KeyError(item)
        return item

    if workers == 1:
        late.set()
    with pytest.raises(ValueError, match="4"):
        list(map_in_order(work, range(1_000), workers))
    assert max(begun) <= 4 + 2 * workers


def test_pieces_work_at_the_same_time():
    both = threading.Barrier(2, timeout=30)  # breaks unless two are inside
    assert list(map_in_order(lambda item: both.wait() >= 0, range(4), 2)) == [True] * 4


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_effects_come_in_order_and_none_after_a_failure(workers):
    turns, effects, waited = Turns(), [], []

    def work(place):
        with turns.hold(place) as turn:
            if place == 6:
                raise ValueError(place)
            if place % 3 == 2:
                return  # has no effect, and lets the next one go on
            waited.append(place)
            turn()
            effects.append(place)

    with pytest.raises(ValueError, match="6"):
        list(map_in_order(work, range(20), workers))
    assert effects == [0, 1, 3, 4]
    assert set(waited) >= set(effects)


def test_turn_after_a_failure_is_refused():
    turns = Turns()
    with pytest.raises(ValueError, match="no"), turns.hold(0):
        raise ValueError("no")
    with pytest.raises(CancelledError), turns.hold(1) as turn:
        turn()


def test_workers_are_as_wanted_or_one_a_core():
    assert choose_workers(3) == 3
    assert choose_workers(3, most=2) == 2
    assert choose_workers(3, most=0) == 1
    assert choose_workers(None) >= 1
    with pytest.raises(BadInput, match="workers is 0: give 1 or more"):
        choose_workers(0)
