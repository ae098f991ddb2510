"""What was asked and is not proved, what is, and what to do: the message of a run that did not converge."""

from __future__ import annotations

import numpy as np

from streamsvd.engine.memory import show_bytes
from streamsvd.factor.candidates import GRAM_COLUMNS
from streamsvd.factor.iteration import Iteration
from streamsvd.factor.result import SVD
from streamsvd.factor.stopping import is_stalled
from streamsvd.numerics.sentences import describe_error, describe_values, round_up


def shortfall(loop: Iteration, result: SVD) -> str:
    """Both sides, and remedies that work when followed."""
    options, c, info = loop.session.options, result.certificate, result.info
    wanted = []
    if options.target != "error":
        wanted.append(f"every interval within {options.width_tol:g}")
    if options.target != "values" and options.excess_tol > 0:
        wanted.append(f"an error within {float(options.excess_tol):g} of the best of the rank")
    asked = " or ".join(wanted)
    found = describe_values(c)
    if describe_error(c):
        found += f"; {describe_error(c)}"
    if options.energy_share is not None:
        asked += f" and {options.energy_share:.6g} of the energy"
        found += f"; {c.captured:.6g} of the energy is held at rank {result.rank}"
    return (
        f"{asked} was asked; after {info.passes:.3g} passes {found}. {_advice(loop, result)} "
        "The result so far is in the exception's .result."
    )


def _advice(loop: Iteration, result: SVD) -> str:
    """What would converge, cheapest first."""
    session, c = loop.session, result.certificate
    plan, options = session.plan, session.options
    ways = []
    needed = [
        a.projected_bytes
        for a in plan.alternatives
        if a.route == "gram" and a.projected_bytes > plan.budget_bytes
    ]
    if options.searches_rank and result.rank >= min(plan.basis, plan.rank):
        ways.append(
            "give more memory, for a basis that holds more values, or ask for a smaller share of the energy"
        )
    if plan.route == "krylov" and plan.fallback is None and options.wants_bounds:
        if options.route is not None and min(plan.shape) <= GRAM_COLUMNS:
            ways.append("leave route= out, so that the Gram matrix may resolve them")
        elif needed:
            kept = 2 * plan.layout.width * plan.rank * 16  # vectors that stay beside it
            room = min(needed) + kept
            ways.append(
                f"pass memory={room} ({show_bytes(room)}), room for the Gram matrix, which resolves them in one pass"
            )
    on = 0 < loop.ahead.all < np.inf and not is_stalled(loop.history[-1], loop.history[:-1])
    if on:
        ways.append(
            f"pass max_passes={session.passes + 2 * int(loop.ahead.all)}, as about {loop.ahead.all:.0f} more are expected"
        )
    if not options.searches_rank and np.isfinite(c.excess):
        reached = round_up(max(c.excess * 1.01, 1e-12), 2)
        what = f"excess_tol={reached}"
        if options.target == "values":
            what = f'target="error" with excess_tol={reached}'
        ways.append(f"pass {what}, which is proved")
    r = c.resolved_count
    if not options.searches_rank and 0 < r < result.rank and np.isfinite(c.resolved_angle_bound):
        ways.append(f"pass rank={r}, as that many values are resolved")
    if not ways:
        ways.append("pass a larger tol, or more memory")
    text = "; or ".join(ways)
    return f"{text[0].upper()}{text[1:]}."
