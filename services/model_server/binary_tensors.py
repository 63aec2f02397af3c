"""The binary tensor data extension of the Open Inference Protocol: tensors as bytes behind the JSON.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
It is what Triton's own client sends and asks for unless it is told otherwise: a tenth of the bytes of the same as text.
"""

from __future__ import annotations

from shared.errors import InvalidRequest

NAME = "binary_tensor_data"
"""What the protocol calls this extension."""
LENGTH_HEADER = "Inference-Header-Content-Length"
"""Header of a request or an answer with such bytes: how many bytes before them are JSON."""


def split(body: bytes, length: str | None) -> tuple[bytes, bytes]:
    """A body's JSON and the bytes behind it. `length`: of the JSON, as the header says. Raises InvalidRequest."""
    if length is None:
        return body, b""
    if not (length.isascii() and length.isdigit()) or len(length) > 12 or int(length) > len(body):
        raise InvalidRequest(
            f"{LENGTH_HEADER} is '{length[:40]}', of a body of {len(body)} bytes.",
            advice="Say how many of its bytes are JSON.",
        )
    return body[: int(length)], body[int(length) :]
