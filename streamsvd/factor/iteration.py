"""The loop: a pass, a look, and another pass until the certificate is met."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from streamsvd.engine.memory import POWERS
from streamsvd.errors import ScaleError
from streamsvd.factor.assessment import (
    Assessment,
    PastBounds,
    assess_gram,
    assess_krylov,
    rounding_floor,
)
from streamsvd.factor.candidates import fits_single, sample_threads
from streamsvd.factor.passes import GramPass, NormalPass, PassSums, ThinBlock
from streamsvd.factor.pins import PinContext, pin_vectors
from streamsvd.factor.precision import rounding_exceeds_tol
from streamsvd.factor.problem import Frame
from streamsvd.factor.sample import Pilot, draw_sample, make_pilot, start_block
from streamsvd.factor.session import Beginning, Session
from streamsvd.factor.stopping import (
    Forecast,
    NextStep,
    WaysLeft,
    choose_next_step,
    forecast_passes,
)
from streamsvd.factor.terms import Terms, absorb_moments, rescale_down, terms_from_pilot
from streamsvd.numerics import krylov
from streamsvd.numerics import sketches as sketch
from streamsvd.numerics.certificate import Certificate
from streamsvd.numerics.eigen import leading_eigenpairs
from streamsvd.numerics.intervals import ZERO_LEVEL
from streamsvd.numerics.probes import Probes
from streamsvd.numerics.ritz import Ritz
from streamsvd.numerics.sides import UNIT_ROUNDOFF
from streamsvd.numerics.tail import power_share
from streamsvd.typing import Matrix, Real

ERROR_PASSES = 3
"""Passes after which the error is usually within a hundredth of the best of the rank, whatever the spectrum."""


@dataclass(slots=True, eq=False)
class Iteration:
    """A run of the loop.

    Attributes
    ----------
    session
        What is read, and what was asked.
    terms
        What is known of the matrix so far.
    last
        The last look, which hands on the best vectors of all.
    ahead
        What the last look said of the passes to come.
    history
        What each look has proved.
    criterion
        What the last look has met of what was asked; None while nothing.
    """

    session: Session
    terms: Terms | None = None
    last: Assessment | None = None
    ahead: Forecast = field(default_factory=lambda: Forecast(0.0, 0.0))
    history: list[Certificate] = field(default_factory=list)
    criterion: NextStep | None = None

    @property
    def known_terms(self) -> Terms:
        """The terms; only once the run has begun."""
        assert self.terms is not None
        return self.terms

    def run(self) -> Assessment:
        """Pass after pass until what was asked is proved, or nothing more can be learnt; the last look."""
        if self.session.plan.route == "gram":
            self._begin()
            self._gram()
        else:
            Q = self._begin()
            if Q is None:
                self._gram()
            else:
                self._krylov(Q)
        assert self.last is not None
        return self.last

    def _decide_next(self, look: Assessment, ahead: Forecast, means: WaysLeft) -> NextStep | None:
        """Keep a look, tell of it, and decide what follows."""
        then = choose_next_step(look, self.session.options, ahead, means, self.history, self.ahead)
        self.last, self.ahead = look, ahead
        self.history.append(look.certificate)
        self.session.record_certificate(look.certificate)
        if then in (NextStep.VALUES, NextStep.ERROR):
            self.criterion = then
        return then

    def _begin(self) -> Matrix | None:
        """Read the sample; decide pilot, magnitude and precision; the start block of the Krylov route."""
        session = self.session
        plan, matrix, source = session.plan, session.matrix, session.source
        seed, threads = session.options.seed, sample_threads(plan.at_once)
        single = plan.route == "krylov" and session.options.precision != "double"
        single = single and fits_single(source.dtype)

        def find() -> Beginning:
            counted = matrix.support
            sample = draw_sample(
                source,
                plan.layout,
                plan.sample_rows,
                counted=counted,
                seed=seed,
                threads=plan.sample_readers,
            )
            guess = make_pilot(
                sample,
                source,
                plan.layout,
                policy=matrix.nonfinite,
                moments=matrix.center or bool(matrix.scale) or matrix.nonfinite != "raise",
                counted=counted,
            )
            if plan.route != "krylov":
                return Beginning(guess, None, sample.bytes_read)
            terms = self._terms_from(guess, single)
            start = start_block(
                sample, plan.layout, terms.prep, terms.d, plan.block, seed=seed, threads=threads
            )
            return Beginning(guess, start, sample.bytes_read)

        found = session.begin(find)
        self.terms, start = self._terms_from(found.pilot, single), found.start
        if start is None or self._switch_if_flat(start.theta):
            return None
        if (
            single
            and session.options.precision == "auto"
            and self._rounding_exceeds_tol(start.theta)
        ):
            self.terms = self.terms.in_double()
        return start.Q

    def _terms_from(self, guess: Pilot, single: bool) -> Terms:
        session = self.session
        return terms_from_pilot(
            session.matrix,
            session.plan.layout,
            guess,
            single=single,
            complex_=session.complex_,
        )

    def _switch_if_flat(self, theta: Real) -> bool:
        """Whether the sample's Ritz values already show that the Gram matrix costs less; the run has then gone over to it."""
        session = self.session
        options, plan = session.options, session.plan
        cost = plan.gram_passes
        if cost is None or plan.fallback is None or options.searches_rank:
            return False
        if options.width_tol < 1e-8:  # the rounding of the matrix is not known yet
            return False
        if options.target == "error" or options.max_passes < 1:
            return False
        widths = np.ones(min(plan.rank, theta.size))
        limit = min(plan.layout.width, plan.layout.length)
        ahead = forecast_passes(
            theta,
            widths,
            block=plan.block,
            probes=plan.probes,
            tail_energy=np.inf,
            dimension=limit,
            options=options,
            number=0,
        )
        most = ERROR_PASSES if options.target == "auto" else options.max_passes
        means = WaysLeft(options.max_passes, False, cost, plan.fallback.seconds)
        if cost >= min(ahead.all, most) and not (means.gram_is_cheap and ahead.all > most):
            return False
        self._switch_to_gram("the sample's spectrum is flat at this rank")
        return True

    def _switch_to_gram(self, reason: str) -> None:
        """From the Krylov space to the Gram matrix of the narrow side, by the plan's own other way."""
        session, terms = self.session, self.known_terms
        before = session.plan.layout
        session.switch_to_gram(reason)
        after = session.plan.layout
        if after.axis == before.axis:
            self.terms = terms.in_double()
            return
        if terms.stats is None:
            self.terms = None
            self._begin()
            return
        stats, policy = terms.stats, session.matrix.nonfinite
        nothing = np.zeros(after.width, dtype=bool)
        guess = Pilot(stats.mean, stats.deviation, nothing, terms.prep.alpha)
        terms = terms_from_pilot(
            session.matrix, after, guess, single=False, complex_=session.complex_
        )
        self.terms = replace(terms, mean_filled=policy == "mean")

    def _rounding_exceeds_tol(self, theta: Real) -> bool:
        return rounding_exceeds_tol(theta, self.known_terms, self.session)

    # The Gram route -------------------------------------------------------------------------------

    def _gram(self) -> None:
        session = self.session
        layout, options = session.plan.layout, session.options
        again = True
        while again:
            before = self.known_terms
            fold = GramPass(before.prep, layout.width)
            try:
                sums = session.read(fold, "Gram matrix and moments")
            except ScaleError as error:
                self.terms = rescale_down(before, session.matrix, error.size)
                continue
            assert sums.moments is not None
            self.terms, again = absorb_moments(before, session.matrix, sums.moments)
            again = (
                again and self.known_terms.prep is not before.prep
            )  # columns may leave G as it is
        stats = self.known_terms.known_stats
        G = stats.frame.gram(sums.products[0])
        width = layout.width
        count = min(session.plan.rank, width, *session.source.shape)
        values, wanted = np.zeros(count + 1), min(count + 1, width)
        values[:wanted], V = leading_eigenpairs(G, wanted, overwrite=True)
        floor = rounding_floor(stats, width + layout.unit)
        look = assess_gram(values, V[:, :count], stats, options, floor)
        self._decide_next(look, Forecast(0.0, 0.0), WaysLeft(0, True, None))

    # The Krylov route -----------------------------------------------------------------------------

    def _krylov(self, Q: Matrix) -> None:
        session = self.session
        space, probes = self.first_pass(Q)
        ritz, past = krylov.ritz_of_space(space), PastBounds()
        del space  # the Ritz pairs say all that it did
        while True:
            number, size = len(self.history) + 1, ritz.theta.size
            stats = self.known_terms.known_stats
            look, past = assess_krylov(
                ritz, probes, stats, session.options, number, past, count=session.plan.rank
            )
            whole = size >= stats.frame.dimension
            spent = whole and (number > 1 or not self.known_terms.prep.single)
            then = self._decide_next(
                look, self._forecast(ritz, look), self._ways_left(ritz, look, spent)
            )
            if then is NextStep.GRAM:
                del ritz, probes, past
                self._switch_to_gram(
                    "one pass of it costs less than the passes that would resolve every value"
                )
                self._gram()
                return
            if then is not NextStep.PASS:
                return
            del look
            probes = self._pin_probes(ritz, probes, past)
            chosen = self._next_start(ritz, probes, past)
            if chosen is None:
                return
            ritz, block, probes, past = chosen  # what was compressed is let go before the pass
            del chosen
            if block is None:
                ritz, probes = self._multiply_again(ritz, probes)
            else:
                ritz, probes = self._append_block(ritz, block, probes)
            del block

    def _forecast(self, ritz: Ritz, look: Assessment) -> Forecast:
        """What the Ritz values say of the passes to come; they and the intervals decide what is done, never what is proved."""
        plan, stats = self.session.plan, self.known_terms.known_stats
        return forecast_passes(
            ritz.theta,
            look.certificate.widths,
            block=plan.block,
            probes=plan.probes,
            tail_energy=max(stats.energy - float(np.sum(ritz.theta)), 0.0),
            dimension=stats.frame.dimension,
            options=self.session.options,
            number=len(self.history) + 1,
        )

    def _ways_left(self, ritz: Ritz, look: Assessment, spent: bool) -> WaysLeft:
        """What can still be done; a Gram matrix counts where its rounding leaves the last value resolved."""
        session = self.session
        plan, options, stats = session.plan, session.options, self.known_terms.known_stats
        left = options.max_passes - session.passes
        cost = plan.gram_passes
        last = float(ritz.theta[min(look.rank, ritz.theta.size) - 1])
        smallest = max(last, ZERO_LEVEL**2 * float(ritz.theta[0]))
        if cost is not None and plan.fallback is not None:
            lay = plan.fallback.layout
            if 2 * rounding_floor(stats, lay.width + lay.unit) > options.width_tol * smallest:
                cost = None
        seconds = np.inf if plan.fallback is None else plan.fallback.seconds
        return WaysLeft(left, spent, cost, seconds)

    def _pin_probes(self, ritz: Ritz, probes: Probes | None, past: PastBounds) -> Probes | None:
        if probes is None:
            return None
        whole = self.session.plan.basis >= self.known_terms.known_stats.frame.dimension
        need = PinContext(len(self.history), self.known_terms.prep.single, whole)
        return pin_vectors(ritz, probes, past, self.session.plan, self.session.options.delta, need)

    def _multiply(
        self, blocks: tuple[ThinBlock, ...], purpose: str, *, moments: bool = False
    ) -> PassSums:
        return self.session.read(
            NormalPass(self.known_terms.prep, blocks, moments=moments), purpose
        )

    def first_pass(self, Q: Matrix, *, keep: bool = False) -> tuple[krylov.Space, Probes | None]:
        """Products with the start block and the probes, and every moment, in one read; in two where the terms change.

        Then the second read starts from what the first has made of the block, unless it is that block that is asked about.
        """
        session = self.session
        layout, seed, columns = session.plan.layout, session.options.seed, session.plan.probes
        omega = sketch.gaussian(
            layout.width, columns, seed=seed, purpose="probes", complex_=session.complex_
        )
        again = True
        while again:
            terms = self.known_terms
            guess = Frame(terms.d, None, 0.0)
            thin, probe = guess.push(Q, terms.product_type), guess.push(omega, terms.prep.wide)
            blocks = (ThinBlock(thin, terms.prep.single), ThinBlock(probe, False))[
                : 2 if columns else 1
            ]
            try:
                sums = self._multiply(blocks, "products, moments and probes", moments=True)
            except ScaleError as error:
                self.terms = rescale_down(terms, session.matrix, error.size)
                continue
            assert sums.moments is not None
            self.terms, again = absorb_moments(terms, session.matrix, sums.moments)
            if self.known_terms.stats is None:
                continue  # nothing but zeros in the precision of the sample's power of two
            stats = self.known_terms.known_stats
            frame = stats.frame
            product = frame.pull(sums.products[0], thin)
            if again and not keep:  # then it is only a start, not a product
                Q = krylov.orthonormal_basis(product)
        space = krylov.space_of_block(frame.undo_push(thin), product)
        if not columns:
            return space, None
        kept = frame.d > 0
        ratio = terms.d[kept] / frame.d[kept]
        probes = Probes(
            omega=frame.undo_push(probe),
            product=frame.pull(sums.products[1], probe),
            floor=rounding_floor(stats, layout.width + layout.unit),
            spread=float(ratio.min(initial=1.0)),
            dof=2 if session.complex_ else 1,
        )
        return space, probes

    def _next_start(
        self, ritz: Ritz, probes: Probes | None, past: PastBounds
    ) -> tuple[Ritz, Matrix | None, Probes | None, PastBounds] | None:
        """What the next pass starts from and the block it appends; None where there is none left to append.

        No block says that the vectors are to be multiplied anew, in float64. Ritz values alone decide.
        """
        session = self.session
        plan, stats = session.plan, self.known_terms.known_stats
        limit = stats.frame.dimension
        if self.known_terms.prep.single and self._rounding_exceeds_tol(ritz.theta):
            self.terms = self.known_terms.in_double()
            ritz, past = compress_space(ritz, plan.block, None, past)
            if probes is not None:  # powers of float32 products have no digits left to give
                probes = self._pin_probes(ritz, replace(probes, basis=None), past)
            return ritz, None, probes, past
        pinned = None if probes is None else probes.basis
        most = plan.basis + (0 if pinned is None else pinned.shape[1])
        if ritz.theta.size + 1 > most and ritz.theta.size < limit:
            keep = plan.basis - plan.block
            if not session.options.searches_rank:
                keep = max(keep, plan.rank + 1)
            ritz, past = compress_space(ritz, keep, pinned, past)
        noise = 2 * ritz.skew + UNIT_ROUNDOFF * stats.gross
        width = max(1, min(plan.block, most - ritz.theta.size))
        fill = None
        if probes is not None:
            fill = (
                sketch.gaussian(
                    plan.layout.width,
                    width,
                    seed=session.options.seed,
                    purpose="fill",
                    complex_=session.complex_,
                    index=len(self.history),
                )
                * (stats.frame.d > 0)[:, None]
            )
        block = krylov.next_block(ritz, width, noise, limit, fill)
        if block.shape[1] == 0 and probes is None:
            return None
        return ritz, block, probes, past

    def _append_block(
        self, ritz: Ritz, block: Matrix, probes: Probes | None
    ) -> tuple[Ritz, Probes | None]:
        """The pass that multiplies a block and the deflated probes together."""
        pushed, product, probes = self._with_probes(block, probes)
        if block.shape[1] == 0:
            return ritz, probes
        return krylov.expand_ritz(ritz, pushed, product), probes

    def _multiply_again(self, ritz: Ritz, probes: Probes | None) -> tuple[Ritz, Probes | None]:
        """float32 can no longer resolve the last value: the best vectors again, in float64."""
        pushed, product, probes = self._with_probes(ritz.V, probes)
        return krylov.ritz_of_space(krylov.space_of_block(pushed, product)), probes

    def _with_probes(
        self, X: Matrix, probes: Probes | None
    ) -> tuple[Matrix, Matrix, Probes | None]:
        """One pass: the block that was multiplied, its product, and the probes with one more power."""
        terms = self.known_terms
        frame, kind = terms.known_stats.frame, terms.product_type
        parts, lift = [frame.push(X, kind)], 1.0
        if probes is not None and len(probes.powers) < POWERS:
            # Powers of B leave the range of float32 soon: multiplied near one, exactly, and back.
            deflated = probes.deflated_block()
            size = float(np.abs(deflated).max(initial=0.0))
            lift = float(2.0 ** -np.clip(np.round(np.log2(size)), -1000, 1000)) if size else 1.0
            parts.append(frame.push(deflated * lift, kind))
        thin = np.concatenate(parts, axis=1)
        purpose = "products and probes" if len(parts) > 1 else "products"
        sums = self._multiply((ThinBlock(thin, terms.prep.single),), purpose)
        product = frame.pull(sums.products[0], thin)
        count = X.shape[1]
        if len(parts) > 1 and probes is not None:
            probes = probes.extend(
                frame.undo_push(parts[1]) / lift,
                product[:, count:] / lift,
                delta=power_share(self.session.options.delta, len(self.history) + 1),
            )
        return frame.undo_push(parts[0]), product[:, :count], probes


def compress_space(
    ritz: Ritz, keep: int, pinned: Matrix | None, past: PastBounds
) -> tuple[Ritz, PastBounds]:
    """The compressed space, and the bound of the tail that it inherits."""
    ritz, coordinates = krylov.thick_restart(ritz, keep, pinned)
    if past.sides is None:
        return ritz, past
    outside = np.zeros((past.sides.F.shape[0], coordinates.shape[1]), dtype=coordinates.dtype)
    left = np.concatenate([coordinates, outside])
    return ritz, replace(past, beta=past.sides.norm_without(left), sides=None)
