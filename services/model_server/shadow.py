"""A second model in the shadow of the served one: it sees what the other sees, and its answers are only compared."""

from __future__ import annotations

import asyncio

import structlog
from pydantic import ValidationError

from services.model_server.predictor import Prediction, Predictor
from shared.blobs import Blobs
from shared.errors import EvenskinError, ModelInvalid
from shared.imaging import Pixels
from shared.message import first_problem
from shared.metrics import MetricRegistry
from shared.model_card import ModelCard, card_key
from shared.taxonomy import Condition

log = structlog.get_logger(__name__)

_BUCKETS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)  # of probability: rounding to a contrary verdict


class ShadowMetrics:
    """What is told of a shadow model."""

    def __init__(self, registry: MetricRegistry) -> None:
        self.model = registry.gauge("evenskin_shadow_model_info", "1 for the model in the shadow", "version")
        self.pictures = registry.counter(
            "evenskin_shadow_pictures_total",
            "Pictures that the shadow model was shown, by outcome: compared, failed, unfit (it wants them prepared "
            "in another way than the served model)",
            "outcome",
        )
        self.verdicts = registry.counter(
            "evenskin_shadow_verdicts_total",
            "Verdicts of the shadow model beside the served one's: same, other",
            "condition",
            "outcome",
        )
        self.difference = registry.histogram(
            "evenskin_shadow_difference_ratio",
            "Largest difference between both models' probabilities of presence, over a picture's conditions",
            buckets=_BUCKETS,
        )


class Shadow:
    """The shadow model, once it is loaded. `version` empty: there is none, and nothing is done."""

    def __init__(self, blobs: Blobs, metrics: ShadowMetrics, *, version: str, threads: int, poll_s: float) -> None:
        self._blobs = blobs
        self._metrics = metrics
        self._version = version
        self._threads = threads
        self._poll_s = poll_s
        self._predictor: Predictor | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether there is a model to compare with."""
        return self._predictor is not None

    async def load(self) -> None:
        """Load the model, trying again until the store has it, and return then. Logs what goes wrong."""
        while self._version and self._predictor is None:
            try:
                self._predictor = await self._loaded()
            except EvenskinError as error:
                log.warning("shadow_model_unusable", version=self._version, code=error.code, error=error.message)
                await asyncio.sleep(self._poll_s)
            else:
                self._metrics.model.labels(self._version).set(1)
                log.info("shadow_model_loaded", version=self._version)

    async def _loaded(self) -> Predictor:
        try:
            card = ModelCard.model_validate_json((await self._blobs.get(card_key(self._version))).data)
        except ValidationError as error:
            raise ModelInvalid(f"The card of {self._version} is wrong: {first_problem(error)}.") from error
        data = (await self._blobs.get(card.key)).data
        return await asyncio.to_thread(self._warm, data, card.sha256)

    def _warm(self, data: bytes, sha256: str) -> Predictor:
        predictor = Predictor.load(data, sha256=sha256, threads=self._threads)
        predictor.warm_up()
        return predictor

    def compare(self, served: Predictor, pixels: Pixels, output: Prediction) -> None:
        """Predict what the served model saw, uint8 (S, S, 3), and compare. Runs on a worker's thread; never raises."""
        shadow = self._predictor
        if shadow is None:
            return
        if (shadow.preprocessing, shadow.input_shape) != (served.preprocessing, served.input_shape):
            self._metrics.pictures.labels("unfit").inc()
            return
        try:
            answer = shadow.predict(pixels[None])
        except EvenskinError as error:
            self._metrics.pictures.labels("failed").inc()
            log.warning("shadow_model_failed", version=self._version, error=error.message)
            return
        mine, others = presence(shadow, answer), presence(served, output)
        for condition, (probability, threshold) in mine.items():
            other, other_threshold = others[condition]
            agree = (probability >= threshold) == (other >= other_threshold)
            self._metrics.verdicts.labels(condition.value, "same" if agree else "other").inc()
        self._metrics.difference.observe(max(abs(mine[condition][0] - others[condition][0]) for condition in mine))
        self._metrics.pictures.labels("compared").inc()


def presence(predictor: Predictor, output: Prediction) -> dict[Condition, tuple[float, float]]:
    """Of the first picture's conditions, the probability that each shows, and the threshold it is judged by."""
    metadata = predictor.metadata
    return {
        condition: (1 - float(output.probabilities[0, index, 0]), metadata.thresholds[condition])
        for index, condition in enumerate(metadata.conditions)
    }
