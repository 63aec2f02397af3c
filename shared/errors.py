"""Every error that evenskin reports: a stable code, an HTTP status, one sentence, what to do.

A class's docstring says when it is raised. A `status` below 500 means that the caller can mend the error: the
command line exits with 2. From 500 on it exits with 1.
"""

from __future__ import annotations

from typing import Any


class EvenskinError(Exception):
    """Base of all our errors."""

    code = "internal_error"
    status = 500
    retryable = False  # whether the same call may succeed later without a change

    def __init__(self, message: str, *, advice: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.details = details

    @property
    def exit_status(self) -> int:
        """Exit status of the command line: 2 where the user can mend it, else 1."""
        return 2 if self.status < 500 else 1

    def problem(self) -> dict[str, Any]:
        """The error as an RFC 9457 problem document."""
        document: dict[str, Any] = {
            "type": f"urn:evenskin:problem:{self.code}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "code": self.code,
            "detail": self.message,
        }
        if self.advice:
            document["advice"] = self.advice
        return {**document, **self.details}


def first_error(errors: BaseExceptionGroup[EvenskinError]) -> EvenskinError:
    """The first error of a group, however deep it lies: one is enough to say what went wrong."""
    found: BaseException = errors
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, EvenskinError)
    return found


class InvalidRequest(EvenskinError):
    """A request or an event does not have the shape its model asks for."""

    code, status = "invalid_request", 422


class DamagedBody(InvalidRequest):
    """A request's body broke off, or is not what its Content-Encoding says."""

    code, status = "body_damaged", 400


class UnknownCondition(InvalidRequest):
    """A name is not one of the seven conditions."""

    code = "unknown_condition"


class UnknownSeverity(InvalidRequest):
    """A name is not mild, moderate or severe."""

    code = "unknown_severity"


class InvalidTarget(InvalidRequest):
    """A target is negative or beyond what a campaign may ask for."""

    code = "invalid_target"


class PlanTooLarge(InvalidRequest):
    """A rebalance would ask for more images than EVENSKIN_MAX_SLOTS."""

    code = "plan_too_large"


class OverBudget(EvenskinError):
    """The worst cost of a campaign is above the budget it was given."""

    code, status = "over_budget", 422


class NotFound(EvenskinError):
    """Something was asked for by an id that does not exist."""

    code, status = "not_found", 404


class Conflict(EvenskinError):
    """The change does not fit the state that is there."""

    code, status = "conflict", 409


class LabelsDiffer(Conflict):
    """A picture that is brought in is there already with other labels, and is no update."""

    code = "labels_differ"


class StaleReview(Conflict):
    """A review says what its reviewer saw, and the image has another status or other labels by now."""

    code = "stale_review"


class GroupDiffers(Conflict):
    """A picture that is brought in with a group is there already without it: its root stays as it is."""

    code = "group_differs"


class NearDuplicate(Conflict):
    """A picture that is brought in looks the same as one that is there, and EVENSKIN_NEAR_DUPLICATES is `refuse`."""

    code = "near_duplicate"


class Unauthorized(EvenskinError):
    """EVENSKIN_API_KEY is set and the request does not carry it."""

    code, status = "unauthorized", 401


class Forbidden(EvenskinError):
    """The request's token is a reviewer's, and only an operator may do what it asks for."""

    code, status = "forbidden", 403


class TooManyFailures(EvenskinError):
    """The address has sent so many wrong tokens that none of its tokens is looked at for a while."""

    code, status = "too_many_failures", 429


class ForeignHost(EvenskinError):
    """No API key is set, and the request's Host is a name that is not in EVENSKIN_ALLOWED_HOSTS."""

    code, status = "foreign_host", 403


class ForeignOrigin(EvenskinError):
    """A page of another web site asks for a change."""

    code, status = "foreign_origin", 403


class UnsupportedMediaType(EvenskinError):
    """The request's content type is not one that it may have."""

    code, status = "unsupported_media_type", 415


class UnsupportedCoding(UnsupportedMediaType):
    """The request's Content-Encoding is not one that is read."""

    code = "unsupported_coding"


class ImageError(EvenskinError):
    """Base of the errors about a picture that somebody sent."""

    code, status = "image_invalid", 422


class ImageEmpty(ImageError):
    """The upload has no bytes."""

    code = "image_empty"


class ImageTooLarge(ImageError):
    """The upload has more bytes than are read."""

    code, status = "image_too_large", 413


class ImageUnsupported(ImageError):
    """The bytes are not a picture in a format we read, or it is animated."""

    code, status = "image_unsupported", 415


class ImageAnimated(ImageUnsupported):
    """The picture has several frames."""

    code = "image_animated"


class ImageBroken(ImageError):
    """The picture is truncated or damaged."""

    code = "image_broken"


class ImageTooSmall(ImageError):
    """The picture has too few pixels to see skin on."""

    code = "image_too_small"


class ImageTooManyPixels(ImageError):
    """The picture would need too much memory to decode."""

    code = "image_too_many_pixels"


class PortraitUnfit(ImageError):
    """Base of what EVENSKIN_FACE_POLICY=require refuses: a picture that is no portrait to judge skin on."""

    code = "portrait_unfit"


class NoFace(PortraitUnfit):
    """No face was found in the picture."""

    code = "no_face"


class MultipleFaces(PortraitUnfit):
    """The picture has several faces, and EVENSKIN_MULTIPLE_FACES is `refuse`."""

    code = "multiple_faces"


class FaceTooSmall(PortraitUnfit):
    """The face has too few pixels to see skin on."""

    code = "face_too_small"


class FaceCut(PortraitUnfit):
    """A part of the face is not in the picture."""

    code = "face_cut"


class FaceTurned(PortraitUnfit):
    """The face is turned to the side."""

    code = "face_turned"


class TooBlurry(PortraitUnfit):
    """The face is blurred."""

    code = "too_blurry"


class TooDark(PortraitUnfit):
    """The face has too little light."""

    code = "too_dark"


class TooBright(PortraitUnfit):
    """The face has so much light that its skin is white."""

    code = "too_bright"


class MalformedEvent(EvenskinError):
    """A message is not a CloudEvent of ours: it goes to the dead-letter queue at once."""

    code, status = "malformed_event", 422


class UnroutableEvent(EvenskinError):
    """No queue takes the event: its consumer has never been started."""

    code, status, retryable = "unroutable_event", 503, True


class BusUnavailable(EvenskinError):
    """The broker cannot be reached or does not confirm."""

    code, status, retryable = "bus_unavailable", 503, True


class QueueWithoutLeader(BusUnavailable):
    """The broker answers, but not for a queue: a quorum queue that has no leader."""

    code = "queue_without_leader"


class StoreUnavailable(EvenskinError):
    """The object store cannot be reached or answers with a server error."""

    code, status, retryable = "store_unavailable", 503, True


class StoreFull(StoreUnavailable):
    """The disk under the object store is full; nothing was half-written."""

    code, status = "store_full", 507


class BlobNotFound(NotFound):
    """No object has this key."""

    code = "blob_not_found"


class PreconditionFailed(Conflict):
    """A conditional put found another object than it expected."""

    code, status = "precondition_failed", 412


class DatabaseUnavailable(EvenskinError):
    """The ledger's database cannot be reached."""

    code, status, retryable = "database_unavailable", 503, True


class ProviderError(EvenskinError):
    """Base of an image provider's failures."""

    code, status = "provider_failed", 502


class NoModel(EvenskinError):
    """No model is live yet."""

    code, status, retryable = "no_model", 503, True


class ModelInvalid(EvenskinError):
    """A model file is missing, damaged or not one of ours."""

    code, status = "model_invalid", 422


class ParityFailed(EvenskinError):
    """ONNX Runtime and PyTorch disagree on real images."""

    code, status = "parity_failed", 500


class Overloaded(EvenskinError):
    """More requests are waiting than will be answered in time."""

    code, status, retryable = "overloaded", 503, True


class ServiceStarting(EvenskinError):
    """The service waits for what it depends on, and cannot answer yet."""

    code, status, retryable = "starting", 503, True


class TrainingFailed(EvenskinError):
    """A training run ended without a model."""

    code, status = "training_failed", 500


class FoldsLeak(TrainingFailed):
    """A manifest has a picture, its mirror image or a copy of it in the test fold and in another one."""

    code, status = "folds_leak", 422


class DatasetTooSmall(TrainingFailed):
    """A manifest has too few images to train and measure on."""

    code, status = "dataset_too_small", 422


class DatasetUnreadable(TrainingFailed):
    """A manifest is not in the store, or is none."""

    code, status = "dataset_unreadable", 422


class ImagesUnreadable(TrainingFailed):
    """More of a manifest's images cannot be read than a training may leave out."""

    code, status = "images_unreadable", 422


class LossNotFinite(TrainingFailed):
    """A training's loss became infinite or not a number."""

    code = "loss_not_finite"


class LabelsContradict(TrainingFailed):
    """A manifest names the same picture twice, with labels that cannot both be right."""

    code, status = "labels_contradict", 422


class DiskFull(TrainingFailed):
    """The disk that a training works on is full."""

    code, status, retryable = "disk_full", 500, True


class OutOfMemory(TrainingFailed):
    """A training needs more memory than there is, or was killed for want of it."""

    code, status, retryable = "out_of_memory", 500, True


class WeightsUnusable(TrainingFailed):
    """The pretrained weights that a training starts from are absent, or are not the promised ones."""

    code, status = "weights_unusable", 500


class TriesUsedUp(TrainingFailed):
    """Every try of a training ended without a model, and none could say why trying again is no use.

    `because`: code of what ended the last try, which becomes this error's own.
    """

    code = "crashed"

    def __init__(self, message: str, *, advice: str, because: str = "crashed") -> None:
        super().__init__(message, advice=advice)
        self.code = because


class ConfigurationError(EvenskinError):
    """A setting is missing or makes no sense."""

    code, status = "configuration_error", 400


class ServiceUnreachable(EvenskinError):
    """A command needs a running service and got no answer."""

    code, status, retryable = "service_unreachable", 503, True


class HomeInUse(EvenskinError):
    """Another process already runs on this EVENSKIN_HOME."""

    code, status = "home_in_use", 409
