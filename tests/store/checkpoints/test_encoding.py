"""What a checkpoint keeps of a value is the value, to the bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from streamsvd.store.checkpoints.checkpoint import Checkpoint
from streamsvd.store.checkpoints.encoding import decode_value, encode_value


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    x: np.ndarray
    note: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Outer:
    parts: tuple
    by_name: dict
    size: float


def test_nested_records_come_back_to_the_bit(tmp_path):
    rng = np.random.default_rng(0)
    value = Outer(
        (Inner(np.asfortranarray(rng.standard_normal((3, 2))), None), 7, True),
        {"a": Inner(np.zeros((0, 4)), "n"), "b": [1.5, np.float64(0.1)]},
        1e-300,
    )
    ends = (np.inf, -np.inf, [np.float64(np.nan)])
    plain, arrays = encode_value({"held": value, "ids": np.arange(5), "ends": ends})
    store = Checkpoint.from_address(tmp_path / "c", "test")
    store.save(plain, arrays)
    again = Checkpoint.from_address(tmp_path / "c", "test").newest()
    assert len(again[1]) == 1
    held = decode_value(*again, {"Inner": Inner, "Outer": Outer})
    found = held["held"]
    assert isinstance(found, Outer)
    np.testing.assert_array_equal(found.parts[0].x, value.parts[0].x)
    assert found.parts[0].x.flags.f_contiguous
    assert found.parts[1:] == (7, True)
    assert found.by_name["a"].x.shape == (0, 4)
    assert (found.by_name["a"].note, found.by_name["b"]) == ("n", [1.5, 0.1])
    assert found.size == 1e-300
    assert held["ends"][:2] == ends[:2]
    assert np.isnan(held["ends"][2][0])
    np.testing.assert_array_equal(held["ids"], np.arange(5))
    assert held["ids"].dtype == np.int64


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_keeps_its_order_in_memory(order):
    """Products of another order are other bits, and a run that goes on is to find the same."""
    value = np.asarray(np.arange(12.0).reshape(3, 4) + 1j, order=order)
    plain, arrays = encode_value({"x": value})
    again = decode_value(plain, arrays, {})["x"]
    np.testing.assert_array_equal(again, value)
    assert again.strides == value.strides
    assert again.flags.writeable
