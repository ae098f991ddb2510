"""What is asked of a result is held against what it proves; a quantity that is not known does not pass."""

from __future__ import annotations

import math
import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import streamsvd
from streamsvd.pipelines.check_descriptions import CheckDescription
from streamsvd.pipelines.checks import check
from streamsvd.pipelines.quantities import Finding, quantity_of
from streamsvd.pipelines.vocabulary import INPUTS, QUANTITIES
from tests.pipelines.kit import CHAIN, COLUMNS, ROWS, SVD, grow, matrix, run_text, write_zarr

LINKED = SVD + '[[publish]]\nstep = "eof"\nto = "latest"\n'


def checked(quantity: str, result: object, previous: object = None, **bounds: float | int):
    """A check of a result that took two seconds."""
    asked = CheckDescription("x", quantity, **bounds)  # type: ignore[arg-type]
    return check(asked, Finding(result, previous, 2.0, None))


def bases(angle: float) -> tuple[SimpleNamespace, SimpleNamespace]:
    """Two planes of four directions that have one direction in common, and this angle in degrees."""
    a = math.radians(angle)
    Vh = np.array([[1.0, 0, 0, 0], [0, 1.0, 0, 0]])
    other = np.array([[1.0, 0, 0, 0], [0, math.cos(a), math.sin(a), 0]])
    return SimpleNamespace(Vh=Vh), SimpleNamespace(Vh=other)


@pytest.mark.parametrize("angle", [0.0, 0.5, 30.0, 90.0])
def test_drift_is_the_largest_angle_in_degrees(angle):
    one, other = bases(angle)
    for found in (checked("drift", one, other, at_most=1), checked("drift", other, one, at_most=1)):
        assert found.value == pytest.approx(angle, abs=1e-6)
        assert found.passed == (angle <= 1)


def test_drift_does_not_depend_on_signs_or_order():
    one, other = bases(20.0)
    turned = SimpleNamespace(Vh=-other.Vh[::-1])
    assert checked("drift", one, turned, at_most=1).value == pytest.approx(20.0)


def test_drift_is_nothing_where_nothing_was_published():
    assert checked("drift", bases(0)[0], None, at_most=0).value == 0
    assert checked("drift", bases(0)[0], None, at_most=0).passed


def test_drift_of_other_columns_is_not_known():
    one = SimpleNamespace(Vh=np.eye(2, 3))
    found = checked("drift", one, bases(0)[0], at_most=90)
    assert found.value is None
    assert not found.passed


def test_a_quantity_that_a_result_has_not_does_not_pass():
    every = set().union(*QUANTITIES.values()) - {"schema", "seconds", "drift", "change"}
    assert len(every) > 10
    for quantity in every:
        found = checked(quantity, object(), at_most=1e9, at_least=-1e9)
        assert (found.value, found.passed) == (None, False)


def test_both_bounds_are_held():
    for value, passed in ((0.5, False), (1.0, True), (2.0, True), (2.1, False), (math.nan, False)):
        info = SimpleNamespace(n_rows=value)
        found = checked("rows", SimpleNamespace(info=info), at_least=1, at_most=2)
        assert found.passed is passed
        assert found.asked == "at least 1 and at most 2"


@pytest.mark.parametrize(
    ("quantity", "low", "high"),
    [
        ("width", 0, 1e-3),
        ("error", 1e-6, 0.9),
        ("captured", 0.1, 1),
        ("drift", 0, 0),
        ("change", 0, 0),
        ("angle", 0, 90),
        ("rows", ROWS, ROWS),
        ("missing", 0, 0),
        ("passes", 1, 4),
        ("bytes", ROWS * COLUMNS * 4, ROWS * COLUMNS * 40),
        ("seconds", 0, 600),
        ("age", 0, 1),
    ],
)
def test_every_quantity_of_a_factorisation_is_known(folder, quantity, low, high):
    text = (
        LINKED
        + f'[[checks]]\nstep = "eof"\nquantity = "{quantity}"\nat_least = {low}\nat_most = {high}\n'
    )
    record = run_text(folder, text)
    (found,) = record.checks
    assert record.status == "done", found
    assert found.passed


def test_what_a_result_holds_is_as_numpy_has_it(folder):
    text = LINKED + '[[checks]]\nstep = "eof"\nquantity = "error"\nat_most = 1\n'
    A = matrix().astype(float)
    s = np.linalg.svd(A, compute_uv=False)
    wanted = np.sqrt((s[3:] ** 2).sum() / (s**2).sum())
    assert run_text(folder, text).checks[0].value == pytest.approx(wanted, rel=1e-4)


def test_old_data_are_found_by_their_age(folder):
    hours_ago = time.time() - 5 * 3600
    os.utime(folder / "A.npy", (hours_ago, hours_ago))
    text = LINKED + '[[checks]]\nstep = "eof"\nquantity = "age"\nat_most = 4\n'
    record = run_text(folder, text)
    assert record.status == "refused"
    assert record.checks[0].value == pytest.approx(5, abs=0.1)


def test_a_result_that_turned_away_is_refused_and_the_record_says_why(folder):
    text = CHAIN + '[[checks]]\nstep = "eof"\nquantity = "drift"\nat_most = 10\n'
    text = text.replace(
        'update = {source = "a", model = "a.model", rank = 3}', 'svd = {source = "a", rank = 2}'
    )
    assert run_text(folder, text).status == "done"
    kept = streamsvd.load(folder / "latest" / "eof").Vh
    write_zarr(folder / "a.zarr", matrix(seed=4))
    record = run_text(folder, text)
    assert record.status == "refused"
    value = record.checks[1].value
    assert value is not None
    assert value > 10
    assert (
        record.error
        == f"drift of eof is {value:.6g}, at most 10 was asked. What was published before stays."
    )
    np.testing.assert_array_equal(streamsvd.load(folder / "latest" / "eof").Vh, kept)
    again = run_text(folder, text)
    assert (again.status, again.checks[1].value) == ("refused", value)
    assert {s.status for s in again.steps} == {"unchanged"}
    assert run_text(folder, text.replace("at_most = 10", "at_most = 90")).status == "done"


def test_the_same_result_has_not_drifted(folder):
    text = LINKED + '[[checks]]\nstep = "eof"\nquantity = "drift"\nat_most = 1e-3\n'
    for _ in range(2):
        assert run_text(folder, text).checks[0].passed


def test_damage_of_what_is_published_matters_only_where_drift_is_asked(folder):
    first = run_text(folder, LINKED)
    for path in (folder / "latest").resolve().rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    assert run_text(folder, LINKED, "steps.eof.svd.rank=2").status == "done"
    assert first.status == "done"


def test_drift_of_the_leading_directions_does_not_see_the_others():
    one, other = bases(30.0)
    assert checked("drift", one, other, at_most=1, leading=1).value == pytest.approx(0, abs=1e-6)
    found = checked("drift", one, other, at_most=1, leading=2)
    assert (found.value, found.asked) == (pytest.approx(30), "at most 1 (leading 2)")
    swapped = SimpleNamespace(Vh=one.Vh[::-1])  # the first direction is another now
    assert checked("drift", one, swapped, at_most=1, leading=1).value == pytest.approx(90)
    assert checked("drift", one, swapped, at_most=1, leading=2).value == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("quantity", ["drift", "change"])
def test_more_leading_directions_than_there_are_is_not_known(quantity):
    one, other = (SimpleNamespace(Vh=np.eye(2, 4), s=np.ones(2)) for _ in range(2))
    found = checked(quantity, one, other, at_most=1e9, leading=3)
    assert (found.value, found.passed) == (None, False)


def test_change_is_the_largest_relative_one_of_the_singular_values():
    old, new = (SimpleNamespace(s=np.array(s)) for s in ([10.0, 4, 1, 0], [11.0, 2, 1, 0, 7]))
    assert checked("change", new, old, at_most=1).value == pytest.approx(0.5)
    assert checked("change", new, old, at_most=1, leading=1).value == pytest.approx(0.1)
    assert checked("change", new, None, at_most=1).value == 0
    grown = SimpleNamespace(s=np.array([1.0]))
    assert checked("change", grown, SimpleNamespace(s=np.array([0.0])), at_most=9).value == math.inf


def test_the_angle_is_in_degrees_and_a_right_one_where_nothing_is_proved():
    for sine, angle in ((0.0, 0), (0.5, 30), (1.0, 90), (math.inf, 90)):
        result = SimpleNamespace(certificate=SimpleNamespace(subspace_angle_bound=sine))
        assert checked("angle", result, at_most=90).value == pytest.approx(angle)
    stream = SimpleNamespace(certificate=SimpleNamespace(sine=0.5, captured_lower=0.7))
    assert checked("angle", stream, at_most=90).value == pytest.approx(30)
    assert checked("captured", stream, at_most=1).value == 0.7


def quantity(result: object, name: str, **more: object) -> float | None:
    """Of a result of a verb."""
    return quantity_of(Finding(result, None, 0.0, None, **more), name)  # type: ignore[arg-type]


def test_least_squares_are_checked_by_what_is_left_and_by_their_error():
    A = matrix().astype(float)
    b = np.stack([A @ np.ones(COLUMNS), np.random.default_rng(5).standard_normal(ROWS)], axis=1)
    found = streamsvd.lstsq(A, b)
    exact, *_ = np.linalg.lstsq(A, b, rcond=None)
    left = np.linalg.norm(A @ exact - b, axis=0) / np.linalg.norm(b, axis=0)
    assert quantity(found, "residual", targets=b) == pytest.approx(left.max(), rel=1e-6)
    one = streamsvd.lstsq(A, b[:, 1])
    assert quantity(one, "residual", targets=b[:, 1]) == pytest.approx(left[1], rel=1e-6)
    error = quantity(found, "error")
    assert error is not None
    assert 0 <= error < 1e-6
    assert np.linalg.norm(found.x - exact, axis=0).max() <= error * np.linalg.norm(exact) * 2


def test_kernels_are_checked_by_the_share_of_the_trace_and_by_rows_held_out():
    A = matrix().astype(float)
    found = streamsvd.nystrom(A, n_centres=20)
    K = found.certificate
    assert quantity(found, "error") == pytest.approx(K.trace_error / K.trace)
    fit = streamsvd.kernel_ridge(A, A[:, :2], n_centres=20, solver="pcg", ridge=0.1)
    assert quantity(fit, "rmse") == fit.held_out_rmse.max()
    assert quantity(fit, "residual") == fit.residuals[-1]
    share = quantity(fit, "error")
    assert share is not None
    assert 0 < share < 1
    plain = streamsvd.nystrom(A, n_centres=20, certify=False)
    assert quantity(plain, "error") == math.inf  # no second pass: nothing is proved


def test_a_sample_is_checked_by_its_distortion():
    A = matrix().astype(float)
    found = streamsvd.sample_rows(A, 100)
    S = np.sqrt(found.weights)[:, None] * found.rows
    whole = np.linalg.inv(np.linalg.cholesky(A.T @ A))
    ratios = np.linalg.eigvalsh(whole @ S.T @ S @ whole.T)
    error = quantity(found, "error")
    assert error is not None
    assert max(1 - ratios[0], ratios[-1] - 1) <= error + 1e-6


def test_collections_are_checked_by_their_largest_error_and_their_ratio(tmp_path):
    rng = np.random.default_rng(2)
    blocks = {
        f"b{i}": rng.standard_normal((20, 3)) @ rng.standard_normal((3, 30)) for i in range(3)
    }
    made = streamsvd.compress(blocks, tmp_path / "c", 0.2)
    kept = streamsvd.load(tmp_path / "c")
    for found in (made, kept):  # what the verb hands back, and what a later run opens
        assert quantity(found, "error") == max(made.block_errors.values())
        assert quantity(found, "ratio") == made.compression_ratio
        assert quantity(found, "rows") == 20
    clusters = streamsvd.cluster(blocks, 0.2)
    assert quantity(clusters, "error") == max(clusters.block_errors.values())
    assert quantity(clusters, "ratio") == clusters.compression_ratio
    curve = streamsvd.rate_curve(blocks, [0.1, 0.3])
    assert quantity(curve, "ratio") == curve.at(0.3).compression_ratio
    assert quantity(curve, "error") == max(r.block_error for r in curve.rates)


def test_streams_are_checked_by_intervals_and_by_drift():
    A = matrix().astype(float)
    found = streamsvd.top_eigenvectors(A, 2)
    c = found.certificate
    widths = (c.values_upper - c.values_lower) / c.values_upper
    assert quantity(found, "width") == pytest.approx(widths.max())
    again = quantity_of(Finding(found, streamsvd.svd(A, 2), 0.0, None), "drift", 1)
    assert again is not None
    assert again < 45
    assert quantity_of(Finding(found, found, 0.0, None), "change") == 0


STEP_OF = {
    "svd": 'svd = {source = "a", rank = 3}',
    "pca": 'pca = {source = "a", rank = 3}',
    "update": 'update = {source = "a", model = "m", rank = 3}',
    "verify": 'verify = {source = "a", result = "before"}',
    "top_eigenvectors": 'top_eigenvectors = {source = "a", k = 3}',
    "nystrom": 'nystrom = {source = "a", n_centres = 5}',
    "kernel_ridge": 'kernel_ridge = {source = "a", y = "y.npy", n_centres = 5, solver = "pcg", ridge = 0.1}',
    "sample_rows": 'sample_rows = {source = "a", size = 60}',
    "lstsq": 'lstsq = {source = "a", b = "y.npy"}',
    "cluster": 'cluster = {source = "b", error = 0.1}',
    "compress": 'compress = {source = "b", error = 0.1}',
    "rate_curve": 'rate_curve = {source = "b", errors = [0.1, 0.3]}',
}


USUAL = ("update", "lstsq", "compress")
"""Verbs of which this is tried in every run of the tests."""


@pytest.mark.parametrize(
    "verb", [v if v in USUAL else pytest.param(v, marks=pytest.mark.slow) for v in INPUTS]
)
def test_every_quantity_that_a_verb_has_is_known_of_a_new_result_and_of_a_stored_one(folder, verb):
    text = '[sources.a]\npath = "A.npy"\n[sources.b]\npath = "blocks"\n'
    text += '[[steps]]\nname = "before"\nsvd = {source = "a", rank = 3}\n'
    text += f'[[steps]]\nname = "it"\n{STEP_OF[verb]}\n[[publish]]\nstep = "it"\nto = "latest"\n'
    for name in sorted(QUANTITIES[verb] - {"schema"}):
        text += f'[[checks]]\nstep = "it"\nquantity = "{name}"\nat_least = 0\n'
    for _ in range(2):
        record = run_text(folder, text)
        assert [c.quantity for c in record.checks if c.value is None] == [], record.error
    assert record.status == "unchanged", record.error


def test_a_check_is_changed_by_its_name(folder):
    text = LINKED + '[[checks]]\nstep = "eof"\nquantity = "rows"\nat_least = 1e9\n'
    text += '[[checks]]\nname = "narrow"\nstep = "eof"\nquantity = "width"\nat_most = 1e-30\n'
    given = ("checks.eof-rows.at_least=1", "checks.narrow.at_most=1", "publish.eof.to=elsewhere")
    record = run_text(folder, text, *given)
    assert (record.status, [c.name for c in record.checks]) == ("done", ["eof-rows", "narrow"])
    assert record.published == (str(folder / "elsewhere"),)
    assert run_text(folder, text).status == "refused"


def test_the_page_says_of_which_verbs_each_quantity_is_known():
    page = Path(__file__).parents[2] / "docs" / "pipelines.md"
    table = page.read_text().partition("## Checks")[2].partition("## The state")[0]
    rows = re.findall(r"^\| (`[^|]*`) \| [^|]* \| ([^|]*) \|$", table, re.M)
    told, before = {}, set()
    for names, words in rows:
        verbs = set(re.findall(r"`(\w+)`", words))
        if words.startswith("all"):
            verbs = set(INPUTS) - verbs
        if words.startswith("the same"):
            verbs = before
        before = verbs
        told |= {name: verbs for name in re.findall(r"`(\w+)`", names)}
    every = set().union(*QUANTITIES.values())
    del told["quantity"]  # the head
    assert told == {name: {v for v in INPUTS if name in QUANTITIES[v]} for name in every}


SCHEMA = '[[checks]]\nstep = "eof"\nquantity = "schema"\n'


@pytest.mark.parametrize(
    ("asked", "passed", "words"),
    [
        ("columns = 12", True, "12 columns"),
        ('dtype = "float32"', True, "float32"),
        ('columns = 12\ndtype = "f4"', True, "float32 and 12 columns"),
        ("columns = 13", False, "13 columns"),
        ('dtype = "float64"', False, "float64"),
        ('columns = 12\ndtype = "int8"', False, "int8 and 12 columns"),
    ],
)
def test_a_schema_is_held_before_anything_is_read(folder, asked, passed, words):
    record = run_text(folder, LINKED + SCHEMA + asked + "\n")
    (found,) = record.checks
    assert (found.passed, found.asked, found.found) == (passed, words, "float32 and 12 columns")
    assert record.status == ("done" if passed else "refused")
    assert bool(record.steps) == passed
    assert (folder / "p.runs" / "results").exists() == passed
    if not passed:
        assert record.error == (
            f"schema of eof is float32 and 12 columns, {words} was asked. What was published before stays."
        )


def test_as_many_columns_as_what_is_published(folder):
    text = LINKED + SCHEMA + 'columns = "published"\n'
    first = run_text(folder, text)
    assert first.status == "done"
    assert "of which there is nothing yet" in first.checks[0].asked
    np.save(folder / "A.npy", matrix()[:, :9])
    refused = run_text(folder, text)
    assert refused.status == "refused"
    assert (refused.checks[0].found, refused.checks[0].asked) == (
        "float32 and 9 columns",
        "12 columns",
    )
    assert streamsvd.load(folder / "latest").Vh.shape == (3, 12)


def test_rows_of_another_type_do_not_enter_a_model(folder):
    text = CHAIN + SCHEMA.replace("eof", "model") + 'dtype = "float32"\n'
    assert run_text(folder, text).status == "done"
    write_zarr(folder / "a.zarr", matrix(320).astype(float))
    assert run_text(folder, text).status == "refused"
    assert streamsvd.Model.open(folder / "a.model").n_rows == ROWS


def test_a_change_of_the_values_is_refused(folder):
    text = CHAIN + '[[checks]]\nstep = "model"\nquantity = "change"\nleading = 1\nat_most = 0.1\n'
    assert run_text(folder, text).status == "done"
    grow(folder / "a.zarr", ROWS)  # as many rows again: the values grow by the root of 2
    record = run_text(folder, text)
    assert record.status == "refused"
    assert record.checks[-1].value == pytest.approx(np.sqrt(2) - 1, abs=0.1)
