"""``streamsvd plan``: passes, bytes, memory and time of a factorisation, before any of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import asdict
from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

import click

from streamsvd.cli import factoring, options
from streamsvd.cli.commands import VERBS as COMMANDS
from streamsvd.cli.sources import NAMES as TRANSFORMS

if TYPE_CHECKING:
    from streamsvd.factor.candidates import Speeds
    from streamsvd.factor.plan import Plan
    from streamsvd.protocols import Source
    from streamsvd.verbs import Verb


class Plans(click.Group):
    """``plan VERB SOURCE``; without a verb it is the plan of `svd`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs that have a plan, as the command line calls them."""
        from streamsvd.verbs import VERBS

        others = (v.command for v in VERBS.values() if v.command not in ("", "svd"))
        return ["svd", *(command.replace(" ", "-") for command in others)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a verb with the options that its plan knows."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        from streamsvd.verbs import VERBS

        found = [v for v in VERBS.values() if v.command and v.command.replace(" ", "-") == cmd_name]
        return plan_command(found[0]) if found else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Verbs by name; what they take is asked of them alone, as that imports them."""
        from streamsvd.verbs import VERBS

        rows = [(v.command.replace(" ", "-"), f"Of {v.name}.") for v in VERBS.values() if v.command]
        with formatter.section("Verbs"):
            formatter.write_dl(rows)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """A first word that is no verb is the source of an `svd`; a verb without a plan is one only where a file is called so."""
        from streamsvd.checks.paths import local_path

        if args and args[0] not in ("-h", "--help") and args[0] not in self.list_commands(ctx):
            if args[0] in COMMANDS and not local_path(args[0], "source").exists():
                self._refuse(ctx, args[0])
            args = ["svd", *args]
        return super().parse_args(ctx, args)

    def _refuse(self, ctx: click.Context, verb: str) -> NoReturn:
        """Raise for a verb that has no plan.

        Raises
        ------
        UsageError
            It names those that have one.
        """
        planned = self.list_commands(ctx)
        parts = [name for name in planned if name.startswith(f"{verb}-")]
        found: Any = import_module(f"streamsvd.cli.{verb}").command
        instead = ""
        if parts:
            instead = f" Pass {' or '.join(parts)}."
        elif any(p.name == "memory" for p in found.params):
            instead = f" Run streamsvd {verb} itself: where --memory is too small it says so, and how much does."
        raise click.UsageError(
            f"{verb} has no plan; {', '.join(planned)} have one.{instead} A file of that name is ./{verb}.",
            ctx,
        )


MACHINES = options.stack_options(
    click.option(
        "--threads",
        type=int,
        metavar="T",
        help="Of each worker: a plan for a cluster that is not there [1].",
    ),
    click.option("--worker-memory", metavar="BYTES", help="Limit of a worker, such as 4GiB."),
    click.option(
        "--bandwidth",
        metavar="SPEED",
        help="Of the link of each process, such as 10Gbit/s or 1.25GB/s [10Gbit/s].",
    ),
    click.option(
        "--source-bandwidth",
        metavar="SPEED",
        help="That the store gives to all together, in decoded bytes, such as 20GB/s.",
    ),
    click.option(
        "--thread-rate",
        metavar="SPEED",
        help="Decoded bytes that a thread reads and multiplies [as the plan expects].",
    ),
    click.option(
        "--price-per-hour", type=float, metavar="X", help="Of one worker, in any currency."
    ),
)
"""What a cluster is like that is not there, or what an active one does not say of itself."""
WORKERS_HELP = "Threads [one per core]; beside --threads, --worker-memory or --bandwidth: workers of a cluster."
INPUTS = {"sides": "b", "targets": "y"}
"""Options that are read from files, and the arguments that they become."""
STORED_ARGUMENTS = {"model": "model", "result": "path"}
"""Arguments that name what is kept already: verbs take them before the matrix."""
PLACES = (
    "source", "variable", "rows", "missing", *TRANSFORMS, "collection", "scheduler", "workers", "as_json",
)  # fmt: skip
COLLECTION = ("select", "transpose", "columns", "cut")
"""Of collections, beside these."""


def plan_command(verb: Verb) -> click.Command:
    """A command like that of a verb, which says what it would read and need."""
    command: Any = import_module(f"streamsvd.cli.{verb.command.split()[0]}").command
    for word in verb.command.split()[1:]:
        command = command.commands[word]
    asked = inspect.signature(verb.resolve("plan")).parameters
    places: tuple[str, ...] = PLACES
    if any(p.name == "collection" for p in command.params):
        places = (*PLACES, *COLLECTION)
    of_a_model = any(p.kind is p.VAR_KEYWORD for p in asked.values())
    names = INPUTS | STORED_ARGUMENTS
    params = [
        _as_planned(p)
        for p in command.params
        if p.name in places
        or names.get(p.name, p.name) in asked
        or (of_a_model and p.name != "quiet")
    ]
    params = _with_machines(params)

    is_written = any(p.name == "out" and p.required for p in command.params)

    def show(**given: Any) -> None:
        if is_written and "out" in given:
            given["out"] = given["out"] or "out"  # any path stands for where the verb writes
        show_plan(verb, given)

    return click.Command(
        verb.command.replace(" ", "-"), params=params, callback=show, short_help=f"Of {verb.name}.",
        help=f"What `{verb.command}` would read and need; reads no value.",
    )  # fmt: skip


def _with_machines(params: list[click.Parameter]) -> list[click.Parameter]:
    """The parameters with those of clusters, and their place at the end but for ``--json``."""
    carrier: Any = options.machine(MACHINES(lambda: None))
    known = {p.name for p in params}
    more = [p for p in reversed(carrier.__click_params__) if p.name not in known]
    at = next((i for i, p in enumerate(params) if p.name == "as_json"), len(params))
    return [_with_help(p) for p in (*params[:at], *more, *params[at:])]


def _with_help(param: click.Parameter) -> click.Parameter:
    """The parameter; of the number of workers with what it means to a plan."""
    if param.name != "workers" or not isinstance(param, click.Option):
        return param
    found = copy(param)
    found.help = WORKERS_HELP
    return found


@contextmanager
def planned_machines(given: dict[str, Any]) -> Iterator[None]:
    """Plans made inside are for what was given of machines, which is taken out."""
    from streamsvd.engine.machines import MachineOptions, planning_for
    from streamsvd.engine.schedulers import use_scheduler
    from streamsvd.verbs import MACHINES as NAMES

    scheduler, workers = given.pop("scheduler", None), given.pop("workers", None)
    said = {name: given.pop(name, None) for name in NAMES if name != "workers"}
    if scheduler is None and any(value is not None for value in said.values()):
        said["workers"], workers = workers, None
    with use_scheduler(scheduler, workers), planning_for(MachineOptions(**said)):
        yield


def _as_planned(param: click.Parameter) -> click.Parameter:
    """The parameter; a plan cannot do without a source where its command can, and needs no place where its command writes."""
    is_needed = {"source": True, "out": False}.get(param.name or "", param.required)
    if is_needed == param.required:
        return param
    found = copy(param)
    found.required = is_needed
    return found


def show_plan(verb: Verb, given: dict[str, Any]) -> None:
    """The plan of a verb, in words or as an object."""
    from streamsvd.cli.convert import convertible
    from streamsvd.cli.files import read_npy, weight_arguments
    from streamsvd.cli.present import show_json
    from streamsvd.cli.sources import (
        fit_note,
        is_weighted_as_read,
        layer_variable,
        open_for_model,
        open_graph,
        open_source,
    )

    as_json = given.pop("as_json", False)
    with planned_machines(given):
        if "collection" in given:
            A = options.take_collection(given.pop("collection"), given)
            given |= weight_arguments(given.pop("row_weights"), given.pop("column_weights"))
        else:
            names = ("variable", "rows", "missing")
            place = {name: given.pop(name) for name in ("source", *names)}
            place["variable"] = layer_variable(place["variable"], given.pop("layer", None))
            if verb.name == "convert":
                A = convertible(**place)
            elif verb.command == "embed":
                A = open_graph(**place)
            elif "model" in given:
                A, given = open_for_model(given["model"], given, **place)
            else:
                weighs = "result" not in given or is_weighted_as_read(given["result"])
                A = open_source(**place, weighs=weighs, kept=given.get("result"))
        kept = [given.pop(name) for name in STORED_ARGUMENTS if name in given]
        given = {
            INPUTS.get(name, name): read_npy(INPUTS[name], value) if name in INPUTS else value
            for name, value in given.items()
            if value is not None
        }
        plan = verb.resolve("plan")(*kept, A, **given)
        before = fit_note(A, given.get("memory"))
    if as_json:
        show_json("plan", {"status": "planned", **asdict(plan), "before": before})
        return
    click.echo("\n".join(filter(None, [before, plan.explain()])))


@click.group("plan", cls=Plans, short_help="Passes, bytes, memory and time, before any of it.")
def command() -> None:
    """What a verb would read and need, before anything is read.

    `streamsvd plan SOURCE ...` is the plan of `svd`, `streamsvd plan VERB SOURCE ...` that of another verb.
    """


plan_options = options.stack_options(
    options.source,
    factoring.accuracy,
    options.memory,
    factoring.transforms,
    factoring.method,
    click.option("--u/--no-u", default=False, help="With the left factor."),
    options.checkpoint,
    click.option(
        "--calibrate", is_flag=True, help="Measure this machine and the source first (about 2 s)."
    ),
    click.option(
        "--scheduler", metavar="ADDRESS", help="Plan for this cluster, such as tcp://10.0.0.1:8786."
    ),
    click.option("--workers", type=click.IntRange(1, 1_000_000), metavar="N", help=WORKERS_HELP),
    MACHINES,
    options.as_json,
)


@command.command("svd", short_help="Of a factorisation, with the time it takes.")
@factoring.center
@plan_options
def plan_factorisation(**given: Any) -> None:
    """What `svd` would do, and what it would cost; reads no data unless asked to calibrate."""
    show_factorisation(**given)


@command.command("pca", short_help="Of principal components, with the time they take.")
@plan_options
def plan_components(**given: Any) -> None:
    """What `pca` would do, and what it would cost; reads no data unless asked to calibrate."""
    show_factorisation(center=True, **given)


def show_factorisation(
    source: str,
    *,
    variable: str | None,
    rows: Any,
    missing: str,
    u: bool,
    calibrate: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """The plan of a factorisation, in words or as an object."""
    from streamsvd.cli.factor_run import matrix_arguments
    from streamsvd.cli.present import show_json
    from streamsvd.cli.progress import say
    from streamsvd.cli.sources import fit_note, fit_source, open_source, option_weights
    from streamsvd.factor.calibration import measure_speeds
    from streamsvd.factor.svd import plan_svd

    with planned_machines(given):
        A = open_source(source, variable, rows, missing, weighs=False)
        for text in getattr(A, "remarks", ()):
            say(text)
        # U goes to disk from the command line: any path stands for that.
        given = option_weights(A, matrix_arguments(given)) | {"u": u, "out": "U" if u else None}
        plan = plan_svd(A, **given)
        if calibrate:
            A = fit_source(A, given["memory"])
        rates = measure_speeds(A, plan) if calibrate else None
        if rates is not None:
            plan = plan_svd(A, **given, rates=rates)
        before = fit_note(A, given["memory"])
    if as_json:
        show_json("plan", plan_record(plan, A, rates) | {"before": before})
        return
    click.echo("\n".join(filter(None, [before, plan.explain()])))
    if rates is not None:
        click.echo("  measured   " + show_rates(rates))


def show_rates(rates: Speeds) -> str:
    """Speeds of one core in one line."""
    return (
        f"a core reads {rates.read / 1e9:.2f} GB/s, multiplies {rates.single / 1e9:.0f} GFLOP/s in single and "
        f"{rates.double / 1e9:.0f} in double precision"
    )


def plan_record(plan: Plan, A: Source, rates: Speeds | None) -> dict[str, Any]:
    """What ``plan --json`` prints of a plan for ``A``."""
    layout = plan.layout
    return {
        "status": "planned",
        "name": plan.name,
        "shape": plan.shape,
        "dtype": plan.dtype,
        "nbytes": plan.nbytes,
        "passes": plan.passes,
        "bytes_read": plan.bytes_read,
        "is_cached": plan.is_cached,
        "projected_bytes": plan.projected_bytes,
        "budget_bytes": plan.budget_bytes,
        "seconds": plan.seconds,
        "notes": plan.notes,
        "route": plan.route,
        "block": plan.block,
        "probes": plan.probes,
        "basis": plan.basis,
        "sample_rows": plan.sample_rows,
        "workers": plan.workers,
        "at_once": plan.at_once,
        "prefetch": plan.prefetch,
        "device": plan.device,
        "tasks": plan.tasks,
        "axis": layout.axis,
        "panel": layout.panel,
        "unit": layout.unit,
        "tile": layout.tile,
        "spans": len(layout.spans),
        "request": request_record(plan, A),
        "alternatives": [asdict(alternative) for alternative in plan.alternatives],
        "rates": None if rates is None else asdict(rates),
        "cluster": None if plan.cluster is None else asdict(plan.cluster),
    }


def request_record(plan: Plan, A: Source) -> dict[str, Any]:
    """What was asked, under the keys that scripts know."""
    from streamsvd.factor.planning import planned_view
    from streamsvd.factor.problem import matrix_options

    options = plan.options
    view = planned_view(A, options.mask)
    matrix = matrix_options(view.source, options, view.take(options.column_weights))
    return {
        "rank": plan.rank,
        "energy": options.energy_share,
        "tol": options.width_tol,
        "center": matrix.center,
        "scale": matrix.scale,
        "masked": matrix.has_fills_or_weights,
        "blanked": not matrix.support.whole,
        "u": options.u,
        "u_in_memory": options.keeps_u_in_memory,
        "bounds": options.wants_bounds,
        "max_passes": options.max_passes,
        "precision": options.precision,
        "target": options.target,
        "excess_tol": options.excess_tol,
        "has_saves": options.has_saves,
    }
