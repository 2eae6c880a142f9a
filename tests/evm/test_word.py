"""Words of the EVM become the very integers and the nearest floats."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from trading_dagster.evm.word import to_floats, to_integers

UNSIGNED = st.integers(0, 2**256 - 1) | st.integers(0, 2**70) | st.integers(0, 255).map(lambda bit: 2**bit)
SIGNED = st.integers(-(2**255), 2**255 - 1) | st.integers(-(2**70), 2**70)


def to_words(numbers: list[int], *, signed: bool = False) -> np.ndarray:
    content = b"".join(number.to_bytes(32, "big", signed=signed) for number in numbers)
    return np.frombuffer(content, np.uint8).reshape(len(numbers), 32)


@given(st.lists(UNSIGNED, max_size=20))
@example([0, 1, 2**53 + 1, 2**64 - 1, 2**64, 2**117 + 2**64 - 1, 2**256 - 1, 2**192 + 1, (2**54 + 2) << 100])
def test_unsigned_words_are_exact_integers_and_the_nearest_floats(numbers: list[int]) -> None:
    assert to_integers(to_words(numbers)) == numbers
    assert to_floats(to_words(numbers)).tolist() == [float(number) for number in numbers]


@given(st.lists(SIGNED, max_size=20))
@example([-1, -(2**255), -(2**64), -(2**128) - 1])
def test_signed_words_are_exact_integers_and_the_nearest_floats(numbers: list[int]) -> None:
    words = to_words(numbers, signed=True)
    assert to_integers(words, signed=True) == numbers
    assert to_floats(words, signed=True).tolist() == [float(number) for number in numbers]
