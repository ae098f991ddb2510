"""Results as plain values and arrays: what is read is made by the annotations, and held against them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamsvd.errors import SpecError
from streamsvd.options import option
from streamsvd.store.results.values import ResultDecoder, ResultEncoder
from streamsvd.typing import Matrix, Real


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Options:
    tol: float = option(0.5, "A tolerance.")
    size: int | None = option(None, "A size.")

    def __post_init__(self) -> None:
        if not 0 <= self.tol < 1:
            raise SpecError(f"tol={self.tol} is out of range.")


@dataclass(frozen=True, eq=False)
class Inner:
    values: Real
    bound: float = float("inf")


@dataclass(frozen=True, eq=False)
class Outer:
    x: Matrix
    inner: Inner
    several: tuple[Inner, ...]
    pair: tuple[int, str]
    named: dict[str, Inner]
    colour: Colour
    method: Literal["a", "b"]
    chosen: tuple[str, ...]
    missing: Real | None
    flag: bool | None
    either: int | str
    anything: dict[str, Any]
    options: Options
    late: int = 3
    work: Callable[[int], int] = field(default=abs, repr=False)


def example() -> Outer:
    inner = Inner(np.array([1.0, -0.0, np.nan]))
    return Outer(
        x=np.arange(6, dtype="complex64").reshape(2, 3),
        inner=inner,
        several=(inner, Inner(np.zeros(0), 0.1)),
        pair=(2, "b"),
        named={"layer.0/query": Inner(np.array(5.0))},
        colour=Colour.BLUE,
        method="b",
        chosen=(),
        missing=None,
        flag=False,
        either="7",
        anything={"deep": [{"marks": np.array([1, 2], dtype=np.int8)}, None], "n": 1},
        options=Options(tol=0.25, size=4),
    )


@dataclass(frozen=True)
class Loose:
    part: Any


class InMemory:
    """Arrays by name."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.arrays = arrays

    def array(self, name: str) -> Any:
        return self.arrays[name]

    lazy_array = array


def through_json(value: Any) -> tuple[Any, InMemory]:
    encoder = ResultEncoder()
    plain = encoder.fields(value)
    return json.loads(json.dumps(plain, allow_nan=False)), InMemory(encoder.arrays)


def test_every_type_comes_back_as_it_was():
    plain, arrays = through_json(example())
    again = ResultDecoder(Outer, arrays).result(plain)
    first = example()
    for name in ("pair", "colour", "method", "chosen", "missing", "flag", "either", "options"):
        assert getattr(again, name) == getattr(first, name), name
        assert type(getattr(again, name)) is type(getattr(first, name))
    assert again.x.dtype == np.complex64
    assert np.array_equal(again.x, first.x)
    assert again.inner.values.tobytes() == first.inner.values.tobytes()
    assert [i.bound for i in again.several] == [float("inf"), 0.1]
    assert float(again.named["layer.0/query"].values) == 5.0
    assert again.anything["deep"][0]["marks"].dtype == np.int8
    assert again.anything["deep"][1] is None
    assert again.work is abs


def test_arrays_are_named_by_their_places_and_never_by_keys():
    _, arrays = through_json(example())
    assert set(arrays.arrays) == {
        "x", "inner.values", "several.1.values", "named.0.values", "anything.0.0.0",
    }  # fmt: skip


def test_an_array_that_stands_in_two_places_is_one_again():
    plain, arrays = through_json(example())
    again = ResultDecoder(Outer, arrays).result(plain)
    assert again.several[0].values is again.inner.values
    assert again.several[1].values is not again.inner.values


@dataclass(frozen=True)
class Plan:
    options: Any
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Planned:
    options: Options
    plan: Plan
    dtype: np.dtype[Any]


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_keeps_its_order_in_memory(order):
    first = Loose(np.array(np.arange(12.0).reshape(3, 4), order=order))
    plain, arrays = through_json(first)
    arrays.arrays = {name: np.ascontiguousarray(a) for name, a in arrays.arrays.items()}
    again = ResultDecoder(Loose, arrays).result(plain)
    assert again.part.flags.f_contiguous == (order == "F")
    assert np.array_equal(again.part, first.part)


def test_a_plan_is_of_the_options_of_its_result_and_a_type_has_a_name():
    first = Planned(Options(tol=0.1), Plan(Options(tol=0.2, size=3), ("a",)), np.dtype("float32"))
    plain, arrays = through_json(first)
    assert ResultDecoder(Planned, arrays).result(plain) == first
    for name in ("O", "U5", "f4,i4", "nothing", "<f4", 5, None):
        with pytest.raises(ValueError, match="dtype is .* not the name of a type of numbers"):
            ResultDecoder(Planned, arrays).result(plain | {"dtype": name})


def test_a_field_that_came_later_has_its_default():
    plain, arrays = through_json(example())
    del plain["late"], plain["options"]["size"]
    again = ResultDecoder(Outer, arrays).result(plain)
    assert again.late == 3
    assert again.options.size is None


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("x",), {"array": "inner.values"}, "x is .*not the array of that name"),
        (("x",), {"array": "x"}, r"x is of complex64 and shape \[2, 3\], not of None"),
        (
            ("x",),
            {"array": "x", "dtype": "complex64", "shape": [3, 2]},
            r"x is of complex64 and shape \[2, 3\], not of 'complex64' and shape \[3, 2\]",
        ),
        (("x",), {"array": "../../etc/passwd"}, "x is .*not the array of that name"),
        (("x",), [1.0], "x is .*not the array of that name"),
        (("inner",), 5, "inner is 5, not the fields of Inner"),
        (("inner", "bound"), "wide", "inner.bound is 'wide', not of the type float"),
        (("inner", "bound"), True, "inner.bound is True, not of the type float"),
        (("pair",), [1], "pair has 1 parts, not 2"),
        (("pair",), [1.5, "a"], "pair.0 is 1.5, not of the type int"),
        (("method",), "c", "method is 'c', not one of 'a', 'b'"),
        (("colour",), "green", "'green' is not a valid Colour"),
        (("chosen",), "abc", "chosen is 'abc', not a list"),
        (("named",), [], r"named is \[\], not a mapping"),
        (("flag",), 0, "flag is 0, not of the type bool"),
        (("either",), 1.5, "either is 1.5, not of the type int"),
        (("stranger",), 1, "has stranger, which Outer of this release does not know"),
        (("inner", "more"), 1, "inner has more, which Inner of this release does not know"),
        (
            ("options", "toll"),
            1,
            "has the option toll, which Options of this release does not know",
        ),
        (("options", "tol"), 2.0, "tol=2.0 is out of range"),
        (("late",), None, "late is None, not of the type int"),
    ],
)
def test_what_does_not_fit_is_named(place, value, words):
    plain, arrays = through_json(example())
    part = plain
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    with pytest.raises(ValueError, match=words):
        ResultDecoder(Outer, arrays).result(plain)


def test_a_missing_field_is_named():
    plain, arrays = through_json(example())
    del plain["inner"]["values"]
    with pytest.raises(ValueError, match="inner has no values"):
        ResultDecoder(Outer, arrays).result(plain)


def test_values_that_are_not_annotated_are_nested_to_a_depth_alone():
    plain, arrays = through_json(example())
    for _ in range(20):
        plain["anything"] = {"deeper": plain["anything"]}
    with pytest.raises(ValueError, match="nested deeper than 16 times"):
        ResultDecoder(Outer, arrays).result(plain)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda x: x, "part is a function, which cannot be saved"),
        (object(), "part is of the type object, which is not saved"),
        (np.array(["text"]), "part is an array of <U4, which is not saved"),
        (np.array([None]), "part is an array of object, which is not saved"),
        ({"array": "x"}, "part is of the type dict, which is not saved"),
    ],
)
def test_what_no_file_can_hold_is_refused(value, words):
    with pytest.raises(SpecError, match=words):
        ResultEncoder().fields(Loose(value))


def test_numbers_of_numpy_and_paths_become_plain():
    value = {"a": np.float64(0.1), "b": np.int32(7), "c": np.bool_(True), "d": Path("x/y")}
    assert ResultEncoder().fields(Loose(value)) == {
        "part": {"a": 0.1, "b": 7, "c": True, "d": "x/y"}
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(Outer.__dataclass_fields__)), JSON)
def test_whatever_stands_in_a_field_is_read_or_refused_in_words(name, value):
    plain, arrays = through_json(example())
    plain[name] = value
    try:
        ResultDecoder(Outer, arrays).result(plain)
    except ValueError as error:
        assert str(error)
