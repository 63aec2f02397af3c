"""Mirror a JPEG in its DCT coefficients by libturbojpeg's lossless transform, through `ctypes`.

It is the C library of libjpeg-turbo, since its release 2.0 (the structures below are those of its turbojpeg.h):
Debian's libturbojpeg0, Fedora's turbojpeg, Homebrew's jpeg-turbo. No kept Python package offers it.
"""

from __future__ import annotations

import ctypes
import ctypes.util
from functools import cache

from shared.errors import ImageBroken

_NAMES = ("libturbojpeg.so.0", "libturbojpeg.dylib", "turbojpeg.dll")
_FLIPS = {0: 2, 1: 1}  # TJXOP of each axis: 0 turns rows round (VFLIP), 1 columns (HFLIP)
_PERFECT, _PROGRESSIVE, _COPY_NO_MARKERS = 1, 32, 64  # TJXOPT: fail where a partial block would stay unturned
_WARNING = 0  # TJERR: the output is whole, as decoders that go on would show it


class _Transform(ctypes.Structure):
    """`tjtransform`: a region (unused), an operation, its options, and a filter of coefficients (unused)."""

    _fields_ = (
        ("region", ctypes.c_int * 4),
        ("operation", ctypes.c_int),
        ("options", ctypes.c_int),
        ("data", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
    )


@cache
def _library() -> ctypes.CDLL | None:
    for name in (*_NAMES, ctypes.util.find_library("turbojpeg")):
        try:
            library = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if library is not None and all(hasattr(library, name) for name in ("tjTransform", "tjGetErrorCode")):
            return _declared(library)
    return None


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    handle, size = ctypes.c_void_p, ctypes.c_ulong
    library.tjInitTransform.restype = handle
    library.tjTransform.argtypes = (
        handle,
        ctypes.c_char_p,
        size,
        ctypes.c_int,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(size),
        ctypes.POINTER(_Transform),
        ctypes.c_int,
    )
    library.tjGetErrorCode.argtypes = (handle,)
    library.tjDestroy.argtypes = (handle,)
    library.tjFree.argtypes = (ctypes.c_void_p,)
    return library


def is_there() -> bool:
    """Whether the library was found."""
    return _library() is not None


def mirror(data: bytes, axis: int, *, progressive: bool) -> tuple[bytes, bool] | None:
    """Mirror what is stored; returns the file without its metadata, and whether the library warned of damage.

    `axis`: 0 turns rows round, 1 columns. None where the side along it is no multiple of the MCU's, or the file is of
    a kind that the library does not transform. Thread-safe, and releases the interpreter's lock. Raises ImageBroken
    where the library cannot begin.
    """
    library = _library()
    assert library is not None
    handle = library.tjInitTransform()
    if not handle:
        raise ImageBroken("The JPEG cannot be flipped: libturbojpeg does not begin.")
    written, size = ctypes.c_void_p(), ctypes.c_ulong()
    options = _PERFECT | _COPY_NO_MARKERS | (_PROGRESSIVE if progressive else 0)
    transform = _Transform(operation=_FLIPS[axis], options=options)
    try:
        failed = library.tjTransform(
            handle, data, len(data), 1, ctypes.byref(written), ctypes.byref(size), ctypes.byref(transform), 0
        )
        if failed and library.tjGetErrorCode(handle) != _WARNING:
            return None
        return ctypes.string_at(written, size.value), bool(failed)
    finally:
        library.tjFree(written)
        library.tjDestroy(handle)
