"""Options that several verbs share; each is named after the field or argument that it sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

from streamsvd.checks.paths import Url, is_url, local_path, place_of
from streamsvd.cli.sources import stored_numbers, transforms
from streamsvd.store.explanations import path_exists

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[F], F]
PlaceUse = Literal["read", "write"]


def _record_place(ctx: Any, param: Any, place: Any, doing: PlaceUse) -> None:
    """Remember what options name, and refuse a place to write that is not apart from what is read, in any order.

    Raises
    ------
    SpecError
        It names both.
    """
    if ctx is None or is_url(place):
        return
    known = ctx.meta.setdefault("streamsvd.places", {"read": [], "write": []})
    is_model = param.param_type_name == "argument" and param.name != "out"
    name = "the model " if is_model else f"{param.name}="
    mine = local_path(place, param.opts[0])
    for other, path in known["write"] if doing == "write" else ():
        if path.absolute() == mine.absolute():
            raise click.UsageError(
                f"{other.rstrip('=')} and {name.rstrip('=')} name one place, {place}. Pass another for one of them."
            )
    known[doing].append((name, mine))
    new = dict(known, **{doing: known[doing][-1:]})
    if new["read"] and new["write"]:
        from streamsvd.store.writing.separation import check_apart  # half a second of imports

        for name, path in new["write"]:
            check_apart(path, [each for _, each in new["read"]], name=name)


def output_place(ctx: Any, param: Any, value: str | None) -> str | None:
    """A place that is written, as it was given: a path or a URL."""
    if value is not None:
        _record_place(ctx, param, value, "write")
    return value


class Place(click.Path):
    """A path on the command line: ``~`` is the home folder, and empty text is no path. Where folders are taken, a URL too."""

    def __init__(
        self,
        *,
        exists: bool = False,
        file_okay: bool = True,
        dir_okay: bool = True,
        doing: PlaceUse | None = None,
    ) -> None:
        self.doing = doing
        self.takes_urls = doing == "write" or dir_okay
        super().__init__(
            exists=exists, file_okay=file_okay, dir_okay=dir_okay, readable=False, path_type=Path
        )

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The path that is meant; what the system says of it is said when it is read."""
        name = "path" if param is None else param.opts[0]
        path = place_of(value, name) if self.takes_urls else local_path(value, name)
        if isinstance(path, Url):
            return path
        if self.exists:
            path_exists(path)
        found = super().convert(path, param, ctx)
        if self.doing is not None and param is not None:
            _record_place(ctx, param, path, self.doing)
        return found


ARRAY = Place(exists=True, dir_okay=False, doing="read")
RESULT = Place(exists=True, doing="read")
"""A result that was saved: a folder, or a ``.npz`` file."""


def dimensions(ctx: Any, param: Any, value: tuple[str, ...]) -> Any:
    """``("time,0",)`` as ``("time", 0)``; one name or number alone, None for none."""
    del ctx, param
    parts = [part.strip() for text in value for part in text.split(",")]
    if not all(parts):
        raise click.BadParameter("a name is empty. Pass --rows time, or --rows time,level.")
    names = tuple(int(part) if part.lstrip("-").isdigit() else part for part in parts)
    return None if not names else names[0] if len(names) == 1 else names


def stack_options(*options: Any) -> Callable[[F], F]:
    """One decorator of several, in the order in which ``--help`` shows them."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _cut(ctx: Any, param: Any, value: str | None) -> Any:
    """``"0"`` as 0, ``"1,20"`` as ``(1, 20)``."""
    del ctx, param
    if value is None:
        return None
    parts = value.split(",")
    if len(parts) > 2 or not all(part.strip().lstrip("-").isdigit() for part in parts):
        raise click.BadParameter(
            "pass a dimension, or a dimension and a width: --cut 0, --cut 1,20."
        )
    numbers = tuple(int(part) for part in parts)
    return numbers[0] if len(numbers) == 1 else numbers


def _reshapes(ctx: Any, param: Any, value: tuple[str, ...]) -> Any:
    """``("20",)`` as 20, ``("patch*=20",)`` as a mapping; None for none."""
    del ctx, param
    found: dict[str, int] = {}
    for text in value:
        pattern, _, count = text.rpartition("=")
        if not count.isdigit() or not int(count):
            raise click.BadParameter(f"{text!r} is no number of columns. Pass N, or PATTERN=N.")
        found[pattern or "*"] = int(count)
    return found or None


def _places(ctx: Any, param: Any, value: tuple[str, ...]) -> Any:
    """``("x.zarr",)`` as ``{"*": "x.zarr"}``, ``("layer.*=x.zarr",)`` as a mapping; None for none."""
    found: dict[str, str] = {}
    for text in value:
        pattern, cut, place = text.partition("=")
        if not cut or local_path(text, param.opts[0]).exists():
            pattern, place = "*", text
        if not place or not pattern:
            raise click.BadParameter(f"{text!r} names nothing. Pass PATH, or PATTERN=PATH.")
        if found.setdefault(pattern, place) != place:
            raise click.BadParameter(
                f"{param.opts[0]} names two places for {pattern!r}: {found[pattern]} and {place}."
            )
        _record_place(ctx, param, place, "read")
    return found or None


def _files(ctx: Any, param: Any, value: tuple[str, ...]) -> Any:
    """The same for files that are there."""
    found = _places(ctx, param, value)
    for place in (found or {}).values():
        if not path_exists(local_path(place)):
            raise click.BadParameter(f"File {place!r} does not exist.")
    return found


def _patterns(ctx: Any, param: Any, value: tuple[str, ...]) -> Any:
    del ctx, param
    return value or None


details = stack_options(
    click.option(
        "--variable", metavar="NAME", help="Array within a zarr group, a file or a data set."
    ),
    click.option(
        "--rows",
        metavar="DIMS",
        multiple=True,
        callback=dimensions,
        help="Dimensions (names or numbers) that make the rows; repeat, or separate by commas.",
    ),
    click.option(
        "--missing",
        type=click.Choice(["error", "fill"]),
        default="error",
        show_default=True,
        help="What an absent chunk is: an error that names it, or its fill value.",
    ),
    stored_numbers,
    transforms,
)
source = stack_options(click.argument("source"), details)


def record(kind: type, *names: str) -> Callable[[F], F]:
    """Options of a command from the fields of an options record: names, types, defaults and help.

    Parameters
    ----------
    kind
        The record.
    *names
        Its fields that become options, in this order; all if left out.
    """
    hints, by_name = get_type_hints(kind), {f.name: f for f in fields(kind)}
    made = []
    for name in names or by_name:
        field, hint = by_name[name], hints[name]
        parts = [part for part in get_args(hint) if part is not type(None)]
        if get_origin(hint) is not Literal and parts:
            hint = parts[0]  # one of several types, None among them
        flag, shown = f"--{name.replace('_', '-')}", field.default is not None
        help_ = field.metadata["help"]
        if hint is bool:
            made.append(click.option(f"{flag}/--no-{flag[2:]}", default=field.default, help=help_))
            continue
        kind_ = click.Choice(list(get_args(hint))) if get_origin(hint) is Literal else hint
        made.append(
            click.option(
                flag, name, type=kind_, default=field.default, show_default=shown, help=help_
            )
        )
    return stack_options(*made)


memory = click.option(
    "--memory",
    metavar="BYTES",
    help="Most memory above imports, such as 256MiB [half of what is free].",
)


def _mask(ctx: Any, param: Any, value: str | None) -> Any:
    """The array in a ``.npy`` file; or a name as it is."""
    if value is None or not value.endswith(".npy"):
        return value
    from streamsvd.store.writing.files import array_in

    found = array_in(local_path(value, "--mask"), "--mask")
    _record_place(ctx, param, value, "read")
    return found


mask = click.option(
    "--mask",
    metavar="NAME|FILE.npy|auto",
    callback=_mask,
    help="Columns to keep: a boolean array beside SOURCE in its group, or in a file; auto: those that have a value.",
)


def _weights_by_dimension(ctx: Any, param: Any, value: tuple[str, ...]) -> Any:
    """``("coslat",)`` as a name, ``("w.npy",)`` as its array, ``("lat=cos", "lev=w.npy")`` as a mapping; None for none."""
    said = [text.partition("=")[::2] for text in value]
    for text, (name, kind) in zip(value, said, strict=True):
        if not name or (not kind and "=" in text):
            raise click.BadParameter(
                f"{text!r} names nothing. Pass NAME, coslat, DIM=cos or FILE.npy."
            )
    alone = [name for name, kind in said if not kind]
    if alone and len(value) > 1:
        raise click.BadParameter(
            f"{alone[0]} is for all columns, and there are others. Pass one of them."
        )
    found = {name: _array_or_name(ctx, param, kind) for name, kind in said if kind}
    if len(found) < len(said) - len(alone):
        raise click.BadParameter("a dimension has weights twice. Pass one of them.")
    return _array_or_name(ctx, param, alone[0]) if alone else found or None


def _array_or_name(ctx: Any, param: Any, text: str) -> Any:
    """The array in a ``.npy`` file; or a name as it is."""
    if not text.endswith(".npy") and not local_path(text, param.opts[0]).is_file():
        return text
    from streamsvd.cli.files import read_npy

    return read_npy(param.name, ARRAY.convert(text, param, ctx))


column_weights = click.option(
    "--column-weights",
    multiple=True,
    metavar="FILE.npy|NAME|coslat|DIM=cos",
    callback=_weights_by_dimension,
    help="One factor for each column, 0 to leave it out unseen; or by dimension, as --weights: the root is taken.",
)

device = click.option(
    "--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True
)

output = stack_options(
    click.option(
        "--u/--no-u", default=False, help="Keep the left factor too (one more pass); needs --out."
    ),
    click.option(
        "--out",
        type=Place(doing="write"),
        metavar="PATH",
        help="Folder for the result (zarr).",
    ),
    click.option(
        "--overwrite", is_flag=True, help="Replace the result at --out once the new one is whole."
    ),
)

workers = click.option(
    "--workers", type=click.IntRange(min=1), metavar="N", help="Threads [one per core]."
)
machine = stack_options(
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Run on this cluster, such as tcp://10.0.0.1:8786, or a scheduler file (.json).",
    ),
    workers,
)


class BlockPolicy(click.Choice[str]):
    """What a NaN in a block of a model means.

    Spellings of earlier releases go on unseen; a policy that only other verbs have is refused by the model, which says why.
    """

    def __init__(self) -> None:
        super().__init__(["raise", "zero", "mean", "skip_block"])

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """The policy."""
        if value in ("skip-block", "impute-mean", "drop_columns"):
            return value
        return super().convert(value, param, ctx)


growth = stack_options(
    click.option("--rank", type=int, metavar="K", help="Triplets wanted [50 in a new model]."),
    click.option(
        "--tol",
        type=float,
        metavar="T",
        help="Relative error asked: alone it decides the rank, beside --rank when a refit is advised.",
    ),
    click.option("--center/--no-center", default=None, help="Less the mean, which may move."),
    click.option(
        "--columns",
        "axis",
        flag_value="columns",
        help="New columns arrive, not rows.",
    ),
    click.option(
        "--forget", type=float, metavar="F", help="Rows fade by F with every later block."
    ),
    click.option(
        "--window", type=int, metavar="N", help="Keep the newest blocks that hold N rows."
    ),
    click.option(
        "--robust/--no-robust", default=None, help="Frequent Directions: no order hides anything."
    ),
    click.option("--u/--no-u", default=None, help="Keep the left vectors of every block."),
    click.option(
        "--nonfinite",
        type=BlockPolicy(),
        default="raise",
        show_default=True,
        help="What a NaN means; Inf is always an error.",
    ),
    mask,
    column_weights,
)

seed = click.option("--seed", type=int, default=0, show_default=True, help="Of the random numbers.")
checkpoint = click.option(
    "--checkpoint",
    metavar="PLACE",
    callback=output_place,
    help="Save the state there every 30 s, and go on from it after a kill.",
)


missing_values = click.option(
    "--nonfinite",
    type=click.Choice(["raise", "zero", "mean", "drop_columns"]),
    default="raise",
    show_default=True,
    help="What a NaN is; mean and drop_columns take one more pass. Inf is always an error.",
)
save_seconds = click.option(
    "--save-seconds",
    type=float,
    default=30.0,
    show_default=True,
    metavar="S",
    help="Least time between two saves at --checkpoint.",
)
cluster = stack_options(
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Run on the distributed cluster at this address, such as tcp://10.0.0.1:8786, or of a scheduler file (.json).",
    ),
    click.option("--workers", type=int, metavar="N", help="Threads of this process [one a core]."),
)


def result(arrays: str, *, required: bool = False) -> Callable[[F], F]:
    """Where a result goes, a folder or a ``.npz`` file of these arrays, and whether it may replace one."""
    place = Place(doing="write")
    help = f"Folder for the result, which streamsvd.load opens; or FILE.npz, for {arrays} alone."
    return stack_options(
        click.option("--out", type=place, metavar="PATH", required=required, help=help),
        click.option(
            "--overwrite", is_flag=True, help="Replace what is at --out once it is whole."
        ),
    )


def zarr_array(what: str) -> Callable[[F], F]:
    """Where a new zarr array goes, and whether it may replace one."""
    place = Place(doing="write")
    return stack_options(
        click.option("--out", type=place, metavar="PATH", required=True, help=what),
        click.option(
            "--overwrite", is_flag=True, help="Replace the array at --out once it is whole."
        ),
    )


collection = stack_options(
    click.argument("collection"),
    click.option(
        "--select",
        multiple=True,
        metavar="PATTERN",
        callback=_patterns,
        help="Blocks of these names only, such as 'encoder.*'; repeat for more.",
    ),
    click.option(
        "--transpose",
        multiple=True,
        metavar="PATTERN",
        callback=_patterns,
        help="Blocks of these names are transposed.",
    ),
    click.option(
        "--columns",
        multiple=True,
        metavar="[PATTERN=]N",
        callback=_reshapes,
        help="Arrays become matrices of N columns, in C order [the last dimension].",
    ),
    click.option(
        "--cut",
        metavar="AXIS[,WIDTH]",
        callback=_cut,
        help="One array, cut along a dimension, is the collection.",
    ),
    click.option(
        "--missing",
        type=click.Choice(["error", "fill", "zero"]),
        default="error",
        show_default=True,
        help="What an absent chunk is: an error, or its fill value; zero: NaN counts as zero too.",
    ),
)


def take_collection(collection: str, given: dict[str, Any]) -> Any:
    """The collection that a verb is given; the options that are of it are taken out of the others."""
    from streamsvd.store.collections import open_collection

    said = ("select", "transpose", "columns", "cut", "missing")
    return open_collection(collection, **{name: given.pop(name) for name in said})


weights = stack_options(
    click.option(
        "--row-weights",
        type=ARRAY,
        metavar="FILE",
        help="A .npy of positive weights of the rows: errors count by them.",
    ),
    click.option(
        "--column-weights",
        multiple=True,
        metavar="[PATTERN=]FILE",
        callback=_files,
        help="A .npy of weights of the columns, of blocks of these names.",
    ),
    click.option(
        "--inputs",
        multiple=True,
        metavar="[PATTERN=]PATH",
        callback=_places,
        help="Samples on which blocks of these names act, one a row: errors are those of A x.",
    ),
    click.option(
        "--damping",
        type=float,
        default=0.0,
        metavar="D",
        help="Part of the mean square of inputs that every direction has at least [0].",
    ),
)

as_json = click.option(
    "--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else."
)
quiet = click.option("--quiet", is_flag=True, help="No progress on stderr.")
