"""The EVM's 32-byte words as columns: exact Python integers, or the nearest float64 of each, without a loop."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Bytes: TypeAlias = npt.NDArray[np.uint8]
Floats: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]
Limbs: TypeAlias = npt.NDArray[np.uint64]

WORD = 32
LIMBS = 4
LIMB_BITS = 64


def to_integers(words: Bytes, *, signed: bool = False) -> list[int]:
    """Return the integer of each word; words of shape (n, 32), big-endian, two's complement when signed."""
    content = np.ascontiguousarray(words).tobytes()
    read = int.from_bytes
    return [read(content[at : at + WORD], "big", signed=signed) for at in range(0, len(content), WORD)]


def to_floats(words: Bytes, *, signed: bool = False) -> Floats:
    """Return the float64 nearest to each word's integer (ties to even), as ``float(int)`` gives it.

    The highest 64 significant bits and one bit that says whether any lower bit is set decide how an integer rounds to
    53 bits, so these are converted and scaled.

    Args:
        words: Shape (n, 32), big-endian, two's complement when signed.
        signed: Whether a word is an int256.
    """
    limbs: Limbs = np.ascontiguousarray(words).view(">u8").astype(np.uint64)
    negative = (limbs[:, 0] >> np.uint64(63)).astype(np.bool_) if signed else None
    if negative is not None and negative.any():
        limbs[negative] = _negate(limbs[negative])
    count = len(limbs)
    rows = np.arange(count)
    first = np.argmax(limbs != 0, axis=1)
    padded = np.concatenate([limbs, np.zeros((count, 1), dtype=np.uint64)], axis=1)
    high, low = padded[rows, first], padded[rows, first + 1]
    shift = _leading_zeros(high)
    is_shifted = shift > 0
    back = np.where(is_shifted, np.uint64(LIMB_BITS) - shift, np.uint64(1))
    top = np.where(is_shifted, (high << shift) | (low >> back), high)
    rest = np.where(is_shifted, low << shift, low) != 0
    for place in range(2, LIMBS):
        rest |= (limbs[:, place] != 0) & (place >= first + 2)
    top = np.where(rest, top | np.uint64(1), top)
    exponent = (LIMBS - 1 - first) * LIMB_BITS - shift.astype(np.int64)
    values: Floats = np.ldexp(top.astype(np.float64), exponent)
    if negative is not None:
        values[negative] *= -1.0
    return values


def _negate(limbs: Limbs) -> Limbs:
    """Return the two's complement of rows of limbs."""
    flipped = ~limbs
    carry = np.ones(len(limbs), dtype=np.bool_)
    for place in range(LIMBS - 1, -1, -1):
        flipped[carry, place] += np.uint64(1)
        carry &= flipped[:, place] == 0
    return flipped


def _leading_zeros(values: Limbs) -> Limbs:
    """Return how many of the 64 bits before the highest one are 0; 0 for 0."""
    zeros = np.zeros(len(values), dtype=np.uint64)
    rest = values.copy()
    for width in (32, 16, 8, 4, 2, 1):
        is_short = (rest >> np.uint64(LIMB_BITS - width)) == 0
        rest[is_short] <<= np.uint64(width)
        zeros[is_short] += np.uint64(width)
    return np.where(values == 0, np.uint64(0), zeros)
