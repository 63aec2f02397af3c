"""The Open Inference Protocol, version 2, over REST: tensors in, tensors out, for clients that preprocess themselves.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
Errors are problem documents as everywhere, and have the member `error` that the protocol asks for. Tensors may be bytes
instead of text: see `binary_tensors.py`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import ValidationError
from pydantic_core import from_json

from services.model_server import binary_tensors
from services.model_server.metrics import ServerMetrics
from services.model_server.models import ModelHolder
from services.model_server.pool import PredictionPool
from services.model_server.predictor import Predictor
from services.model_server.settings import ModelServerSettings
from services.model_server.uploads import read_body, uninvited
from shared.documents.inference import (
    BinarySize,
    InferAnswer,
    InferRequest,
    InputTensor,
    ModelDescription,
    ModelReady,
    OutputName,
    OutputTensor,
    ServerDescription,
    ServerLive,
    ServerReady,
    TensorDescription,
)
from shared.documents.problems import Problem, ProtocolProblem
from shared.errors import InvalidRequest, NotFound
from shared.http import PROBLEM, document_response
from shared.imaging import Pixels
from shared.message import first_problem
from shared.model_card import INPUT_NAME, OUTPUT_NAMES

ROOT = "/v2"  # every path of the protocol begins so
_MODEL_ROUTES = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
INFER_ROUTES = tuple(f"{route}/infer" for route in _MODEL_ROUTES)
SERVER_NAME = "evenskin-model-server"
MODEL_NAME = "evenskin"
BYTES_PER_NUMBER = 8  # of JSON text for one uint8: three digits, comma, space, and its share of the nesting
ENVELOPE_BYTES = 64 * 1024  # of JSON text around the numbers


class InferenceProtocol:
    """The views under `/v2`."""

    def __init__(
        self, models: ModelHolder, pool: PredictionPool, metrics: ServerMetrics, settings: ModelServerSettings
    ) -> None:
        self._models = models
        self._pool = pool
        self._metrics = metrics
        self._max_batch = settings.infer_max_batch
        self._upload_timeout_s = settings.upload_timeout_s

    def configure(self, app: web.Application) -> None:
        """Add the routes. Each model route exists with and without a version, as the protocol says."""
        app.middlewares.insert(0, _with_error_member)  # the outermost: what others refuse is told in both ways, too
        app.router.add_get("/v2", self.server)
        app.router.add_get("/v2/health/live", self.live)
        app.router.add_get("/v2/health/ready", self.ready)
        for model in _MODEL_ROUTES:
            app.router.add_get(model, self.model)
            app.router.add_get(f"{model}/ready", self.model_ready)
            app.router.add_post(f"{model}/infer", self.infer, expect_handler=uninvited)

    async def server(self, _: web.Request) -> web.Response:
        """Who answers, and which extensions of the protocol it speaks."""
        extensions = (binary_tensors.NAME,)
        return document_response(ServerDescription(name=SERVER_NAME, version="2", extensions=extensions))

    async def live(self, _: web.Request) -> web.Response:
        """The process answers."""
        return document_response(ServerLive(live=True))

    async def ready(self, _: web.Request) -> web.Response:
        """A model is in service. Raises NoModel."""
        await self._models.check()
        return document_response(ServerReady(ready=True))

    async def model_ready(self, request: web.Request) -> web.Response:
        """This model is in service. Raises NotFound, NoModel."""
        self._predictor_of(request)
        return document_response(ModelReady(name=MODEL_NAME, ready=True))

    async def model(self, request: web.Request) -> web.Response:
        """The tensors the model takes and gives. Raises NotFound, NoModel."""
        predictor = self._predictor_of(request)
        conditions = len(predictor.metadata.conditions)
        taken = TensorDescription(name=INPUT_NAME, datatype="UINT8", shape=(-1, *predictor.input_shape))
        shapes = ((-1, conditions, 4), (-1, conditions, -1, -1))
        given = (
            TensorDescription(name=name, datatype="FP32", shape=shape)
            for name, shape in zip(OUTPUT_NAMES, shapes, strict=True)
        )
        return document_response(
            ModelDescription(
                name=MODEL_NAME,
                versions=(predictor.metadata.version,),
                platform="onnxruntime_onnx",
                inputs=(taken,),
                outputs=tuple(given),
            )
        )

    async def infer(self, request: web.Request) -> web.Response:
        """Tensor in, tensors out. Raises InvalidRequest, ImageTooLarge, Overloaded, NotFound, NoModel."""
        predictor = self._predictor_of(request)
        max_bytes = self._max_batch * int(np.prod(predictor.input_shape)) * BYTES_PER_NUMBER + ENVELOPE_BYTES
        with self._pool.admitted():
            body = await read_body(request, max_bytes=max_bytes, timeout_s=self._upload_timeout_s)
            predictor = self._predictor_of(request)
            length = request.headers.get(binary_tensors.LENGTH_HEADER)
            answer, tensors, pictures = await self._pool.run(partial(_infer, predictor, body, length, self._max_batch))
        self._metrics.batch.observe(pictures)
        if not tensors:
            return web.Response(body=answer, content_type="application/json")
        headers = {binary_tensors.LENGTH_HEADER: str(len(answer))}
        return web.Response(body=answer + tensors, content_type="application/octet-stream", headers=headers)

    def _predictor_of(self, request: web.Request) -> Predictor:
        """The predictor of the model and version that the path names. Raises NotFound, NoModel."""
        if request.match_info["model"] != MODEL_NAME:
            raise NotFound(
                f"There is no model '{request.match_info['model'][:80]}'.", advice=f"Ask for '{MODEL_NAME}'."
            )
        predictor = self._models.served.predictor
        version = request.match_info.get("version", predictor.metadata.version)
        if version != predictor.metadata.version:
            raise NotFound(f"Version '{version[:80]}' is not served; {predictor.metadata.version} is.")
        return predictor


@web.middleware
async def _with_error_member(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every problem under /v2 the protocol's `error` member beside ours."""
    response = await handler(request)
    is_problem = isinstance(response, web.Response) and response.content_type == PROBLEM
    if is_problem and (request.path == ROOT or request.path.startswith(f"{ROOT}/")):
        assert isinstance(response, web.Response)
        problem = Problem.model_validate_json(response.text or "")
        response.text = ProtocolProblem(**problem.json_object(), error=problem.detail).json_text()
    return response


def _infer(predictor: Predictor, body: bytes, length: str | None, max_batch: int) -> tuple[bytes, bytes, int]:
    """Answer a request. Returns the answer's JSON, the bytes of tensors behind it, and the number of pictures.

    Runs on a worker's thread: a full batch is megabytes of text.
    """
    text, behind = binary_tensors.split(body, length)
    try:
        sent = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequest("The request's body is not JSON.") from error
    if not isinstance(sent, dict):
        raise InvalidRequest("The request's body is not a JSON object.")
    try:
        request = InferRequest.model_validate(sent)
    except ValidationError as error:
        raise InvalidRequest(first_problem(error) + ".") from error
    outputs = request.outputs or [OutputName(name=name) for name in OUTPUT_NAMES]
    if unknown := {output.name for output in outputs} - set(OUTPUT_NAMES):
        raise InvalidRequest(
            f"The model has no output '{min(unknown)[:80]}'.", advice=f"It has {', '.join(OUTPUT_NAMES)}."
        )
    prediction = predictor.predict(_tensor(request.inputs[0], behind, predictor, max_batch))
    arrays = dict(zip(OUTPUT_NAMES, (prediction.probabilities, prediction.activation), strict=True))
    told, tensors = [], b""
    for output in outputs:
        array, wanted = arrays[output.name], output.parameters.binary_data
        given: dict[str, Any] = {"name": output.name, "datatype": "FP32", "shape": array.shape}
        if request.parameters.binary_data_output if wanted is None else wanted:
            data = array.astype("<f4").tobytes()
            told.append(OutputTensor(**given, parameters=BinarySize(binary_data_size=len(data))))
            tensors += data
        else:
            told.append(OutputTensor(**given, data=tuple(array.ravel().tolist())))
    answer = InferAnswer(
        model_name=MODEL_NAME,
        model_version=predictor.metadata.version,
        outputs=tuple(told),
        **({} if request.id is None else {"id": request.id}),
    )
    return answer.json_text().encode(), tensors, len(prediction.probabilities)


def _tensor(sent: InputTensor, behind: bytes, predictor: Predictor, max_batch: int) -> Pixels:
    """The input tensor as uint8 (N, S, S, 3). Raises InvalidRequest, which says what is wrong with it.

    `behind`: the bytes behind the JSON.
    """
    wanted = predictor.input_shape
    if sent.name != INPUT_NAME or sent.datatype != "UINT8":
        raise InvalidRequest(
            f"The input is '{sent.name[:80]}' of {sent.datatype[:80]}.", advice=f"Send '{INPUT_NAME}' of UINT8."
        )
    if len(sent.shape) != 4 or tuple(sent.shape[1:]) != wanted or sent.shape[0] < 1:
        raise InvalidRequest(
            f"The input's shape is {sent.shape[:8]}.", advice=f"Send [n, {', '.join(map(str, wanted))}]."
        )
    if sent.shape[0] > max_batch:
        raise InvalidRequest(f"The batch has {sent.shape[0]} pictures; at most {max_batch} are taken.")
    size = sent.parameters.binary_data_size
    if size is not None:
        if sent.data is not None or size != len(behind) or size != np.prod(sent.shape):
            raise InvalidRequest(
                f"The input's binary_data_size is {size}, of {len(behind)} bytes behind the JSON.",
                advice=f"Send {np.prod(sent.shape)} bytes, no 'data', and {binary_tensors.LENGTH_HEADER}.",
            )
        return np.frombuffer(behind, np.uint8).reshape(sent.shape)
    if sent.data is None or behind:
        raise InvalidRequest(
            "The input has no data.", advice="Send 'data', or bytes behind the JSON and their 'binary_data_size'."
        )
    try:
        numbers = np.array(sent.data)
    except (ValueError, OverflowError) as error:  # ragged nesting
        raise InvalidRequest("The input's data is not a tensor of numbers.") from error
    if numbers.dtype.kind not in "iu" or numbers.min(initial=0) < 0 or numbers.max(initial=0) > 255:
        raise InvalidRequest("The input's data are not whole numbers from 0 to 255.")
    if numbers.size != np.prod(sent.shape) or (numbers.ndim != 1 and numbers.shape != tuple(sent.shape)):
        raise InvalidRequest(f"The input's data has shape {list(numbers.shape)}, not {sent.shape}.")
    return numbers.astype(np.uint8).reshape(sent.shape)
