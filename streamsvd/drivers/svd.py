"""Truncated SVD of a stored matrix: sample start, fused block Krylov passes, stop on the certificate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import linalg

from streamsvd import krylov
from streamsvd.certificate import (
    UNIT_ROUNDOFF,
    Bracket,
    Certificate,
    Kind,
    Probes,
    Ritz,
    bracket,
    certify,
    rounding,
    share,
    spectral_norm,
    tail_norm,
)
from streamsvd.drivers.problem import Frame, Options, Statistics, column_scale, statistics
from streamsvd.engine.events import Callback, PassDone, ignore
from streamsvd.engine.execute import Runner
from streamsvd.engine.layout import Layout
from streamsvd.engine.meter import Mark, mark, peak_since
from streamsvd.engine.plan import Plan
from streamsvd.engine.sample import Pilot, draw, pilot, start_block
from streamsvd.engine.span import Sink
from streamsvd.kernels import sketch
from streamsvd.kernels.signs import phases
from streamsvd.passes import GramPass, NormalPass, Preparation, ProjectPass, Sums, Thin
from streamsvd.protocols import Source
from streamsvd.result import Info, Status
from streamsvd.typing import Matrix, Real

SINGLE_NOISE = 5e-8
"""Rounding of float32 products in the norm of ``B``, relative to its largest eigenvalue, as certified."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is known after a pass: intervals, vectors, and whether that is enough."""

    rank: int
    found: Bracket
    certificate: Certificate
    done: bool


@dataclass(frozen=True, slots=True, eq=False)
class Settings:
    """How far to go: tolerances and the budget of passes."""

    rank: int
    energy: float | None
    tol: float
    delta: float
    kind: Kind
    max_passes: int
    seed: int


@dataclass(eq=False)
class Factorisation:
    """A run of the method on one source by one plan; `looks` is the loop, `finish` the factors."""

    source: Source
    plan: Plan
    options: Options
    settings: Settings
    notify: Callback = ignore
    started: float = field(default_factory=time.perf_counter)
    memory: Mark = field(default_factory=mark)
    widths: list[float] = field(default_factory=list)
    best: Look | None = None
    sampled_bytes: int = 0

    def __post_init__(self) -> None:
        plan = self.plan
        self.runner = Runner(
            self.source, plan.workers, plan.prefetch, plan.device, self._watched
        )
        self.layout: Layout = plan.layout
        self.complex = self.source.dtype.kind == "c"
        self.single = False
        self.prep = Preparation("rows")
        self.stats: Statistics | None = None
        self.missing = 0.0
        self.features: tuple[Matrix, Real] | None = None
        self.alpha = 1.0

    def _watched(self, event: Any) -> None:
        if isinstance(event, PassDone) and self.widths:
            event = replace(event, width=self.widths[-1])
        self.notify(event)

    # The start ------------------------------------------------------------------------------------

    def begin(self) -> Matrix:
        """Read the sample; decide pilot, magnitude and precision; return the start block (pushed later)."""
        plan, options, layout = self.plan, self.options, self.layout
        sample = draw(self.source, layout, plan.sample_rows, seed=self.settings.seed)
        self.sampled_bytes = sample.bytes_read
        needed = options.center or options.scale or options.nonfinite != "raise"
        guess = pilot(sample, self.source, layout, policy=options.nonfinite, moments=needed)
        narrow_ok = self.source.dtype.itemsize <= (8 if self.complex else 4)
        narrow_ok = narrow_ok and not (self.source.dtype.kind in "iu" and self.source.dtype.itemsize > 2)
        self.single = narrow_ok and plan.request.precision != "double" and plan.route == "krylov"
        self.resume(guess)
        if plan.route == "gram":
            return np.zeros((layout.width, 0))
        start = start_block(sample, self.prep, self.pilot_d, plan.block, seed=self.settings.seed)
        if self.single and plan.request.precision == "auto":
            self._choose_precision(start.theta)
        return start.Q

    def resume(self, guess: Pilot) -> None:
        """Take pilot moments as given: those of the sample, or of a result that is verified."""
        self.alpha = guess.alpha
        self.prep = self._preparation(guess)
        self.dropped = guess.holes & (self.options.nonfinite == "drop_columns")
        self.pilot_d = self._pilot_scale(guess)

    def _preparation(self, guess: Pilot) -> Preparation:
        options, rows = self.options, self.layout.axis == "rows"
        center = guess.mean if options.center and rows else None
        prep = Preparation(
            axis=self.layout.axis,
            alpha=guess.alpha,
            weights=options.row_weights,
            column_weights=None if rows else options.column_weights,
            center=options.center,
            scale=options.scale,
            policy=options.nonfinite,
            single=self.single,
            complex_=self.complex,
        )
        if center is not None:  # what is subtracted is the rounded pilot, and the correction knows it
            center = center.astype(prep.narrow).astype(prep.wide)
        fill = None
        if rows and options.nonfinite != "raise":
            fill = np.zeros(self.layout.width, dtype=prep.wide)
            if options.nonfinite == "mean":
                fill = guess.mean.astype(prep.wide)
        return replace(prep, pilot=center, fill=fill)

    def _pilot_scale(self, guess: Pilot) -> Real:
        """Scale of the thin coordinates before the true one is known; never zero but where dropped."""
        if self.layout.axis == "columns":
            weights = self.options.row_weights
            return np.ones(self.layout.width) if weights is None else np.sqrt(weights)
        deviation = guess.deviation * self.alpha
        positive = deviation[deviation > 0]
        typical = float(np.median(positive)) if positive.size else 1.0
        deviation = np.where(deviation > 0, deviation, typical)
        return column_scale(self.options, deviation, self.dropped, self.layout.width)

    def _choose_precision(self, theta: Real) -> None:
        """Double where float32 rounding would widen the interval of the last value beyond the tolerance."""
        k = min(self.settings.rank, theta.size) - 1
        top, last = float(theta[0]), float(theta[k])
        noise = SINGLE_NOISE * top
        if self.settings.energy is None and 3 * noise > self.settings.tol * last:
            self._widen()

    def _widen(self) -> None:
        self.single = False
        self.prep = replace(self.prep, single=False)

    # Passes ---------------------------------------------------------------------------------------

    def _normal(self, blocks: tuple[Thin, ...], *, moments: bool, purpose: str) -> Sums:
        return self.runner(
            self.layout, NormalPass(self.prep, blocks, moments=moments), purpose
        )

    def first_pass(self, Q: Matrix) -> tuple[krylov.Space, Probes | None]:
        """Products with the start block and the probes, and every moment, in one read."""
        settings, plan = self.settings, self.plan
        omega = sketch.gaussian(
            self.layout.width, plan.probes, seed=settings.seed, purpose="probes", complex_=self.complex
        )
        while True:
            guess = Frame(self.pilot_d, None, 0.0)
            thin = guess.push(Q, self.prep.narrow if self.single else self.prep.wide)
            probe = omega * (self.pilot_d)[:, None]
            blocks = (Thin(thin, self.single), Thin(probe, False))[: 2 if plan.probes else 1]
            sums = self._normal(blocks, moments=True, purpose="products, moments and probes")
            again = self._absorb(sums)
            assert self.stats is not None
            frame = self.stats.frame
            known = krylov.space(frame.seen(thin), frame.pull(sums.products[0], thin))
            if not again:
                break
            Q = krylov.orthonormal(frame.pull(sums.products[0], thin))  # only a start, not a product
            self.pilot_d = frame.d
        if not plan.probes:
            return known, None
        ratio = self.pilot_d[frame.d > 0] / frame.d[frame.d > 0]
        n = self.layout.width + self.layout.unit
        probes = Probes(
            omega=frame.seen(probe),
            product=frame.pull(sums.products[1], probe),
            floor=8 * UNIT_ROUNDOFF * float(np.sqrt(n)) * self.stats.gross,
            spread=float(ratio.min(initial=1.0)) if ratio.size else 1.0,
            dof=2 if self.complex else 1,
        )
        return known, probes

    def _absorb(self, sums: Sums) -> bool:
        """Take in the moments; True where the products must be made again with what they tell."""
        total = sums.moments
        assert total is not None
        self.missing = float(np.sum(total.missing))
        if self.layout.axis == "columns":
            order = sorted(total.features, key=lambda feature: feature[0])
            mean = np.concatenate([f[1] for f in order])
            deviation = np.concatenate([f[2] for f in order])
            self.features = (mean, deviation)
            frame = Frame(self.pilot_d, None, 0.0)
            self.stats = Statistics(frame, total.energy, total.energy, mean, deviation)
            return False
        width = self.layout.width
        holes = total.missing > 0
        fresh = np.zeros(width, dtype=bool)
        if self.options.nonfinite == "drop_columns":
            fresh = holes & ~self.dropped
            self.dropped = self.dropped | holes
        pilot_mean = self.prep.pilot
        if pilot_mean is None:
            pilot_mean = np.zeros(width, dtype=self.prep.wide)
        self.stats = statistics(
            self.options, total, pilot=pilot_mean, alpha=self.alpha, dropped=self.dropped
        )
        if self.options.nonfinite == "mean" and holes.any() and not self._mean_filled:
            self._mean_filled = True
            self.prep = replace(self.prep, fill=self.stats.mean)
            return True
        return bool(fresh.any())

    _mean_filled: bool = False

    def next_pass(
        self, ritz: Ritz, probes: Probes | None
    ) -> tuple[krylov.Space, Probes | None] | None:
        """Append one block to the space; None where there is nothing left to append."""
        assert self.stats is not None
        frame, plan = self.stats.frame, self.plan
        limit = frame.dimension
        if self.single and 3 * SINGLE_NOISE * ritz.theta[0] > self.settings.tol * self._wanted(ritz):
            # float32 can no longer resolve the last value: the best vectors are multiplied anew in float64
            self._widen()
            ritz = krylov.compressed(ritz, min(ritz.theta.size, plan.block))
            thin = frame.push(ritz.V, self.prep.wide)
            sums = self._normal((Thin(thin, False),), moments=False, purpose="products in float64")
            fresh = krylov.space(frame.seen(thin), frame.pull(sums.products[0], thin))
            if probes is not None:
                probes = replace(probes, basis=None, powers=(), inputs=())
            return fresh, probes
        if ritz.theta.size + 1 > plan.basis and ritz.theta.size < limit:
            ritz = krylov.compressed(ritz, max(plan.basis - plan.block, self.settings.rank + 1))
            if probes is not None:  # the space no longer holds the basis that deflated them
                probes = replace(probes, basis=None, powers=(), inputs=())
        noise = 2 * ritz.skew + UNIT_ROUNDOFF * self.stats.gross
        width = min(plan.block, plan.basis - ritz.theta.size) or plan.block
        block = krylov.next_block(ritz, width, noise, limit)
        if block.shape[1] == 0 and probes is None:
            return None
        kind = self.prep.narrow if self.single else self.prep.wide
        pushed = frame.push(block, kind)
        parts = [pushed]
        basis = krylov.orthonormal(np.concatenate([ritz.V, frame.seen(pushed)], axis=1))
        if probes is not None:
            parts.append(frame.push(probes.deflated(basis), kind))
        thin = np.concatenate(parts, axis=1)
        sums = self._normal((Thin(thin, self.single),), moments=False, purpose="products and probes")
        product = frame.pull(sums.products[0], thin)
        size = block.shape[1]
        if probes is not None:
            probes = probes.extended(basis, frame.seen(parts[1]), product[:, size:])
        if size == 0:
            return krylov.Space(ritz.V, ritz.V * ritz.theta + ritz.R), probes
        return krylov.grown(ritz, frame.seen(pushed), product[:, :size]), probes

    def _wanted(self, ritz: Ritz) -> float:
        if self.settings.energy is not None:
            return float(ritz.theta[0])
        k = min(self.settings.rank, ritz.theta.size) - 1
        return max(float(ritz.theta[k]), 0.0)

    # Looks ----------------------------------------------------------------------------------------

    def looks(self) -> Iterator[Look]:
        """The loop: one look after each pass, until the certificate is met or passes run out."""
        Q = self.begin()
        if self.plan.route == "gram":
            yield self._keep(self.gram_look())
            return
        known, probes = self.first_pass(Q)
        number = 0
        while True:
            number += 1
            ritz = krylov.learn(known)
            yield self._keep(self.look(ritz, probes, number))
            if self.runner.passes >= self.settings.max_passes:
                return
            if probes is not None and known.size >= self._dimension() and number > 1:
                return  # the space is everything: more passes teach nothing
            step = self.next_pass(ritz, probes)
            if step is None:
                return
            known, probes = step

    def _dimension(self) -> int:
        assert self.stats is not None
        return self.stats.frame.dimension

    def _keep(self, look: Look) -> Look:
        self.best = look
        self.widths.append(look.certificate.relative_width)
        return look

    def look(self, ritz: Ritz, probes: Probes | None, number: int) -> Look:
        """Bracket and certificate of what the space holds."""
        assert self.stats is not None
        settings, stats = self.settings, self.stats
        searching = settings.energy is not None
        count = min(settings.rank, self._dimension())
        floor = 8 * UNIT_ROUNDOFF * float(np.sqrt(self.layout.width)) * stats.gross
        if probes is not None:
            each = share(settings.delta, number)
            noise = rounding(ritz, probes, delta=each, needed=min(count, ritz.theta.size) - 1)
        else:
            noise = np.full(ritz.theta.shape, 4 * ritz.skew + floor)
        outside = max(stats.energy - float(np.sum(ritz.theta)), 0.0) + float(np.sum(noise)) + floor
        beta = outside
        if ritz.theta.size >= self._dimension():
            beta = 0.0
        elif probes is not None:
            beta = min(beta, tail_norm(ritz.V, probes, delta=each))
        else:
            beta = min(beta, max(float(ritz.theta[-1]), 0.0))
        found = bracket(ritz, beta=beta, noise=noise, count=count)
        rank = self._rank(found) if searching else count
        certificate = certify(
            found,
            rank=rank,
            energy=stats.energy,
            energy_slack=floor,
            nu=float(noise[min(rank, ritz.theta.size) - 1]),
            beta=beta,
            failure_probability=settings.delta if probes is not None else 1.0,
            kind=settings.kind,
        )
        return Look(rank, found, certificate, self._done(found, certificate, rank))

    def _rank(self, found: Bracket) -> int:
        """Smallest rank whose proved energy is what was asked; all that is proved where none is."""
        assert self.stats is not None
        assert self.settings.energy is not None
        captured = np.cumsum(found.lower)
        enough = captured >= self.settings.energy * self.stats.energy * (1 - 1e-12)
        if enough.any():
            return int(np.argmax(enough)) + 1
        return max(1, int(np.count_nonzero(found.lower > 0)))

    def _done(self, found: Bracket, certificate: Certificate, rank: int) -> bool:
        if certificate.relative_width > self.settings.tol:
            return False
        if self.settings.energy is None:
            return True
        assert self.stats is not None
        wanted = self.settings.energy * self.stats.energy * (1 - 1e-12)
        return float(np.sum(found.lower[:rank])) >= wanted

    def gram_look(self) -> Look:
        """The Gram matrix, and its eigenvalues with the rounding of its sums as their interval."""
        width = self.layout.width
        fold = GramPass(self.prep, width)
        again = True
        while again:
            sums = self.runner(self.layout, replace(fold, prep=self.prep), "Gram matrix and moments")
            again = self._absorb(sums) and self.options.nonfinite == "mean"
        assert self.stats is not None
        stats, settings = self.stats, self.settings
        frame = stats.frame
        G = sums.products[0]
        if frame.delta is not None:
            G -= frame.weight * np.outer(frame.delta.conj(), frame.delta)
        G *= np.outer(frame.d, frame.d)
        count = min(settings.rank, width, *self.source.shape)
        first = max(width - count - 1, 0)
        theta, V = linalg.eigh(
            G, subset_by_index=(first, width - 1), overwrite_a=True, check_finite=False
        )
        theta, V = theta[::-1], V[:, ::-1]
        floor = 8 * UNIT_ROUNDOFF * float(np.sqrt(width + self.layout.unit)) * stats.gross
        values = np.zeros(count + 1)
        values[: min(count + 1, theta.size)] = theta[: count + 1]
        found = Bracket(
            lower=np.maximum(values[:count] - floor, 0.0),
            upper=np.maximum(values + floor, 0.0),
            vectors=V[:, :count],
            values=np.maximum(values[:count], 0.0),
        )
        rank = self._rank(found) if settings.energy is not None else count
        certificate = certify(
            found,
            rank=rank,
            energy=stats.energy,
            energy_slack=floor,
            nu=floor,
            beta=0.0,
            failure_probability=0.0,
            kind=settings.kind,
        )
        return Look(rank, found, certificate, self._done(found, certificate, rank))

    # Factors --------------------------------------------------------------------------------------

    def factors(
        self, look: Look, *, sink: Sink | None, want_u: bool
    ) -> tuple[Real, Matrix, Matrix | None, Certificate]:
        """``s, Vh, U`` (None where a sink took it or it was not asked for) and the final certificate."""
        s = np.sqrt(look.found.values[: look.rank]) / self._unit
        V = look.found.vectors[:, : look.rank]
        if V.shape[1] < look.rank:
            V = _completed(V, look.rank, self.settings.seed)
        V = V * phases(V)[None, :]
        certificate = look.certificate.scaled(1 / self._unit)
        if self.layout.axis == "columns":
            U = V
            Y = self._project(U, s, None)
            V = _completed(_cleaned(Y, s), look.rank, self.settings.seed)
            turn = phases(V)
            V, U = V * turn, U * turn
            certificate = replace(certificate, orthogonality=_orthogonality(V))
            if want_u and sink is not None:
                sink.write(0, U)
            return s, V.conj().T, U if want_u and sink is None else None, certificate
        if not want_u:
            return s, V.conj().T, None, certificate
        return s, V.conj().T, self._project(V, s, sink), certificate

    @property
    def _unit(self) -> float:
        """Factor between the matrix multiplied and the matrix asked for."""
        return 1.0 if self.options.scale else self.alpha

    def _project(self, V: Matrix, s: Real, sink: Sink | None) -> Any:
        """The other factor, row by row, in one pass; the rows themselves where no sink takes them."""
        assert self.stats is not None
        frame = self.stats.frame
        pushed = V * frame.d[:, None]
        zero = np.zeros(V.shape[1], dtype=pushed.dtype)
        shift = zero if frame.delta is None else frame.delta @ pushed
        inside = s > UNIT_ROUNDOFF**0.5 * max(float(s[0]), 1e-300)
        divide = np.divide(1 / self._unit, s, out=np.zeros_like(s), where=inside)
        dtype = self.prep.narrow if sink is not None else self.prep.wide
        fold = ProjectPass(self.prep, Thin(pushed, self.single), shift, divide, dtype)
        sums = self.runner(self.layout, fold, "the other factor", sink)
        if sink is not None:
            return None
        return np.concatenate([rows for _, rows in sums.pieces], axis=0)

    def info(self, status: Status) -> Info:
        """The record of the run."""
        read = self.runner.bytes_read + self.sampled_bytes
        dropped: tuple[int, ...] = ()
        if self.stats is not None and self.layout.axis == "rows":
            dropped = tuple(int(j) for j in np.flatnonzero(self.stats.frame.d == 0))
        return Info(
            status=status,
            passes=read / self.source.nbytes,
            bytes_read=read,
            peak_bytes=peak_since(self.memory),
            projected_bytes=self.plan.projected_bytes,
            elapsed_s=time.perf_counter() - self.started,
            n_rows=self.source.shape[0],
            route=self.plan.route,
            axis=self.layout.axis,
            precision="single" if self.single else "double",
            missing=round(self.missing),
            dropped_columns=dropped,
            widths=tuple(self.widths),
            seed=self.settings.seed,
        )


def _cleaned(Y: Matrix, s: Real) -> Matrix:
    """Columns of ``Y`` that belong to positive values, made orthonormal to the last digit."""
    alive = int(np.count_nonzero(np.any(Y != 0, axis=0) & (s > 0)))
    Q, R = linalg.qr(Y[:, :alive], mode="economic", check_finite=False)
    turn = np.diagonal(R)
    size = np.abs(turn)
    return np.asarray(Q * np.divide(turn, size, out=np.ones_like(turn), where=size > 0))


def _completed(V: Matrix, rank: int, seed: int) -> Matrix:
    """``V`` with further orthonormal columns, for values that are zero and have no direction of their own."""
    lacking = rank - V.shape[1]
    if lacking <= 0:
        return V
    extra = sketch.gaussian(
        V.shape[0], lacking, seed=seed, purpose="start", complex_=np.iscomplexobj(V)
    )
    for _ in range(2):
        extra = extra - V @ (V.conj().T @ extra)
        extra = krylov.orthonormal(extra)
    return np.concatenate([V, extra], axis=1)


def _orthogonality(V: Matrix) -> float:
    return spectral_norm(V.conj().T @ V - np.eye(V.shape[1]))
