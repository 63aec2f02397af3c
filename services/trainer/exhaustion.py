"""Tells a disk that is full, and want of memory, from other errors: neither says anything of the dataset."""

from __future__ import annotations

import errno

from shared.errors import DiskFull, OutOfMemory, TrainingFailed

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_MEMORY = ("DefaultCPUAllocator", "CUDA out of memory", "Failed to allocate memory", "bad_alloc", "bad allocation")
"""What PyTorch and ONNX Runtime say in a RuntimeError that has no class of its own."""


def exhaustion(error: BaseException) -> DiskFull | OutOfMemory | None:
    """The error to raise for one that a full disk or want of memory caused; None for another.

    Looks into groups of errors, and at what an error was raised from.
    """
    if isinstance(error, TrainingFailed):
        return None  # it has its name
    if isinstance(error, BaseExceptionGroup):
        return next((found for each in error.exceptions if (found := exhaustion(each))), None)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return _disk_full(error)
    if (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(said in str(error) for said in _NO_MEMORY))
    ):
        return out_of_memory("The trainer has not enough memory.")
    return exhaustion(error.__cause__) if error.__cause__ is not None else None


def out_of_memory(message: str) -> OutOfMemory:
    """The error of a training that was short of memory."""
    return OutOfMemory(
        message,
        advice="Give the trainer more memory, or lower batch_size or input_size in EVENSKIN_TRAINING.",
    )


def _disk_full(error: OSError) -> DiskFull:
    where = f" for '{error.filename}'" if error.filename else " in the trainer's working directory"
    return DiskFull(
        f"There is no room{where}: {error.strerror}.",
        advice="Free some, or name a directory on a larger disk as EVENSKIN_TRAINER_WORK_DIR.",
    )
