import numpy as np
import pytest

from streamsvd.checks.numbers import check_integer, check_numbers, check_seed
from streamsvd.errors import SpecError


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_integers_of_any_type_become_plain_ones(value):
    assert type(check_integer("k", value, least=1)) is int
    assert type(check_seed(value)) is int


@pytest.mark.parametrize("value", [True, 2.0, "2", None, np.bool_(True)])
def test_what_is_no_integer_is_refused_by_name(value):
    with pytest.raises(SpecError, match="k=.* is not an integer. Pass a whole number"):
        check_integer("k", value)
    with pytest.raises(SpecError, match="k=.* is no count. Pass an integer of at least 1"):
        check_integer("k", value, least=1)
    with pytest.raises(SpecError, match=r"random_state=.* is no seed"):
        check_seed(value, name="random_state")


def test_the_least_itself_is_allowed_and_what_is_below_is_not():
    assert check_integer("k", 0, least=0) == 0
    assert check_integer("k", -1) == -1
    with pytest.raises(SpecError, match="k=-1 is no count. Pass an integer of at least 0"):
        check_integer("k", -1, least=0)


def test_seeds_are_those_that_the_hash_takes():
    assert check_seed(2**63 - 1) == 2**63 - 1
    for seed in (-1, 2**63):
        with pytest.raises(SpecError, match=rf"seed={seed} is no seed. .* 0 to 2\^63 - 1"):
            check_seed(seed)


def test_numbers_may_be_missing_but_not_words():
    check_numbers(tol=None, gamma=np.float32(1), length=2)
    with pytest.raises(SpecError, match="gamma='1' is not a number"):
        check_numbers(tol=1.0, gamma="1")
