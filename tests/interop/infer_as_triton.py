"""`python infer_as_triton.py HOST:PORT`: asks a model-server as Triton's client does, by its defaults and as text.

Runs in the tools' environment, without evenskin.
"""

from __future__ import annotations

import sys

import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

MODEL = "evenskin"


def main(address: str) -> None:
    """Raise AssertionError where the client does not understand the server, or gets two answers to one question."""
    client = InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    described = client.get_model_metadata(MODEL)
    (taken,) = described["inputs"]
    pictures = np.random.default_rng(1).integers(0, 256, (2, *taken["shape"][1:]), dtype=np.uint8)
    names = [output["name"] for output in described["outputs"]]
    sent = InferInput(taken["name"], list(pictures.shape), taken["datatype"])
    sent.set_data_from_numpy(pictures)  # as bytes, which is the client's default
    text = InferInput(taken["name"], list(pictures.shape), taken["datatype"])
    text.set_data_from_numpy(pictures, binary_data=False)
    asked = [InferRequestedOutput(name) for name in names]
    asked_as_text = [InferRequestedOutput(name, binary_data=False) for name in names]
    answers = [
        client.infer(MODEL, [sent], request_id="mine"),
        client.infer(MODEL, [sent], outputs=asked, request_compression_algorithm="gzip"),
        client.infer(MODEL, [sent], outputs=asked_as_text, request_compression_algorithm="deflate"),
        client.infer(MODEL, [text], outputs=asked),
        client.infer(MODEL, [text], outputs=asked_as_text, model_version=described["versions"][0]),
        client.async_infer(MODEL, [sent]).get_result(),
    ]
    assert answers[0].get_response()["id"] == "mine"
    for name in names:
        first = answers[0].as_numpy(name)
        assert (first.dtype, len(first)) == (np.float32, len(pictures))
        for answer in answers:
            np.testing.assert_allclose(answer.as_numpy(name), first, atol=1e-5)
    try:
        client.infer("other", [sent])
    except InferenceServerException as error:
        assert "There is no model" in error.message()  # noqa: PT017  this environment has no pytest
    else:
        raise AssertionError("An unknown model answered.")
    client.close()


if __name__ == "__main__":
    main(sys.argv[1])
