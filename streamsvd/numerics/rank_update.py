"""The symmetric rank-k update of BLAS, ``C + X X*`` in place, called without the interpreter's lock.

``scipy.linalg.blas`` holds the lock while it multiplies, so that of two threads one waits. The same routine is called here by
its address, which scipy exports for compiled code.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from streamsvd.typing import Matrix

_ROUTINES = {"f": "ssyrk", "d": "dsyrk", "F": "cherk", "D": "zherk"}
"""By the type of the entries: symmetric where they are real, Hermitian where they are complex."""
_INT = ctypes.POINTER(ctypes.c_int)
_SIGNATURE = (
    ctypes.c_char_p, ctypes.c_char_p, _INT, _INT,  # triangle, transposition, order of C, rank
    ctypes.c_void_p, ctypes.c_void_p, _INT,  # alpha, X and its leading dimension
    ctypes.c_void_p, ctypes.c_void_p, _INT,  # beta, C and its leading dimension
)  # fmt: skip


def add_products(C: Matrix, X: Matrix) -> None:
    """Add ``X X*`` to the lower triangle of ``C``, in its memory.

    Parameters
    ----------
    C
        Columns one after another (Fortran order), square, writeable.
    X
        As many rows as ``C``, of the same type; Fortran order, or, of real numbers, C order.

    Notes
    -----
    Cost: ``n**2 k`` flops for ``n`` rows and ``k`` columns; no memory.
    """
    n, k = X.shape
    by_columns = bool(X.flags.f_contiguous)
    assert C.flags.f_contiguous
    assert C.flags.writeable
    assert C.shape == (n, n)
    assert C.dtype == X.dtype
    assert by_columns or (X.flags.c_contiguous and X.dtype.kind != "c")
    if n == 0 or k == 0:
        return
    real = ctypes.c_float if C.dtype.char in "fF" else ctypes.c_double
    one = real(1.0)
    order, rank = ctypes.c_int(n), ctypes.c_int(k)
    leading = ctypes.c_int(n if by_columns else k)
    _routine(C.dtype.char)(
        b"L", b"N" if by_columns else b"T", ctypes.byref(order), ctypes.byref(rank),
        ctypes.byref(one), X.ctypes.data, ctypes.byref(leading),
        ctypes.byref(one), C.ctypes.data, ctypes.byref(order),
    )  # fmt: skip


@cache
def _routine(kind: str) -> Any:
    """The routine for a type of entries."""
    from scipy.linalg import cython_blas

    exported: Any = cython_blas.__pyx_capi__
    capsule = exported[_ROUTINES[kind]]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    address = ctypes.pythonapi.PyCapsule_GetPointer
    address.restype, address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return ctypes.CFUNCTYPE(None, *_SIGNATURE)(address(capsule, name(capsule)))
