"""The loop: a pass, a look, and another pass until the certificate is met."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from streamsvd import krylov
from streamsvd.certificate import UNIT_ROUNDOFF
from streamsvd.drivers.looks import Look, gram_look, krylov_look, model_floor
from streamsvd.drivers.problem import Frame
from streamsvd.drivers.session import Session
from streamsvd.drivers.terms import Terms, absorbed, guessed, lowered
from streamsvd.eigen import leading
from streamsvd.engine.arrangements import fits_single, sample_threads
from streamsvd.engine.sample import draw, pilot, start_block
from streamsvd.errors import ScaleError
from streamsvd.kernels import sketch
from streamsvd.passes import GramPass, NormalPass, Sums, Thin
from streamsvd.probes import Probes
from streamsvd.ritz import Ritz
from streamsvd.typing import Matrix, Real

SINGLE_NOISE = 5e-8
"""Rounding of float32 products in the norm of ``B``, relative to its largest eigenvalue, as certified."""


@dataclass(slots=True, eq=False)
class Iteration:
    """A run of the loop; `terms` and `best` are what is known so far."""

    session: Session
    terms: Terms | None = None
    best: Look | None = None

    @property
    def known(self) -> Terms:
        """The terms; only once the run has begun."""
        assert self.terms is not None
        return self.terms

    def looks(self) -> Iterator[Look]:
        """One look after each pass, until passes run out or teach nothing more."""
        gram = self.session.plan.route == "gram"
        for look in self._gram() if gram else self._krylov():
            self.best = look
            self.session.looked(look.certificate.relative_width)
            yield look

    def _begin(self) -> Matrix | None:
        """Read the sample; decide pilot, magnitude and precision; the start block of the Krylov route."""
        session = self.session
        plan, options, source = session.plan, session.options, session.source
        seed, threads = session.settings.seed, sample_threads(plan.at_once)
        sample = draw(source, plan.layout, plan.sample_rows, seed=seed, threads=plan.sample_readers)
        session.sampled_bytes = sample.bytes_read
        needed = options.center or options.scale or options.nonfinite != "raise"
        guess = pilot(sample, source, plan.layout, policy=options.nonfinite, moments=needed)
        krylov_route = plan.route == "krylov"
        single = krylov_route and plan.request.precision != "double" and fits_single(source.dtype)
        complex_ = session.complex_
        self.terms = guessed(options, plan.layout, guess, single=single, complex_=complex_)
        if not krylov_route:
            return None
        start = start_block(
            sample,
            plan.layout,
            self.terms.prep,
            self.terms.d,
            plan.block,
            seed=seed,
            threads=threads,
        )
        if single and plan.request.precision == "auto" and self._drowned(start.theta):
            self.terms = self.terms.widened()
        return start.Q

    def _drowned(self, theta: Real) -> bool:
        """Whether float32 rounding would widen the interval of the last value beyond the tolerance.

        It looks at Ritz values only: a decision that saw the probes would spoil their independence.
        """
        settings = self.session.settings
        last = float(theta[min(settings.rank, theta.size) - 1])
        if settings.energy is not None and self.known.stats is not None:
            enough = np.cumsum(theta) >= settings.energy * self.known.stats.energy
            last = float(theta[int(np.argmax(enough))]) if enough.any() else float(theta[-1])
        return 3 * SINGLE_NOISE * float(theta[0]) > settings.tol * max(last, 0.0)

    # The Gram route -------------------------------------------------------------------------------

    def _gram(self) -> Iterator[Look]:
        session = self.session
        self._begin()
        layout, options, settings = session.plan.layout, session.options, session.settings
        again = True
        while again:
            before = self.known
            fold = GramPass(before.prep, layout.width)
            try:
                sums = session.read(fold, "Gram matrix and moments")
            except ScaleError as error:
                self.terms = lowered(before, options, error.size)
                continue
            assert sums.moments is not None
            self.terms, again = absorbed(before, options, sums.moments)
            again = again and self.known.prep is not before.prep  # columns may leave G as it is
        stats = self.known.known
        G = stats.frame.gram(sums.products[0])
        width = layout.width
        count = min(settings.rank, width, *session.source.shape)
        values, wanted = np.zeros(count + 1), min(count + 1, width)
        values[:wanted], V = leading(G, wanted)
        floor = model_floor(stats, width + layout.unit)
        yield gram_look(values, V[:, :count], stats, settings, floor)

    # The Krylov route -----------------------------------------------------------------------------

    def _krylov(self) -> Iterator[Look]:
        session = self.session
        Q = self._begin()
        assert Q is not None
        space, probes = self.first_pass(Q)
        number = 0
        while True:
            number += 1
            ritz, size = krylov.learn(space), space.size
            del space  # the Ritz pairs say all that it did
            stats = self.known.known
            yield krylov_look(ritz, probes, stats, session.settings, number)
            if session.runner.passes >= session.settings.max_passes:
                return
            if size >= stats.frame.dimension and (number > 1 or not self.known.prep.single):
                return  # the space is everything: more passes teach nothing
            chosen = self._chosen(ritz, probes)
            if chosen is None:
                return
            ritz, block, probes = chosen  # what was compressed is let go before the pass
            del chosen
            if block is None:
                space, probes = self._multiplied_anew(ritz, probes)
            else:
                space, probes = self._appended(ritz, block, probes)
            del ritz, block

    def _multiply(self, blocks: tuple[Thin, ...], purpose: str, *, moments: bool = False) -> Sums:
        return self.session.read(NormalPass(self.known.prep, blocks, moments=moments), purpose)

    def first_pass(self, Q: Matrix) -> tuple[krylov.Space, Probes | None]:
        """Products with the start block and the probes, and every moment, in one read."""
        session = self.session
        layout, settings, columns = session.plan.layout, session.settings, session.plan.probes
        omega = sketch.gaussian(
            layout.width, columns, seed=settings.seed, purpose="probes", complex_=session.complex_
        )
        again = True
        while again:
            terms = self.known
            guess = Frame(terms.d, None, 0.0)
            thin, probe = guess.push(Q, terms.product_type), guess.push(omega, terms.prep.wide)
            blocks = (Thin(thin, terms.prep.single), Thin(probe, False))[: 2 if columns else 1]
            try:
                sums = self._multiply(blocks, "products, moments and probes", moments=True)
            except ScaleError as error:
                self.terms = lowered(terms, session.options, error.size)
                continue
            assert sums.moments is not None
            self.terms, again = absorbed(terms, session.options, sums.moments)
            if self.known.stats is None:
                continue  # nothing but zeros in the precision of the sample's power of two
            stats = self.known.known
            frame = stats.frame
            product = frame.pull(sums.products[0], thin)
            if again:  # then it is only a start, not a product
                Q = krylov.orthonormal(product)
        space = krylov.space(frame.seen(thin), product)
        if not columns:
            return space, None
        kept = frame.d > 0
        ratio = terms.d[kept] / frame.d[kept]
        probes = Probes(
            omega=frame.seen(probe),
            product=frame.pull(sums.products[1], probe),
            floor=model_floor(stats, layout.width + layout.unit),
            spread=float(ratio.min(initial=1.0)),
            dof=2 if session.complex_ else 1,
        )
        return space, probes

    def _chosen(
        self, ritz: Ritz, probes: Probes | None
    ) -> tuple[Ritz, Matrix | None, Probes | None] | None:
        """What the next pass starts from and the block it appends; None where there is none left to append.

        No block says that the vectors are to be multiplied anew, in float64.
        """
        plan, stats = self.session.plan, self.known.known
        limit = stats.frame.dimension
        if self.known.prep.single and self._drowned(ritz.theta):
            self.terms = self.known.widened()
            return krylov.compressed(ritz, plan.block), None, probes
        if ritz.theta.size + 1 > plan.basis and ritz.theta.size < limit:
            keep = max(plan.basis - plan.block, self.session.settings.rank + 1)
            ritz = krylov.compressed(ritz, keep)
            probes = _undeflated(probes)
        noise = 2 * ritz.skew + UNIT_ROUNDOFF * stats.gross
        width = max(1, min(plan.block, plan.basis - ritz.theta.size))
        block = krylov.next_block(ritz, width, noise, limit)
        if block.shape[1] == 0 and probes is None:
            return None
        return ritz, block, probes

    def _appended(
        self, ritz: Ritz, block: Matrix, probes: Probes | None
    ) -> tuple[krylov.Space, Probes | None]:
        """The pass that multiplies a block and the deflated probes together."""
        terms = self.known
        frame, kind = terms.known.frame, terms.product_type
        pushed = frame.push(block, kind)
        parts = [pushed]
        basis = krylov.orthonormal(np.concatenate([ritz.V, frame.seen(pushed)], axis=1))
        if probes is not None:
            # Powers of B leave the range of float32 soon: multiplied near one, exactly, and back.
            deflated = probes.deflated(basis)
            size = float(np.abs(deflated).max(initial=0.0))
            lift = float(2.0 ** -np.clip(np.round(np.log2(size)), -1000, 1000)) if size else 1.0
            parts.append(frame.push(deflated * lift, kind))
        thin = np.concatenate(parts, axis=1)
        sums = self._multiply((Thin(thin, terms.prep.single),), "products and probes")
        product = frame.pull(sums.products[0], thin)
        count = block.shape[1]
        if probes is not None:
            probes = probes.extended(basis, frame.seen(parts[1]) / lift, product[:, count:] / lift)
        if count == 0:
            return krylov.Space(ritz.V, ritz.V * ritz.theta + ritz.R), probes
        return krylov.grown(ritz, frame.seen(pushed), product[:, :count]), probes

    def _multiplied_anew(
        self, ritz: Ritz, probes: Probes | None
    ) -> tuple[krylov.Space, Probes | None]:
        """float32 can no longer resolve the last value: the best vectors again, in float64."""
        frame = self.known.known.frame
        thin = frame.push(ritz.V, self.known.prep.wide)
        sums = self._multiply((Thin(thin, False),), "products in float64")
        space = krylov.space(frame.seen(thin), frame.pull(sums.products[0], thin))
        return space, _undeflated(probes)


def _undeflated(probes: Probes | None) -> Probes | None:
    """The probes of the first pass alone: the space no longer holds the basis that deflated the others."""
    return None if probes is None else replace(probes, basis=None, powers=(), inputs=())
