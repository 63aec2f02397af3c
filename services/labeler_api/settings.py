"""Settings of labeler-api."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr

from shared.admission import PIXELS_AT_ONCE
from shared.events import stated
from shared.faces import FaceSearch
from shared.image_settings import ImageSettings
from shared.portraits import MAX_OTHER_FACE, MIN_EYE_DISTANCE
from shared.settings import Seconds


class LabelerSettings(ImageSettings):
    """What labeler-api is told, beside what every service is."""

    database_url: SecretStr | None = None
    """Ledger's database; absent: SQLite in `ledger.sqlite3` under home."""
    reviewers: SecretStr | None = None
    """Who may sign in, and as what: entries that `evenskin token` makes, separated by commas or line ends. If set,
    every request but for pages, health and metrics must carry a token of theirs, or EVENSKIN_API_KEY."""
    public_url: Annotated[str | None, stated(bounds="http://… or https://…")] = Field(
        default=None, pattern=r"^https?://[^\s?#]+$"
    )
    """Where other tools reach this service, for the pictures that exports name; absent: where exports are asked for."""
    images_per_minute: Annotated[float, stated(unit="images a minute")] = Field(default=50.0, gt=0)
    """Pace that plans reckon with: the provider's rate limit."""
    max_slots: Annotated[int, stated(unit="images")] = Field(default=100_000, ge=1)
    """Images that one rebalance may ask for; a plan of more is rejected as `plan_too_large`."""
    requests_under_way: Annotated[int, stated(unit="requests")] = Field(default=200, ge=1, le=10_000)
    """Image requests of a campaign that are under way at most, and are still carried out after a pause; more than all
    generators make at a time."""
    request_deadline_s: Seconds = Field(default=900.0, gt=0)
    """Time after which an unanswered image request is sent again, beside the time that it waits its turn."""
    request_asks: Annotated[int, stated(unit="times")] = Field(default=7, ge=1, le=20)
    """How often it is sent again, each time after twice as long; then the attempt is lost, and booked as paid. With the
    defaults that is after 64 hours, longer than a weekend without a generator."""
    rejection_grace_s: Annotated[Seconds, stated(bounds="0 or more")] = Field(default=10.0, ge=0)
    """Time after a person's rejection before the next image is asked for, so that an undo costs none; it ends with the
    reconciler's next round. 0: at once."""
    augment_deadline_s: Seconds = Field(default=120.0, gt=0)
    """Time after which an accepted image without its variants is sent again."""
    augment_asks: Annotated[int, stated(unit="times")] = Field(default=5, ge=1, le=20)
    """How often it is sent again, each time after twice as long; then the image counts without variants."""
    augment_wait_s: Annotated[Seconds, stated(bounds="0 or more")] = Field(default=600.0, ge=0)
    """Time that a dataset waits at most for images whose variants are still to come, before it is written without."""
    training_deadline_s: Seconds = Field(default=3600.0, gt=0)
    """Time without news of a training after which QuotaMet is sent again."""
    reconcile_s: Seconds = Field(default=10.0, gt=0)
    """Time between two rounds of the reconciler."""

    reviews_per_image: Annotated[int, stated(unit="reviewers")] = Field(default=1, ge=1, le=3)
    """Reviewers whose verdicts an image needs that waits for people: it counts once they agree. Where they do not, one
    more decides."""
    faces: FaceSearch = FaceSearch.ON
    """Whether faces are looked for. Off: every image keeps its middle square as its frame, which says that nobody
    looked, and the gate refuses nothing for want of a face."""
    gate_min_eye_distance: Annotated[float, stated(unit="pixels")] = Field(default=MIN_EYE_DISTANCE, gt=0)
    """Least distance between the eyes of a generated face: below, skin detail is lost."""
    gate_max_other_face: Annotated[float, stated(unit="share of the first")] = Field(default=MAX_OTHER_FACE, gt=0, le=1)
    """Size of a second face, by the first one's, up to which a generated picture passes."""
    gate_max_yaw: Annotated[float, stated(unit="eye distances")] = Field(default=0.4, gt=0)
    """How far the tip of the nose of a generated face may lie beside the middle between the eyes, as it does in a face
    that is turned. Of 1,470 drawn faces, turned by up to 26 degrees as they are asked for, all have less."""
    gate_max_tone_distance: Annotated[float, stated(unit="L*")] = Field(default=30.0, gt=0, le=100)
    """How much lighter or darker than the asked skin tone a generated face may be. Light alone moves it: 1,469
    of 1,470 drawn faces of the asked tone are within it."""
    near_duplicates: Literal["share_root", "refuse"] = "share_root"
    """What becomes of a picture that is brought in and looks the same as one that is there, mirrored or not: it gets
    that one's root and with it its fold, or it is answered 409 `near_duplicate`."""
    decode_pixels: Annotated[int, stated(unit="pixels")] = Field(default=PIXELS_AT_ONCE, ge=1)
    """Pixels decoded at a time, of all pictures together, which bounds memory; a larger picture is decoded alone."""
    max_uploads: Annotated[int, stated(unit="uploads")] = Field(default=16, ge=1, le=10_000)
    """Uploads in hand at a time, which bounds memory; one more is answered 503 `overloaded`."""
    upload_timeout_s: Seconds = Field(default=30.0, gt=0)
    """Time an upload may take to arrive, so that a stalled client does not keep a place."""

    webhooks: Annotated[SecretStr | None, stated(bounds="http://… or https://…, separated by commas or spaces")] = None
    """Addresses that are told of verdicts, met quotas, promoted models and paused campaigns: signed as Standard
    Webhooks are, sent again for 76 hours. Absent: none. A secret, because an address may hold one."""
    webhook_secrets: Annotated[SecretStr | None, stated(bounds="whsec_…, one for all addresses or one for each")] = None
    """What webhooks are signed with: `whsec_` and 24 to 64 random bytes in base64, in the order of the addresses."""

    @property
    def gate_limits(self) -> dict[str, float]:
        """The gate's limits by the names of their measures in `shared.portraits`."""
        return {
            "inter_eye_distance": self.gate_min_eye_distance,
            "single_face_present": self.gate_max_other_face,
            "head_pose_yaw": self.gate_max_yaw,
        }

    @property
    def public_base(self) -> str | None:
        """`public_url` as paths are put behind it."""
        return None if self.public_url is None else self.public_url.rstrip("/")

    @property
    def database(self) -> str:
        """URL of the ledger's database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home.resolve() / 'ledger.sqlite3'}"
