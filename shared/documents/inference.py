"""The Open Inference Protocol, version 2, over REST: its requests and answers.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from shared.documents.base import Document, RequestDocument


class ServerDescription(Document):
    """`GET /v2`: who answers."""

    name: str
    version: str = Field(description="Of the protocol.")
    extensions: tuple[str, ...] = Field(description="Extensions of the protocol that are spoken.")


class ServerLive(Document):
    """`GET /v2/health/live`: the process answers."""

    live: Literal[True]


class ServerReady(Document):
    """`GET /v2/health/ready`: a model is in service."""

    ready: Literal[True]


class ModelReady(Document):
    """`GET /v2/models/{model}/ready`: this model is in service."""

    name: str
    ready: Literal[True]


class TensorDescription(Document):
    """A tensor that a model takes or gives."""

    name: str
    datatype: str = Field(description="UINT8 or FP32.")
    shape: tuple[int, ...] = Field(description="-1: any number.")


class ModelDescription(Document):
    """`GET /v2/models/{model}`: the tensors that the model takes and gives."""

    name: str
    versions: tuple[str, ...] = Field(description="The versions in service.")
    platform: str
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]


class BinarySize(Document):
    """Where a tensor's numbers are: behind the JSON."""

    binary_data_size: int = Field(ge=0, description="Bytes; in the order of the tensors.")


class OutputTensor(Document):
    """A tensor of the answer."""

    name: str
    datatype: Literal["FP32"]
    shape: tuple[int, ...]
    data: tuple[float, ...] = Field(default=(), description="Flat, in row-major order; left out of one sent as bytes.")
    parameters: BinarySize | None = Field(default=None, description="Of one sent as bytes; else left out.")


class InferAnswer(Document):
    """`POST /v2/models/{model}/infer`: the outputs."""

    model_name: str
    model_version: str
    outputs: tuple[OutputTensor, ...]
    id: str | None = Field(default=None, description="As it was sent; left out where none was.")


class InputParameters(RequestDocument):
    """How a tensor is sent."""

    binary_data_size: int | None = Field(default=None, ge=0, description="Bytes behind the JSON that are its numbers.")


class InputTensor(RequestDocument):
    """A tensor of the request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = Field(
        default=None, description="Flat in row-major order, or nested; left out of one sent as bytes."
    )
    parameters: InputParameters = InputParameters()


class OutputParameters(RequestDocument):
    """How an output is wanted."""

    binary_data: bool | None = Field(default=None, description="As bytes behind the JSON; null: as the request says.")


class OutputName(RequestDocument):
    """An output that is asked for."""

    name: str
    parameters: OutputParameters = OutputParameters()


class InferParameters(RequestDocument):
    """How outputs are wanted."""

    binary_data_output: bool = Field(default=False, description="As bytes behind the JSON, unless one says otherwise.")


class InferRequest(RequestDocument):
    """`POST /v2/models/{model}/infer`: the pictures, and which outputs are wanted."""

    id: str | None = Field(default=None, description="Comes back in the answer.")
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[OutputName] | None = Field(default=None, description="null: all of them.")
    parameters: InferParameters = InferParameters()
