"""What a certificate proves, in sentences: the same words in results, on the command line and in errors."""

from __future__ import annotations

import numpy as np

from streamsvd.numerics.certificate import Certificate, Kind

SHOWN_GROUPS = 2
"""Groups of values that a sentence names; of the others it says how many values they hold."""


def describe_values(c: Certificate) -> str:
    """How many values are resolved, and how the others lie."""
    k, flags = c.sigma_upper.size, c.resolved
    if flags.all():
        return (
            f"all {k} values resolved to {c.tol:g}" if k > 1 else f"the value resolved to {c.tol:g}"
        )
    text = f"{int(flags.sum())} of {k} values resolved to {c.tol:g}"
    loose = [g for g in c.groups if not flags[g.first : g.last + 1].all()]
    for group in loose[:SHOWN_GROUPS]:
        apart = " and are not told apart" if group.size > 1 else ""
        between = f"between {round_down(group.lower)} and {round_up(group.upper)}"
        text += f"; {index_phrase('value', group.first, group.last)} {between}{apart}"
    if len(loose) > SHOWN_GROUPS:
        rest = sum(group.size for group in loose[SHOWN_GROUPS:])
        text += f"; {rest} more are not resolved"
    return text


def describe_error(c: Certificate) -> str:
    """How far the error is from the best of the rank; empty where nothing of the kind is proved."""
    k = c.sigma_upper.size
    if c.error_vanishes:
        return "the factors hold all that float64 can tell from zero"
    if not np.isfinite(c.excess):
        return ""
    sure = "estimated, nothing is proved"
    if c.kind is Kind.BOUNDS:
        sure = "proved"
        if c.failure_probability > 0:
            sure += f", failure probability {c.failure_probability:g}"
    return f"the error is at most {percent(c.excess)} above the best of rank {k} ({sure})"


def describe_vectors(c: Certificate) -> str:
    """Which vectors mean something by themselves; empty where all do."""
    flags = c.resolved
    loose = [g for g in c.groups if g.size > 1 and not flags[g.first : g.last + 1].all()]
    if not loose:
        return ""
    names = ", ".join(f"{g.first + 1}..{g.last + 1}" for g in loose[:SHOWN_GROUPS])
    many = len(loose) > 1
    text = f"vectors {names} span {'subspaces' if many else 'one subspace'}; single ones there mean nothing"
    r = c.resolved_count
    if r and np.isfinite(c.resolved_angle_bound):
        text += f"; the first {r} are within an angle of sine {round_up(c.resolved_angle_bound, 2)}"
    return text


def describe_briefly(c: Certificate) -> str:
    """Values and error in a few words."""
    count, k = int(c.resolved.sum()), c.sigma_upper.size
    text = f"{count} of {k} values resolved to {c.tol:g}"
    if count < k and np.isfinite(c.excess):
        text += f", error within {percent(c.excess)} of the best"
    return text


def index_phrase(what: str, first: int, last: int) -> str:
    """``value 4 lies``, ``values 4..10 lie``; from indices that begin with 0."""
    if first == last:
        return f"{what} {first + 1} lies"
    return f"{what}s {first + 1}..{last + 1} lie"


def percent(x: float) -> str:
    """A share in per cent, rounded up to two digits."""
    return f"{round_up(100 * x, 2)} %"


def round_up(x: float, digits: int = 4) -> str:
    """A number rounded up: what is said of it as an upper end still holds."""
    return _round_outward(x, digits, up=True)


def round_down(x: float, digits: int = 4) -> str:
    """A number rounded down."""
    return _round_outward(x, digits, up=False)


def _round_outward(x: float, digits: int, *, up: bool) -> str:
    text = f"{x:.{digits}g}"
    value = float(text)
    if np.isfinite(x) and x != 0 and (value < x if up else value > x):
        step = 10.0 ** (np.floor(np.log10(abs(x))) - digits + 1)
        text = f"{value + (step if up else -step):.{digits}g}"
    return text


def show_bytes(count: float) -> str:
    """Bytes for people: ``"256 MiB"``."""
    for unit, size in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{int(count)} B"
