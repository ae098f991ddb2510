"""The matrix that a command reads: opened, and transformed as its options say.

``--steps``, ``--anomalies``, ``--detrend``, ``--reference``, ``--times`` and ``--weights`` belong to the source, as ``--variable`` does, and so do
``--missing-value``, ``--dtype``, ``--shape`` and ``--byte-offset``: every verb has them, and none is given them as an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from streamsvd.engine.row_labels import RowTransform
    from streamsvd.numerics.row_steps import RowStep
    from streamsvd.numerics.step_records import RowStepRecord
    from streamsvd.protocols import Source

F = TypeVar("F", bound=Callable[..., Any])
_META, _NUMBERS = "streamsvd.transform", "streamsvd.numbers"
NAMES = ("steps", "anomalies", "detrend", "reference", "times", "weights")
"""Options of a source that say what is done to it."""


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep what was said for when the source is opened."""
    ctx.meta.setdefault(_META, {})[param.name] = value


def _keep_number(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep what was said of stored numbers for when the source is opened."""
    if value is not None:
        name = "offset" if param.name == "byte_offset" else param.name  # kernels have an offset too
        ctx.meta.setdefault(_NUMBERS, {})[name] = value


def _keep_shape(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    """``"1000,50"`` as ``(1000, 50)``."""
    if value is None:
        return
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdigit() and int(part) for part in parts):
        raise click.BadParameter(f"{value!r} is no shape. Pass the extents: --shape 1000,50.")
    _keep_number(ctx, param, tuple(int(part) for part in parts))


def stored_numbers(function: F) -> F:
    """Options of what the numbers of a source are, where it cannot say so itself."""
    for option in (
        click.option(
            "--byte-offset", type=click.IntRange(min=0), metavar="BYTES", expose_value=False, callback=_keep_number,
            help="First byte of the numbers of a file without a header [0].",
        ),
        click.option(
            "--shape", metavar="N,N", expose_value=False, callback=_keep_shape,
            help="Extents of the numbers of a file without a header.",
        ),
        click.option(
            "--dtype", metavar="TYPE", expose_value=False, callback=_keep_number,
            help="Type of the numbers of a file without a header, such as float32 or '<i2'.",
        ),
        click.option(
            "--missing-value", type=float, metavar="X", expose_value=False, callback=_keep_number,
            help="A number that stands for a missing value, where SOURCE cannot say so itself.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def transforms(function: F) -> F:
    """Options of what is done to the rows and columns of a source as it is read."""
    for option in (
        click.option(
            "--weights", multiple=True, metavar="DIM=cos|NAME", expose_value=False, callback=_keep,
            help="Factors of the columns: coslat, lat=cos, lat=NAME or NAME, an array beside SOURCE; the root is taken.",
        ),
        click.option(
            "--times", metavar="DIM", expose_value=False, callback=_keep,
            help="Dimension that has the times, where several make the rows.",
        ),
        click.option(
            "--reference", metavar="FIRST,LAST", expose_value=False, callback=_keep,
            help="Days, months or years, both included, of the rows whose means are taken [all].",
        ),
        click.option(
            "--detrend", is_flag=True, expose_value=False, callback=_keep,
            help="Take the linear trend of each column away; one pass more, with --anomalies the same.",
        ),
        click.option(
            "--anomalies", "--anomaly", metavar="FIELDS", expose_value=False, callback=_keep,
            help="Take means of month, season, dayofyear or hour away, or of several: month,hour; one pass more.",
        ),
        click.option(
            "--steps", metavar="STEPS", expose_value=False, callback=_keep,
            help="Before that, of each row: normalize=1e4,log1p or others, in this order; one pass more where they count.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class AskedTransform:
    """What the options of a source say.

    Attributes
    ----------
    of_rows
        Of its rows; None for nothing.
    weights
        Of its columns; None for none.
    steps
        Of each row, before these; empty for none.
    """

    of_rows: RowTransform | None
    weights: str | dict[str, str] | None
    steps: tuple[RowStep, ...] = ()


def asked_transform() -> AskedTransform:
    """What the options of the command that runs say of its source.

    Raises
    ------
    UsageError
        If they cannot be meant together.
    """
    said = click.get_current_context().meta.get(_META, {})
    by = tuple(part.strip() for part in (said.get("anomalies") or "").split(",") if part.strip())
    reference, times = said.get("reference"), said.get("times")
    weights = _weights(said.get("weights") or ())
    steps = _steps(said.get("steps"))
    if not by and not said.get("detrend"):
        for name, value in (("reference", reference), ("times", times)):
            if value is not None:
                raise click.UsageError(
                    f"--{name} belongs to --anomalies and --detrend. Pass one of them, or leave it out."
                )
        return AskedTransform(None, weights, steps)
    from streamsvd.engine.row_labels import RowTransform

    period = None
    if reference is not None:
        first, cut, last = (part.strip() for part in reference.partition(","))
        period = (first, last if cut else first)
    return AskedTransform(
        RowTransform(by, times, bool(said.get("detrend")), times, period), weights, steps
    )


def _steps(given: str | None) -> tuple[RowStep, ...]:
    """``"normalize=1e4,log1p"`` as steps."""
    if given is None:
        return ()
    from streamsvd.numerics.row_steps import parse_steps

    found = parse_steps(given)
    if not found:
        raise click.UsageError("--steps names none. Pass steps such as normalize=1e4,log1p.")
    return found


def _weights(given: tuple[str, ...]) -> str | dict[str, str] | None:
    """``("lat=cos",)`` as a mapping, ``("cell_area",)`` as a name."""
    found = dict(text.partition("=")[::2] for text in given)
    if any(
        not name or (not kind and "=" in text)
        for text, (name, kind) in zip(given, found.items(), strict=False)
    ):
        raise click.UsageError("--weights names nothing. Pass DIM=cos, DIM=NAME or NAME.")
    names = [name for name, kind in found.items() if not kind]
    if names and len(given) > 1:
        raise click.UsageError(
            f"--weights {names[0]} is for all columns, and there are others. Pass one of them."
        )
    return names[0] if names else found or None


def open_source(
    source: str,
    variable: str | None,
    rows: Any,
    missing: str,
    *,
    weighs: bool = True,
    kept: str | None = None,
) -> Source:
    """The matrix that a command reads, as its options transform it; what is counted or subtracted is found by `fit_source`.

    Parameters
    ----------
    source, variable, rows, missing
        As `streamsvd.open`.
    weighs
        Whether columns are multiplied by their weights; not where a verb is given them, by `option_weights`, or a result has them.
    kept
        Where a result or a model is whose steps are asked for again: with what was counted for that.
    """
    from streamsvd.engine.opening import open as open_matrix

    numbers = click.get_current_context().meta.get(_NUMBERS, {})
    A = open_matrix(source, variable=variable, rows=rows, missing=missing, **numbers)
    asked = asked_transform()
    if asked.steps:
        from streamsvd.engine.steps import same_steps, wait_for_counts

        known = None if kept is None else _kept_steps(kept)
        A = wait_for_counts(A, same_steps(asked.steps, known) if known else asked.steps)
    if asked.of_rows is None and (asked.weights is None or not weighs):
        return A
    from streamsvd.engine.row_labels import label_rows
    from streamsvd.engine.transforms import Climatology, column_weights, subtract_climatology
    from streamsvd.store.sources.views.adjusted import AdjustedRows

    factors = column_weights(A, asked.weights) if asked.weights is not None and weighs else None
    if asked.of_rows is None:
        return AdjustedRows(A, None, None, factors)
    labels = label_rows(A, asked.of_rows)
    return replace(subtract_climatology(A, labels, Climatology.unread(labels)), factors=factors)


def _kept_steps(kept: Any) -> tuple[RowStepRecord, ...]:
    """Steps of the rows of what is kept there; none where nothing is yet."""
    from streamsvd.checks.paths import place_of
    from streamsvd.models import Model
    from streamsvd.store.objects import objects_at
    from streamsvd.store.results.reader import is_result
    from streamsvd.store.versions import is_model

    if is_model(objects_at(kept)):
        return Model.open(kept).row_steps
    if not is_result(place_of(kept)):
        return ()
    from streamsvd.cli.results import load_factorisation

    found: tuple[RowStepRecord, ...] = getattr(load_factorisation(kept), "row_steps", ())
    return found


def fit_source(A: Any, memory: Any = None, watch: Any = None) -> Any:
    """The same with what its steps count, and the means that are subtracted: a pass for each, where there are any."""
    from streamsvd.engine.events import ignore_event
    from streamsvd.engine.steps import finish_counts

    A = finish_counts(A, memory, watch or ignore_event)
    if getattr(A, "row_labels", None) is None:
        return A
    from streamsvd.engine.row_labels import label_rows
    from streamsvd.engine.transforms import fit_climatology, subtract_climatology

    asked = asked_transform().of_rows
    assert asked is not None
    labels = label_rows(A.whole, asked)
    found = fit_climatology(A.whole, labels, memory, watch or ignore_event)
    return replace(subtract_climatology(A.whole, labels, found), factors=A.factors)


def layer_variable(variable: str | None, layer: str | None) -> str | None:
    """The name of the matrix of a layer of AnnData, where one is said.

    Raises
    ------
    UsageError
        If a matrix is said twice.
    """
    if layer is None:
        return variable
    if variable is not None:
        raise click.UsageError("--layer and --variable both say which matrix. Pass one of them.")
    return f"layers/{layer}"


def option_weights(A: Source, given: dict[str, Any]) -> dict[str, Any]:
    """Options of a factorisation with the weights of its source among them.

    Raises
    ------
    UsageError
        If weights are said twice.
    """
    weights = asked_transform().weights
    if weights is None:
        return given
    if given.get("column_weights") is not None:
        raise click.UsageError(
            "--weights and --column-weights both weigh the columns. Pass one of them."
        )
    from streamsvd.engine.transforms import column_weights

    return given | {"column_weights": column_weights(A, weights)}


def is_weighted_as_read(kept: Any) -> bool:
    """Whether what is kept there was made of columns times the weights of the source: a model that has no weights of its own.

    A result has them, and so has a model since models have weights; one that has absorbed nothing will have them, unless columns
    are what arrives.
    """
    from streamsvd.models import Model
    from streamsvd.store.objects import objects_at
    from streamsvd.store.versions import is_model

    if not is_model(objects_at(kept)):
        return False
    model = Model.open(kept)
    if model.spec.axis == "columns":
        return True
    return bool(model.version) and model.column_weights is None


def open_for_model(
    model: str, given: dict[str, Any], source: str, variable: str | None, rows: Any, missing: str
) -> tuple[Source, dict[str, Any]]:
    """The matrix that a model absorbs, and the options of the update with the weights of its source among them.

    Raises
    ------
    UsageError
        If weights are said twice.
    """
    weighs, arrive = asked_transform().weights is not None, given.get("axis") == "columns"
    as_read = weighs and (arrive or is_weighted_as_read(model))
    A = open_source(source, variable, rows, missing, weighs=as_read, kept=model)
    return A, given if as_read else option_weights(A, given)


def open_graph(source: str, variable: str | None, rows: Any, missing: str) -> Any:
    """A source of what takes graphs; text of edges is refused with the command that makes a graph of it.

    Raises
    ------
    StoreError
        As of `open_source`.
    """
    from streamsvd.conversion.text_tables import text_table
    from streamsvd.errors import StoreError

    try:
        return open_source(source, variable, rows, missing)
    except StoreError as error:
        if text_table(source) is None:
            raise
        raise StoreError(
            f"{error} --edges, where its rows are edges; without that where they are rows of the adjacency"
        ) from error


def fit_note(A: Any, memory: Any) -> str:
    """What a plan says of the passes that count for steps and find means; empty where there is none."""
    from streamsvd.engine.memory import show_bytes
    from streamsvd.engine.steps import count_note

    before = count_note(A, memory)
    if getattr(A, "row_labels", None) is None:
        return before
    from streamsvd.engine.row_fits import schedule_fit
    from streamsvd.engine.row_labels import label_rows
    from streamsvd.engine.transforms import fit_request

    asked = asked_transform().of_rows
    assert asked is not None
    request = fit_request(A.whole, label_rows(A.whole, asked))
    schedule = schedule_fit(request, memory)
    also = before and f"{before}; then "
    return (
        f"{also}{'' if also else 'before it '}one pass over {show_bytes(schedule.pass_bytes)}, in {show_bytes(schedule.projected_bytes)}, for means of "
        f"{request.n_groups:,} groups of rows"
    )


def require_reference(what: str, records: Sequence[RowStepRecord] | None = ()) -> None:
    """Refuse means and counts of rows that later runs would find otherwise.

    Parameters
    ----------
    what
        What comes again.
    records
        Steps whose counts are known; None where they will be, because a model keeps those of its first rows.

    Raises
    ------
    UsageError
        It says what to pass.
    """
    asked = asked_transform()
    if asked.of_rows is not None and asked.of_rows.reference is None:
        raise click.UsageError(
            f"{what} comes again with other rows, whose means would be others. Pass --reference FIRST,LAST, so that they are the same."
        )
    counts = [step.text for step in asked.steps if step.need is not None]
    if counts and records is not None and not records:
        raise click.UsageError(
            f"{what} comes again with other rows, whose counts for {', '.join(counts)} would be others. Pass steps that count nothing, "
            "such as normalize=1e4."
        )
