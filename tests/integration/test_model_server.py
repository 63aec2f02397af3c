"""The model-server over HTTP: answers, swaps, bad input, overload, and what it must never keep."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import sys
import tempfile
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from PIL import Image

from services.model_server.app import build
from services.model_server.settings import ModelServerSettings
from shared.embedded.blobs import DirectoryBlobs
from shared.errors import ConfigurationError
from shared.installed_models import installed_model
from shared.logs import configure_logs
from shared.preprocessing import Preprocessing, prepare
from shared.taxonomy import Condition
from tests.eventually import LIMIT_S, eventually
from tests.fakes.together import Together
from tests.unit.model_server.pictures import SELFIES, encoded, face, noise, orientations
from tests.unit.model_server.serving import Running, form, in_pieces, running
from tests.unit.model_server.tiny_model import SIZE, put_model, tiny_model
from tests.unit.shared.portraits import drawn_file

MAX_BYTES = 300_000
MAX_PIXELS = 1_000_000
JPEG = encoded(face())


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1", at=datetime(2026, 1, 1, tzinfo=UTC))
    async with running(tmp_path, max_image_bytes=MAX_BYTES, max_image_pixels=MAX_PIXELS, infer_max_batch=2) as started:
        yield started


async def test_a_picture_gets_the_same_answer_however_it_is_sent(server: Running) -> None:
    data = encoded(face())
    answers = [
        await server.predict(data),
        await server.predict(data, "application/octet-stream"),
        await server.predict(data, "image/png"),  # the bytes count, not what the header says of them
        await server.predict(form(data), None),
        await server.predict(form(data, content_type="application/octet-stream"), None),
        await server.predict(in_pieces(data)),  # chunked: no length known
    ]
    assert [answer.status for answer in answers] == [200] * 6
    assert all(answer.json["conditions"] == answers[0].json["conditions"] for answer in answers)
    assert all(answer.headers["Cache-Control"] == "no-store" for answer in answers)
    first = answers[0].json
    assert first["model_version"] == "v1"
    assert [found["condition"] for found in first["conditions"]] == list(Condition)
    assert (first["image"]["width"], first["image"]["height"]) == (300, 360)
    assert set(first["timing_ms"]) == {"decode", "inference", "total"}
    assert server.metric("evenskin_predictions_total", outcome="ok") == 6
    assert server.metric("evenskin_prediction_seconds_count", stage="total") == 6
    for found in first["conditions"]:
        verdict = "present" if found["present"] else "absent"
        assert server.metric("evenskin_condition_verdicts_total", condition=found["condition"], verdict=verdict) == 6
    assert server.metric("evenskin_verdict_confidence_ratio_count") == 6
    assert server.metric("evenskin_input_brightness_ratio_count") == 6


async def test_a_shadow_model_sees_every_picture_and_shows_in_metrics_alone(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path / "store")
    await put_model(blobs, "v1")
    await put_model(blobs, "v2", live=False)
    async with running(tmp_path, shadow_model="v2") as server:
        await eventually(lambda: server.metric("evenskin_shadow_model_info", version="v2") == 1)
        answers = [await server.predict(JPEG) for _ in range(3)]
        assert {answer.json["model_version"] for answer in answers} == {"v1"}
        await eventually(lambda: server.metric("evenskin_shadow_pictures_total", outcome="compared") == 3)
        assert server.metric("evenskin_shadow_difference_ratio_sum") > 0  # two models
        verdicts = [
            server.metric("evenskin_shadow_verdicts_total", condition=condition, outcome="same")
            + server.metric("evenskin_shadow_verdicts_total", condition=condition, outcome="other")
            for condition in Condition
        ]
        assert verdicts == [3.0] * len(Condition)


async def test_a_shadow_that_is_not_there_yet_is_looked_for_and_one_of_another_input_is_told_of(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path / "store")
    await put_model(blobs, "v1")
    async with running(tmp_path, shadow_model="v2", model_poll_s=0.01) as server:
        assert (await server.predict(JPEG)).status == 200
        other = tiny_model("v2", preprocessing=Preprocessing.MIDDLE_2.described(SIZE))
        await put_model(blobs, "v2", other, live=False)
        await eventually(lambda: server.metric("evenskin_shadow_model_info", version="v2") == 1)
        assert (await server.predict(JPEG)).status == 200
        await eventually(lambda: server.metric("evenskin_shadow_pictures_total", outcome="unfit") == 1)


async def test_large_pictures_are_decoded_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = Together()
    monkeypatch.setattr("services.model_server.prediction.prepare", at_once.watching(prepare))
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path, predict_workers=4, decode_pixels=300 * 360) as server:
        png = encoded(face(), "PNG")
        answers = await asyncio.gather(*(server.predict(png, "image/png") for _ in range(6)))
    assert [answer.status for answer in answers] == [200] * 6
    assert (at_once.count, at_once.most) == (6, 1)


async def test_real_selfies_in_every_orientation_get_one_answer(tmp_path: Path) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    # Without a search: this model weighs pixels by chance, and a frame is found anew in each file, to part of a pixel.
    async with running(tmp_path, faces="off") as server:
        for pictures in orientations().values():
            answers = [(await server.predict(data)).json for data in pictures.values()]
            assert [answer["image"]["orientation"] for answer in answers] == list(range(1, 9))
            for answer in answers:
                for found, upright in zip(answer["conditions"], answers[0]["conditions"], strict=True):
                    assert found["severity_probabilities"] == pytest.approx(upright["severity_probabilities"], abs=0.02)
        whole = SELFIES / "astronaut.png"
        data = whole.read_bytes() if whole.exists() else encoded(face(512, 512), "PNG")
        assert (await server.predict(data, "image/png")).status == 200


@pytest.mark.parametrize("format", ["PNG", "WEBP", "HEIF", "AVIF"])
async def test_other_formats_are_read(server: Running, format: str) -> None:
    answer = await server.predict(encoded(face(), format), "application/octet-stream")
    assert (answer.status, answer.json["image"]["format"]) == (200, format)


@pytest.mark.parametrize(("asked", "mode", "most"), [("1", "L", 64), ("grid", "L", 64), ("overlay", "RGBA", 256)])
async def test_heatmaps_are_small_pngs(server: Running, asked: str, mode: str, most: int) -> None:
    answer = await server.predict(encoded(face()), query=f"?heatmap={asked}")
    for found in answer.json["conditions"]:
        image = Image.open(io.BytesIO(base64.b64decode(found["heatmap"])))
        assert (image.format, image.mode) == ("PNG", mode)
        assert max(image.size) <= most
    plain = await server.predict(encoded(face()), query="?heatmap=0")
    assert not any("heatmap" in found for found in plain.json["conditions"])


async def test_face_frame_and_advice_are_answered_and_counted(server: Running) -> None:
    answer = (await server.predict(drawn_file(), "image/png")).json
    assert (answer["face_search"], answer["frame"]["found"], answer["advice"]) == ("on", True, [])
    assert len(answer["face"]["points"]) == 5
    answer = (await server.predict(JPEG)).json
    assert (answer["face"], answer["frame"]["found"]) == (None, False)
    assert [advice["code"] for advice in answer["advice"]] == ["no_face"]
    assert server.metric("evenskin_picture_advice_total", code="no_face") == 1


async def test_a_picture_that_is_no_portrait_is_refused_where_that_is_asked_for(tmp_path: Path) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path, face_policy="require") as server:
        assert (await server.predict(drawn_file(), "image/png")).status == 200
        refused = await server.predict(JPEG)
        assert (refused.status, refused.code) == (422, "no_face")
        assert [reason["code"] for reason in refused.json["reasons"]] == ["no_face"]
        assert refused.json["portrait"]["faces"] == 0
        assert server.metric("evenskin_predictions_total", outcome="no_face") == 1


async def test_a_model_of_an_older_preprocessing_is_served_and_one_of_an_unknown_is_not(server: Running) -> None:
    at = datetime(2026, 2, 1, tzinfo=UTC)
    older = tiny_model("v2", preprocessing=Preprocessing.MIDDLE_2.described(SIZE))
    await server.promote(await put_model(server.blobs, "v2", older, at=at))
    await until(server, "v2")
    answer = (await server.predict(drawn_file(), "image/png")).json
    assert (answer["preprocessing"], answer["frame"]["square"]["roll"]) == ("shared.imaging.square/2", 0)
    assert answer["face"] is not None

    unknown = tiny_model("v3", preprocessing="shared.preprocessing.face/9: from the future")
    await server.promote(await put_model(server.blobs, "v3", unknown, at=at + timedelta(hours=1)))
    await eventually(lambda: server.metric("evenskin_model_swaps_total", outcome="failed"), "A swap that fails")
    assert (await server.predict(JPEG)).json["model_version"] == "v2"


async def test_without_the_detectors_file_it_does_not_start_and_says_how_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.faces.installed_model", lambda name, _: installed_model(name, tmp_path))
    with pytest.raises(ConfigurationError) as caught:
        build(ModelServerSettings.load(_env_file=None, home=tmp_path))
    assert "EVENSKIN_FACES=off" in caught.value.advice
    build(ModelServerSettings.load(_env_file=None, home=tmp_path, faces="off"))


async def test_the_model_is_described(server: Running) -> None:
    answer = (await server.ask("GET", "/v1/model")).json
    assert (answer["version"], answer["metadata"]["input_size"]) == ("v1", SIZE)
    assert answer["card"]["intended_use"] == "Tests."


async def test_without_a_model_it_is_up_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        assert (await server.ask("GET", "/healthz")).status == 200
        for method, path in (("GET", "/readyz"), ("GET", "/v1/model"), ("GET", "/v2/health/ready")):
            answer = await server.ask(method, path)
            assert (answer.status, answer.code) == (503, "no_model")
            assert answer.headers["Retry-After"]
        assert (await server.predict(JPEG)).code == "no_model"
        assert (await server.ask("GET", "/")).status == 200

        await server.promote(await put_model(server.blobs, "v1"))
        await until(server, "v1")
        assert (await server.ask("GET", "/readyz")).status == 200
        assert (await server.predict(JPEG)).status == 200


async def until(server: Running, version: str) -> None:
    """Wait for a version to be served."""

    async def served() -> bool:
        return bool((await server.ask("GET", "/v1/model")).json.get("version") == version)

    await eventually(served, version)


async def test_no_request_is_dropped_while_models_are_swapped(server: Running) -> None:
    versions = [f"v{number}" for number in range(2, 8)]
    started = datetime.now(UTC)
    done = asyncio.Event()
    seen: list[list[str]] = []

    async def ask_on_and_on() -> None:
        mine: list[str] = []
        seen.append(mine)
        while not done.is_set():
            answer = await server.predict(JPEG)
            assert answer.status == 200, answer.body
            mine.append(answer.json["model_version"])

    clients = [asyncio.create_task(ask_on_and_on()) for _ in range(6)]
    for number, version in enumerate(versions):
        event = await put_model(server.blobs, version, at=started + timedelta(seconds=number))
        await server.promote(event)
        await until(server, version)
    broken = event.model_copy(
        update={"version": "v99", "promoted_at": started + timedelta(hours=1), "sha256": "0" * 64}
    )
    await server.promote(broken)
    await eventually(lambda: server.metric("evenskin_model_swaps_total", outcome="failed"), "A swap that fails")
    await eventually(lambda: all("v7" in mine for mine in seen), "An answer of the newest model for everybody")
    done.set()
    await asyncio.gather(*clients)

    order = {version: place for place, version in enumerate(["v1", *versions])}
    for mine in seen:
        assert mine == sorted(mine, key=order.__getitem__)  # never back to an older one
    assert {version for mine in seen for version in mine} >= {"v1", "v7"}
    assert (await server.predict(JPEG)).json["model_version"] == "v7"
    assert server.metric("evenskin_model_swaps_total", outcome="failed") == 1


async def in_hand(server: Running, requests: int) -> None:
    """Wait until so many prediction requests are in hand."""
    await eventually(lambda: server.metric("evenskin_predictions_in_hand") >= requests)


class Gate:
    """Holds predictions on their workers until it is opened. `reached`: by the first one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.reached = threading.Event()

        def held(*arguments: Any, **options: Any) -> Any:
            self.reached.set()
            assert self.open.wait(LIMIT_S)
            return prepare(*arguments, **options)

        monkeypatch.setattr("services.model_server.prediction.prepare", held)


async def test_more_than_can_wait_is_turned_away_and_the_rest_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    gate = Gate(monkeypatch)
    async with running(tmp_path, predict_workers=1, predict_queue=2) as server:
        waiting = [asyncio.create_task(server.predict(JPEG)) for _ in range(3)]
        await in_hand(server, 3)
        turned_away = await server.predict(JPEG)
        assert (turned_away.status, turned_away.code) == (503, "overloaded")
        assert int(turned_away.headers["Retry-After"]) > 0
        assert (await server.ask("GET", "/healthz")).status == 200  # the event loop is free meanwhile
        gate.open.set()
        assert [answer.status for answer in await asyncio.gather(*waiting)] == [200] * 3


async def test_callers_that_ask_again_at_once_are_all_refused_in_time_and_without_a_line_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.model_server.refusals.AT_ONCE", 1)
    monkeypatch.setattr("services.model_server.refusals.MOST_S", 0.05)
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    gate = Gate(monkeypatch)
    body = encoded(noise(400), "PNG")
    async with running(tmp_path, predict_workers=1, predict_queue=0) as server:
        waiting = asyncio.create_task(server.predict(JPEG))
        await in_hand(server, 1)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                refused = await asyncio.gather(*(server.predict(body, "image/png") for _ in range(8)))
                assert {(answer.status, answer.code) for answer in refused} == {(503, "overloaded")}
        assert logs == []
        assert server.metric("evenskin_predictions_total", outcome="overloaded") == 24
        gate.open.set()
        assert (await waiting).status == 200
        assert (await server.predict(JPEG)).status == 200


async def test_a_caller_that_waits_to_be_invited_is_refused_before_it_sends_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    gate = Gate(monkeypatch)
    async with running(tmp_path, predict_workers=1, predict_queue=0) as server:
        waiting = asyncio.create_task(server.predict(JPEG))
        await in_hand(server, 1)
        head = await uninvited(server, b"")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"connection: close" in head.lower()
        gate.open.set()
        assert (await waiting).status == 200
        await eventually(lambda: server.metric("evenskin_predictions_in_hand") == 0)
        head = await uninvited(server, JPEG)
        assert head.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


async def uninvited(server: Running, body: bytes) -> bytes:
    """What comes back for a request that sends its body, if any, once it is told to; to the connection's end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.service.port)
    try:
        head = f"POST /v1/predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(JPEG)}\r\n"
        head += "Content-Type: image/jpeg\r\nExpect: 100-continue\r\n"
        writer.write((head + ("Connection: close\r\n" if body else "") + "\r\n").encode())
        told = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), LIMIT_S)
        writer.write(body)
        if not body:
            writer.write_eof()
        return told + await asyncio.wait_for(reader.read(), LIMIT_S)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_the_work_of_a_client_that_left_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    gate = Gate(monkeypatch)
    async with running(tmp_path, predict_workers=1, predict_queue=8) as server:
        stays = asyncio.create_task(server.predict(JPEG))
        await eventually(gate.reached.is_set)
        leave = [asyncio.create_task(server.predict(JPEG)) for _ in range(4)]
        await in_hand(server, 5)
        for task in leave:
            task.cancel()
        await eventually(lambda: server.metric("evenskin_predictions_in_hand") == 1)
        gate.open.set()
        assert (await stays).status == 200
        assert server.metric("evenskin_predictions_total", outcome="client_gone") == 4
        assert server.metric("evenskin_prediction_seconds_count", stage="total") == 1


async def test_a_request_in_flight_finishes_on_the_model_it_began_with(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    waiting = asyncio.create_task(server.predict(JPEG))
    await eventually(gate.reached.is_set)
    await server.promote(await put_model(server.blobs, "v2"))
    await until(server, "v2")
    gate.open.set()
    assert (await waiting).json["model_version"] == "v1"
    assert (await server.predict(JPEG)).json["model_version"] == "v2"


async def test_a_store_that_goes_away_takes_no_prediction_with_it(server: Running, tmp_path: Path) -> None:
    (tmp_path / "store").rename(tmp_path / "elsewhere")
    (tmp_path / "store").write_text("no directory")
    assert (await server.ask("GET", "/readyz")).status == 200
    assert (await server.predict(JPEG)).status == 200


_watching = threading.Event()
_written: list[str] = []  # while watching: every file that anybody in this process opens for writing


def _note_writes(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching.is_set() and event == "open" and isinstance(arguments[2], int):
        writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        _written.extend([str(arguments[0])] if writes else [])


def everything_below(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


async def test_a_selfie_is_never_stored_or_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(tmp_path)
    await put_model(DirectoryBlobs(home / "store"), "v1")
    data = encoded(noise(400), "PNG")  # large enough that a spooled upload would go to the disk
    sys.addaudithook(_note_writes)
    configure_logs("model-server", level="DEBUG")
    try:
        async with running(home) as server:
            before = everything_below(tmp_path)
            _watching.set()
            secret = form(data, content_type="image/png")
            assert (await server.predict(data, query="?heatmap=1")).status == 200
            assert (await server.predict(secret, None)).status == 200
            assert (await server.predict(data[:-5000])).code == "image_broken"
            assert (await server.predict(data[:-5000] + b"\0" * 5000)).code == "image_broken"
            assert _written == []
            assert everything_below(tmp_path) == before
    finally:
        _watching.clear()
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    told = "".join(capfd.readouterr())
    assert "service_started" in told
    for trace in ("selfie.jpg", "IDAT", "\\x89PNG", base64.b64encode(data[:60]).decode()[:40], data[:30].hex()):
        assert trace not in told
    assert len(told) < 5000


async def test_the_page_needs_no_key_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path, api_key="secret") as server:
        page = await server.ask("GET", "/")
        assert page.status == 200
        assert "script-src 'self'" in page.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert page.headers["X-Content-Type-Options"] == "nosniff"
        text = page.body.decode()
        assert "http://" not in text
        assert "https://" not in text
        files = [part.split('"')[0] for part in text.split('"/static/')[1:]]
        assert files
        for name in files:
            assert (await server.ask("GET", f"/static/{name}")).status == 200, name
        assert (await server.predict(JPEG)).code == "unauthorized"
        for path in ("/static/../v1/model", "/static/%2e%2e/v1/model"):
            assert (await server.ask("GET", path)).status in (401, 404)
        answer = await server.ask("GET", "/v1/model", headers={"Authorization": "Bearer secret"})
        assert answer.code == "no_model"


async def test_under_a_name_that_is_not_ours_nothing_is_answered(tmp_path: Path) -> None:
    elsewhere = {"Host": "elsewhere.example", "Origin": "http://elsewhere.example"}
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1")
    async with running(tmp_path) as server:
        for path in ("/", "/v1/model", "/v2"):
            answer = await server.ask("GET", path, headers=elsewhere)
            assert (answer.status, answer.code) == (403, "foreign_host"), path
        answer = await server.ask("POST", "/v2/models/evenskin/infer", json={}, headers=elsewhere)
        assert (answer.code, answer.json["error"]) == ("foreign_host", answer.json["detail"])
        # It keeps nothing and changes nothing: whoever has its address may send it a picture, from any page.
        jpeg = {"Content-Type": "image/jpeg", "Origin": "http://elsewhere.example"}
        assert (await server.ask("POST", "/v1/predictions", data=JPEG, headers=jpeg)).status == 200
