"""A small labeler-api and model-server in one, on a thread of its own, for tests of the client and the command line.

It answers with documents of the real services' shape, remembers what it was sent, and fails where a test tells it to.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from shared.documents.predictions import NOTICE
from shared.errors import BlobNotFound, EvenskinError, ImageBroken, ImageEmpty, LabelsDiffer, NotFound
from shared.http import api_key_guard, problem_response, problems
from shared.taxonomy import Condition, Severity, split_over_severities
from tests.eventually import LIMIT_S

STARTING = {
    "acne": 122,
    "redness": 66,
    "pore_size": 66,
    "textured_skin": 70,
    "hyperpigmentation": 78,
    "fine_lines": 126,
    "aging": 126,
}
CAMPAIGN_ID = "0c5a2f6e-5d9e-4f5c-9a57-9d1f6c6f2a10"


def campaign_document(**changes: Any) -> dict[str, Any]:
    """A running campaign, or one in another state."""
    return {
        "id": CAMPAIGN_ID,
        "state": "running",
        "targets": {"redness": 70},
        "quotas": [
            {"condition": "redness", "severity": s.label, "count": n, "counted": 0, "failed": 0}
            for s, n in split_over_severities(4).items()
        ],
        "slots": {"total": 4, "counted": 0, "failed": 0, "open": 4},
        "correlation_id": "c-1",
        "spent_usd": 0.0,
        "worst_cost_usd": 0.36,
        "max_attempts": 3,
        "created_at": "2026-01-01T00:00:00+00:00",
        "met_at": None,
        "dataset_version": None,
        "review": "auto",
        "training": None,
        "model": None,
        "reason": None,
        **changes,
    }


def finished_campaign() -> list[dict[str, Any]]:
    """What a stream says of a campaign that goes well."""
    training = {
        "run_id": "r1",
        "epoch": 1,
        "epochs": 2,
        "train_loss": 0.5,
        "validation_loss": 0.6,
        "metrics": {},
    }
    model = {"version": "v2", "promoted": True, "metrics": {"overall": {"balanced_accuracy": 0.75}}, "comparison": None}
    counted = {"total": 4, "counted": 4, "failed": 0, "open": 0}
    return [
        campaign_document(slots={"total": 4, "counted": 2, "failed": 0, "open": 2}),
        campaign_document(state="met", slots=counted),
        campaign_document(state="met", slots=counted, training=training),
        campaign_document(state="met", slots=counted, training=training, model=model, spent_usd=0.12),
    ]


def model_document(version: str, *, live: bool, **changes: Any) -> dict[str, Any]:
    """A model version of a list."""
    return {
        "version": version,
        "created_at": "2026-01-01T12:00:00+00:00",
        "dataset_version": "ds-1",
        "promoted": True,
        "sha256": "0" * 64,
        "metrics": {},
        "live": live,
        **changes,
    }


def live_document(version: str) -> dict[str, Any]:
    """The live model."""
    return {
        "version": version,
        "key": f"models/{version}/model.onnx",
        "sha256": "0" * 64,
        "promoted_at": "2026-01-01T12:00:00Z",
        "reason": "it is better",
        "previous": None,
        "correlation_id": None,
        "traceparent": None,
    }


def image_document(digest: str, labels: dict[str, Any], *, complete: bool, **changes: Any) -> dict[str, Any]:
    """An image that was brought in."""
    return {
        "id": digest,
        "status": "accepted",
        "labels": labels,
        "labels_text": {name: severity or "unknown" for name, severity in labels.items()},
        "complete": complete,
        "skin_tone": None,
        "fold": "train",
        "root_id": digest,
        "group": None,
        "near_duplicate_of": None,
        "sha256": digest,
        "media_type": "image/jpeg",
        "width": 512,
        "height": 512,
        "provider": None,
        "cost_usd": 0.0,
        "quality": {},
        "reviewer": "import",
        "reason": None,
        "augmented": False,
        "created_at": "2026-01-01T00:00:00+00:00",
        "prompt": None,
        "warnings": [],
        "variants": [],
        **changes,
    }


@dataclass
class FakeServer:
    """State that tests set and look at; `fail` maps a path to the error it is answered with."""

    price_usd: float = 0.03
    fail: dict[str, EvenskinError] = field(default_factory=dict)
    raw: dict[str, tuple[int, str]] = field(default_factory=dict)
    streamed: list[dict[str, Any]] = field(default_factory=finished_campaign)
    shown: list[dict[str, Any]] = field(default_factory=list)  # of a campaign, in turn; the last one stays
    listed: list[dict[str, Any]] = field(default_factory=lambda: [campaign_document()])
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    thumbnail: bytes = b""
    without_picture: set[str] = field(default_factory=set)
    refuse: frozenset[str] = frozenset()  # names of files that are answered as broken
    alike: dict[str, dict[str, Any]] = field(default_factory=dict)  # what documents of files with these names say
    rebalances: list[dict[str, Any]] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    dead: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    promotions: list[dict[str, Any]] = field(default_factory=list)
    model_files: dict[str, bytes] = field(default_factory=dict)  # by version and name
    tar: Callable[[], bytes] | None = None
    api_key: Any = None
    url: str = ""

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(
            middlewares=[self._recording(), problems, api_key_guard(self.api_key)], client_max_size=64 * 1024 * 1024
        )
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/v1/balance", self._balance)
        app.router.add_get("/v1/plan", self._plan)
        app.router.add_post("/v1/rebalances", self._rebalance)
        app.router.add_get("/v1/rebalances", self._campaigns)
        app.router.add_get("/v1/rebalances/{id}", self._campaign)
        app.router.add_get("/v1/rebalances/{id}/stream", self._stream)
        app.router.add_post("/v1/images", self._add_image)
        app.router.add_get("/v1/images", self._images)
        app.router.add_get("/v1/images/{id}/thumbnail", self._thumbnail)
        app.router.add_post("/v1/reviews", self._review)
        app.router.add_get("/v1/export", self._export)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{version}/files/{name}", self._model_file)
        app.router.add_post("/v1/models/rollback", self._rollback)
        app.router.add_post("/v1/models/{version}/promotions", self._promote)
        app.router.add_get("/v1/dead-letters", self._dead_letters)
        app.router.add_post("/v1/dead-letters/replay", self._replay)
        app.router.add_post("/v1/predictions", self._predict)
        app.router.add_post("/v1/predictions/batch", self._predict_batch)
        return app

    def _recording(self) -> Any:
        @web.middleware
        async def record(request: web.Request, handler: Any) -> web.StreamResponse:
            self.headers.append(dict(request.headers))
            self.queries.append(dict(request.query))
            if request.path in self.raw:
                status, text = self.raw[request.path]
                return web.Response(status=status, text=text)
            if request.path in self.fail:
                return problem_response(self.fail[request.path])
            return await handler(request)  # type: ignore[no-any-return]

        return record

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _balance(self, _: web.Request) -> web.Response:
        conditions = {
            name: {
                "accepted": n,
                "pending": 1,
                "rejected": 2,
                "severities": {
                    **{s.label: k for s, k in split_over_severities(n).items()},
                    "unknown": 0,
                },
            }
            for name, n in STARTING.items()
        }
        images = {"accepted": 654, "pending": 7, "rejected": 14}
        return web.json_response({"conditions": conditions, "images": images, "variants": 654, "unaugmented": 0})

    async def _plan(self, request: web.Request) -> web.Response:
        names = request.query.get("conditions")
        base = int(request.query.get("target_per_condition", "0"))
        targets = dict.fromkeys(names.split(",") if names else [c.value for c in Condition], base)
        for part in filter(None, request.query.get("targets", "").split(",")):
            name, number = part.split(":")
            targets[name] = int(number)
        missing = {name: max(0, target - STARTING[name]) for name, target in targets.items()}
        quotas = [
            {"condition": name, "severity": s.label, "count": n}
            for name, number in missing.items()
            for s, n in split_over_severities(number).items()
            if n
        ]
        total = sum(missing.values())
        attempts = int(request.query.get("max_attempts", "3"))
        return web.json_response(
            {
                "total": total,
                "quotas": quotas,
                "tones": [
                    {
                        "condition": name,
                        "there": [STARTING[name], *[0] * 9],
                        "missing": {
                            quota["severity"]: [0, quota["count"], *[0] * 8]
                            for quota in quotas
                            if quota["condition"] == name
                        },
                    }
                    for name, number in missing.items()
                    if number
                ],
                "targets": targets,
                "missing": missing,
                "price_usd": self.price_usd,
                "cost_usd": round(total * self.price_usd, 6),
                "worst_cost_usd": round(total * self.price_usd * attempts, 6),
                "images_per_minute": 50.0,
                "duration_s": total * 1.2,
                "provider": "procedural",
                "max_attempts": attempts,
            }
        )

    async def _rebalance(self, request: web.Request) -> web.Response:
        self.rebalances.append(await request.json())
        return web.json_response(campaign_document(), status=202)

    async def _campaigns(self, _: web.Request) -> web.Response:
        return web.json_response({"rebalances": self.listed})

    async def _campaign(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != CAMPAIGN_ID:
            raise NotFound("No such rebalance.")
        if self.shown:
            return web.json_response(self.shown.pop(0) if len(self.shown) > 1 else self.shown[0])
        return web.json_response(campaign_document())

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": hello\n\n")
        for document in self.streamed:
            await response.write(f"event: campaign\ndata: {json.dumps(document)}\n\n".encode())
        return response

    async def _add_image(self, request: web.Request) -> web.Response:
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        data = file.file.read()
        if not data:
            raise ImageEmpty("The upload is empty.")
        if file.filename in self.refuse:
            raise ImageBroken("The picture's data is damaged or cut off.")
        digest = hashlib.sha256(data).hexdigest()
        known = digest in self.images
        labels, complete = json.loads(str(form["labels"])), form["complete"] == "true"
        stored = self.images.get(digest, {}).get("labels", labels)
        if stored != labels and form.get("update") != "true":
            raise LabelsDiffer("It has other labels.", image_id=digest, stored=stored, sent=labels)
        fold = self.images.get(digest, {}).get("fold", form.get("fold", "train"))
        tone = int(str(form["skin_tone"])) if "skin_tone" in form else None
        said = {"group": form.get("group"), "fold": fold, "skin_tone": tone}
        changes = {**said, **self.alike.get(file.filename, {})}
        self.images[digest] = image_document(digest, labels, complete=complete, **changes)
        return web.json_response(self.images[digest], status=200 if known else 201)

    async def _review(self, request: web.Request) -> web.Response:
        results: list[dict[str, Any]] = []
        for said in (await request.json())["reviews"]:
            image = self.images[said["image_id"]]
            image.update(labels=said["labels"], reviewer=said["reviewer"], status=said["verdict"])
            results.append({"image_id": said["image_id"], "ok": True})
        return web.json_response({"results": results}, status=201)

    async def _images(self, request: web.Request) -> web.Response:
        start, limit = int(request.query.get("cursor", "0")), int(request.query.get("limit", "50"))
        query = request.query
        found = [
            image
            for image in self.images.values()
            if query.get("status", image["status"]) == image["status"]
            and query.get("skin_tone", str(image["skin_tone"])) == str(image["skin_tone"])
            and ("condition" not in query or query["condition"] in image["labels"])
            and ("severity" not in query or image["labels"][query["condition"]] == query["severity"])
        ]
        following = str(start + limit) if start + limit < len(found) else None
        return web.json_response({"images": found[start : start + limit], "next_cursor": following})

    async def _thumbnail(self, request: web.Request) -> web.Response:
        if request.match_info["id"] in self.without_picture:
            raise BlobNotFound("No object has this key.")
        return web.Response(body=self.thumbnail, content_type="image/webp")

    async def _export(self, request: web.Request) -> web.Response:
        if request.query["format"] == "imagefolder":
            body = (self.tar or export_tar)()
            return web.Response(body=body, content_type="application/x-tar")
        if request.query["format"] not in ("coco", "csv", "labelstudio"):
            raise NotFound("No such format.")
        if request.query["format"] == "labelstudio":
            return web.json_response([{"annotators": request.query.get("annotators", "false")}])
        return web.Response(text="file,condition\n", content_type="text/csv")

    async def _models(self, _: web.Request) -> web.Response:
        live = next((live_document(model["version"]) for model in self.models if model["live"]), None)
        return web.json_response({"live": live, "models": self.models})

    async def _model_file(self, request: web.Request) -> web.Response:
        version, name = request.match_info["version"], request.match_info["name"]
        if f"{version}/{name}" not in self.model_files:
            raise NotFound(f"There is no '{name}' of model '{version}'.")
        return web.Response(body=self.model_files[f"{version}/{name}"])

    async def _promote(self, request: web.Request) -> web.Response:
        version = request.match_info["version"]
        if version not in [model["version"] for model in self.models]:
            raise NotFound(f"No model has the version '{version}'.")
        self.promotions.append({"version": version, **await request.json()})
        return web.json_response(live_document(version))

    async def _rollback(self, _: web.Request) -> web.Response:
        return web.json_response(live_document("v0"))

    async def _dead_letters(self, request: web.Request) -> web.Response:
        queue = request.query.get("queue")
        found = [letter for letter in self.dead if queue in (None, letter["queue"])]
        return web.json_response({"dead_letters": found})

    async def _replay(self, request: web.Request) -> web.Response:
        replayed, self.dead = len(self.dead), []
        return web.json_response({"replayed": replayed})

    async def _predict(self, request: web.Request) -> web.Response:
        form = await request.post()
        return web.json_response(_prediction(form["image"]))

    async def _predict_batch(self, request: web.Request) -> web.Response:
        told: list[dict[str, Any]] = []
        for file in (await request.post()).getall("image"):
            try:
                told.append({"prediction": _prediction(file)})
            except ImageBroken as error:
                told.append({"problem": error.problem()})
        return web.json_response({"model_version": "v1", "pictures": told})


def _prediction(file: object) -> dict[str, Any]:
    assert isinstance(file, web.FileField)
    if not file.file.read().startswith(b"\xff\xd8"):
        raise ImageBroken("The picture's data is damaged or cut off.", advice="Send it again.")
    return prediction_document()


def prediction_document() -> dict[str, Any]:
    """An answer of the model-server: redness is there, the others are not."""
    return {
        "notice": NOTICE,
        "model_version": "v1",
        "preprocessing": "shared.preprocessing.face/1",
        "conditions": [
            {
                "condition": c.value,
                "present": c is Condition.REDNESS,
                "probability": 0.9 if c is Condition.REDNESS else 0.1,
                "severity": "moderate" if c is Condition.REDNESS else None,
                "severity_probabilities": {"absent": 0.1, **{s.label: 0.3 for s in Severity}},
            }
            for c in Condition
        ],
        "image": {
            "width": 512,
            "height": 512,
            "format": "JPEG",
            "orientation": 1,
            "crop": {"left": 0.0, "top": 0.0, "width": 512.0, "height": 512.0},
        },
        "face_search": "on",
        "face": {
            "x": 250.0,
            "y": 270.0,
            "width": 200.0,
            "height": 260.0,
            "points": [[210.0, 230.0], [290.0, 230.0], [250.0, 280.0], [220.0, 330.0], [280.0, 330.0]],
            "score": 0.9,
            "roll": 0.0,
            "yaw": 0.0,
        },
        "frame": {
            "found": True,
            "width": 512,
            "height": 512,
            "turn": 0,
            "square": {"x": 250.0, "y": 260.0, "side": 308.0, "roll": 0.0},
        },
        "advice": [],
        "warnings": ["This model was trained on drawn faces."],
        "timing_ms": {"decode": 4.0, "inference": 7.0, "total": 12.0},
    }


def export_tar(names: tuple[str, ...] = ("acne/mild/a.jpg", "clear/b.png")) -> bytes:
    """A tar of files with a few bytes each."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
    return buffer.getvalue()


LAST_ROUNDS = 20
"""Rounds of a loop after its server was closed. A connection that was just accepted takes six of them to be made, found
closed by its client, and let go; rounds and not a time, since on a busy machine a time may have passed in two."""


def serve_in_thread(server: FakeServer) -> Iterator[FakeServer]:
    """Run the server on a free port until the generator is closed; a body for a fixture."""
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def run() -> None:
        runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await stop.wait()
        await runner.cleanup()
        # A connection that was being accepted meanwhile has a task of its own, and is closed only after it.
        if others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=LIMIT_S)
        for _ in range(LAST_ROUNDS):
            await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="fake server")
    thread.start()
    started.wait(LIMIT_S)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(LIMIT_S)
        loop.close()
