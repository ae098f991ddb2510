"""``rates``: at every error what ``cluster`` finds there, from one read of all."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd import BudgetError, NonFiniteError, ShapeError, SpecError
from streamsvd.collections.options import ERRORS
from tests.collections.blocks import d2, d7, name_blocks


@pytest.mark.parametrize("mode", ["cluster", "global", "block"])
@pytest.mark.parametrize("rank", [None, 8])
@pytest.mark.parametrize("dtype", ["f4", "i2"])
def test_every_error_has_the_clusters_and_bytes_of_cluster(mode, rank, dtype):
    blocks = {k: (100 * A).astype(dtype) for k, A in name_blocks(d2()[:30]).items()}
    blocks["zeros"] = np.zeros((80, 10), dtype)
    errors = (0.02, 0.1, 0.5)
    found = streamsvd.rate_curve(blocks, errors, mode, rank)
    assert [rate.error for rate in found.rates] == list(errors)
    for rate in found.rates:
        one = streamsvd.cluster(blocks, rate.error, rank, mode)
        assert [(c.members, c.rank, c.raw) for c in rate.clusters] == [
            (c.members, c.rank, c.raw) for c in one.clusters
        ]
        assert rate.compression_ratio == one.compression_ratio
        assert rate.bytes_after * rate.compression_ratio == pytest.approx(found.bytes_before)
        assert rate.block_error == pytest.approx(max(one.block_errors.values()), rel=1e-9)
        assert [c.error_upper for c in rate.clusters] == pytest.approx(
            [c.error_upper for c in one.clusters], rel=1e-9
        )
        assert [m.parts for m in rate.merges] == [m.parts for m in one.merges]
        assert rate.raw == sum(len(c.members) for c in one.clusters if c.raw)


def test_errors_are_measured_where_weights_and_inputs_say():
    rng = np.random.default_rng(0)
    blocks = name_blocks(d7()[:24])
    few = rng.standard_normal((30, 10)) * 0.3 ** np.arange(10)
    given = {
        "row_weights": rng.random(80) + 0.1,
        "column_weights": {"0000[0-4]": np.arange(10.0)},
        "inputs": {"0001*": few},
    }
    found = streamsvd.rate_curve(blocks, (0.05, 0.3), **given)
    plain = streamsvd.rate_curve(blocks, (0.05, 0.3))
    for rate, same in zip(found.rates, plain.rates, strict=True):
        one = streamsvd.cluster(blocks, rate.error, **given)
        assert [(c.members, c.rank) for c in rate.clusters] == [
            (c.members, c.rank) for c in one.clusters
        ]
        assert rate.compression_ratio == one.compression_ratio
        assert rate.block_error == pytest.approx(max(one.block_errors.values()), rel=1e-6)
        assert rate.bytes_alone < same.bytes_alone
    assert found.input_bytes == few.nbytes


def test_all_is_found_in_one_read(tmp_path):
    root = zarr.open_group(str(tmp_path / "g.zarr"), mode="w")
    for name, A in name_blocks(d7()).items():
        root.create_array(name, data=A.astype("f4"))
    found = streamsvd.rate_curve(str(tmp_path / "g.zarr"))
    assert found.reads == 1.0
    assert found.info.passes == 1
    assert found.info.bytes_read == found.bytes_before == 72 * 80 * 10 * 4
    assert found.info.peak_bytes <= found.info.projected_bytes <= found.plan.budget_bytes
    assert tuple(rate.error for rate in found.rates) == ERRORS


def test_an_svd_alone_takes_what_its_singular_values_say():
    blocks = {k: A.astype("f4") for k, A in name_blocks(d7()).items()}
    blocks["noise"] = np.random.default_rng(0).standard_normal((80, 10)).astype("f4")
    for rate in streamsvd.rate_curve(blocks, (0.05, 0.5)).rates:
        least = 0
        for A in blocks.values():
            s = np.linalg.svd(A.astype(float), compute_uv=False)
            tails = np.sqrt(np.cumsum(s[::-1] ** 2))[::-1] / np.linalg.norm(s)
            least += min(int(np.sum(tails > rate.error)) * (80 + 10), 80 * 10) * 4
        assert rate.bytes_alone == pytest.approx(least, rel=0.01)
        assert rate.bytes_after < rate.bytes_alone < 73 * 80 * 10 * 4


def test_one_matrix_takes_what_it_takes_alone():
    A = np.random.default_rng(0).standard_normal((50, 10)) * 0.5 ** np.arange(10)
    for rate in streamsvd.rate_curve({"a": A}).rates:
        assert rate.bytes_after == rate.bytes_alone
        assert rate.merges == ()


def test_zeros_take_nothing():
    found = streamsvd.rate_curve({f"z{i}": np.zeros((20, 4)) for i in range(3)}, (0.1, 0.2))
    for rate in found.rates:
        assert (rate.bytes_after, rate.bytes_alone, rate.block_error) == (0, 0, 0.0)
        assert rate.compression_ratio == np.inf
        assert [c.members for c in rate.clusters] == [("z0", "z1", "z2")]


def test_errors_come_in_any_order_and_once():
    found = streamsvd.rate_curve(name_blocks(d7()[:6]), [0.5, 0.1, np.float64(0.5)])
    assert [rate.error for rate in found.rates] == [0.1, 0.5]
    assert found.at(0.5) is found.rates[1]
    with pytest.raises(SpecError, match=r"error=0\.3 was not asked for. Pass one of 0\.1, 0\.5"):
        found.at(0.3)


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((), r"errors=\(\) asks for nothing"),
        (0.1, r"errors=0\.1 are no errors. Pass several"),
        ("0.1", "error='0' is not a number"),
        ((0.1, 1.0), r"error=1\.0 is met by keeping nothing"),
        ((0.1, float("nan")), "error=nan is no relative error"),
        ((0.1, -1), "error=-1 is no relative error"),
        ((True, 0.1), "error=True is not a number"),
    ],
)
def test_what_are_no_errors_is_refused(errors, said):
    with pytest.raises(SpecError, match=said):
        streamsvd.rate_curve(name_blocks(d7()[:2]), errors)


def test_other_options_are_those_of_cluster():
    blocks = name_blocks(d7()[:4])
    with pytest.raises(SpecError, match="mode='each' is unknown"):
        streamsvd.rate_curve(blocks, mode="each")
    with pytest.raises(SpecError, match="method='maxnorm' needs a rank"):
        streamsvd.rate_curve(blocks, method="maxnorm")
    with pytest.raises(ShapeError, match="rows"):
        streamsvd.rate_curve({**blocks, "odd": np.ones((3, 3))})
    with pytest.raises(NonFiniteError, match="block 'odd'"):
        streamsvd.rate_curve({**blocks, "odd": np.full((80, 3), np.nan)})
    found = streamsvd.rate_curve(blocks, (0.1, 0.2), rank=4, method="maxnorm")
    assert found.options.rank == 4


def test_errors_near_rounding_are_warned_of():
    found = streamsvd.rate_curve(name_blocks(d7()[:3]), (0.0, 0.1))
    assert found.info.warnings == (
        "error=0 is near rounding: singular values decide, which is slower.",
    )
    assert found.rates[0].block_error < 1e-12


def test_a_memory_too_small_is_refused_and_the_smallest_works():
    blocks = name_blocks(d7())
    with pytest.raises(BudgetError, match="72 blocks .* at several errors") as refused:
        streamsvd.rate_curve(blocks, (0.1, 0.2), memory="1MiB")
    assert "at one error compress works with less" in str(refused.value)
    found = streamsvd.rate_curve(blocks, (0.1, 0.2), memory=refused.value.needs)
    assert found.info.projected_bytes <= found.plan.budget_bytes == refused.value.needs
    with pytest.raises(BudgetError):
        streamsvd.rate_curve(blocks, (0.1, 0.2), memory=refused.value.needs - 1)


@pytest.mark.parametrize("backend", ["primal", "gram", "propose"])
def test_clusterings_of_every_backend_have_merges(backend):
    found = streamsvd.cluster(name_blocks(d7()), 0.05, backend=backend)
    joined = {p for m in found.merges for p in m.parts if isinstance(p, str)}
    assert joined == set(found.labels)
    roots = set(range(len(found.merges))) - {p for m in found.merges for p in m.parts}
    assert len(roots) == len(found.clusters) == 12
    assert max(m.height for m in found.merges) <= 0.05
