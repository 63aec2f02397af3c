"""Opens a model in ONNX Runtime: one way for everything that runs one."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def inference_session(model: bytes | Path, *, threads: int = 1) -> Any:
    """Open an ONNX file, or its bytes, on the CPU. Several threads may run the session.

    `threads`: of one run; 0: one for each core. Raises whatever ONNX Runtime raises: a dozen classes without a common
    base.
    """
    import onnxruntime  # 50 MB of memory that a service which runs no model does not need

    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal: what goes wrong comes as an exception, which is logged once
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads burn no core
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
