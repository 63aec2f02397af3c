// The requests of the selfie page: what is asked, and what is said where it fails.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as api from "../../../services/model_server/static/api.js";
import { brokenOff, fakeBrowser, json, refused } from "./browser_fakes.mjs";

const UNREACHABLE = {
  code: "unreachable",
  message: "The server does not answer.",
  advice: "Check the connection, then try again.",
};
const picture = (type = "image/jpeg") => new Blob(["a picture"], { type });

/** What an ApiError holds, to be compared. */
const told = (expected) => (error) => {
  assert.ok(error instanceof api.ApiError, String(error));
  assert.deepEqual({ code: error.code, message: error.message, advice: error.advice }, expected);
  return true;
};

describe("requests", () => {
  test("a picture is posted as it is, and heatmaps are asked for", async () => {
    const requests = fakeBrowser(() => json({ model_version: "v1" }));
    const file = picture();
    const { signal } = new AbortController();
    assert.deepEqual(await api.predict(file, signal), { model_version: "v1" });
    const headers = { "Content-Type": "image/jpeg" };
    assert.deepEqual(requests, [{ path: "/v1/predictions?heatmap=1", method: "POST", body: file, headers, signal }]);
  });

  test("a file that says nothing of its type, or something else, is sent as bytes", async () => {
    const requests = fakeBrowser(() => json({}));
    for (const type of ["", "text/plain", "image/heic"]) await api.predict(picture(type));
    const types = requests.map(({ headers }) => headers["Content-Type"]);
    assert.deepEqual(types, ["application/octet-stream", "application/octet-stream", "image/heic"]);
  });

  test("given no key, when one is remembered, then every request carries it", async () => {
    const requests = fakeBrowser(() => json({}));
    assert.equal(api.hasKey(), false);
    await api.model();
    api.useKey("secret");
    assert.equal(api.hasKey(), true);
    await api.model();
    await api.predict(picture());
    assert.deepEqual(requests.map(({ path, headers }) => [path, headers.Authorization]), [
      ["/v1/model", undefined],
      ["/v1/model", "Bearer secret"],
      ["/v1/predictions?heatmap=1", "Bearer secret"],
    ]);
  });
});

describe("failures", () => {
  test("a problem document is passed on as it is", async () => {
    const advice = "Send it again.";
    fakeBrowser(() => json({ code: "image_broken", detail: "It ends too early.", advice }, 422));
    await assert.rejects(api.predict(picture()), told({ code: "image_broken", message: "It ends too early.", advice }));
  });

  test("a picture that is refused as a portrait comes with every reason", async () => {
    const reasons = [{ code: "face_cut", message: "Cut." }, { code: "too_dark", message: "Dark." }];
    fakeBrowser(() => json({ code: "face_cut", detail: "Cut.", status: 422, reasons }, 422));
    await assert.rejects(api.predict(picture()), (error) => {
      assert.deepEqual(error.reasons, reasons);
      return told({ code: "face_cut", message: "Cut.", advice: "" })(error);
    });
    assert.deepEqual(new api.ApiError("unknown", "Something.").reasons, []);
  });

  test("of an answer that is no problem document, its status is told", async () => {
    for (const body of ["<html>Bad gateway</html>", "", "null"]) {
      fakeBrowser(() => new Response(body, { status: 502 }));
      await assert.rejects(api.model(), told({ code: "unknown", message: "The server answered 502.", advice: "" }));
    }
  });

  test("an answer that is not JSON cannot be read", async () => {
    const expected = { code: "unknown", message: "The server's answer cannot be read.", advice: "" };
    for (const body of ["<html>Log in</html>", "null"]) {
      fakeBrowser(() => new Response(body));
      await assert.rejects(api.model(), told(expected));
    }
  });

  test("a server that cannot be reached, or is gone before the end of its answer, is told as such", async () => {
    for (const answer of [refused, brokenOff]) {
      fakeBrowser(answer);
      await assert.rejects(api.predict(picture()), told(UNREACHABLE));
    }
  });

  test("a request that the page gives up itself is no failure to be told", async () => {
    const aborted = () => {
      throw new DOMException("The user aborted a request.", "AbortError");
    };
    const broken = (error) => new Response(new ReadableStream({ start: (controller) => controller.error(error) }));
    for (const answer of [aborted, () => broken(new DOMException("Aborted while reading.", "AbortError"))]) {
      fakeBrowser(answer);
      await assert.rejects(api.predict(picture()), { name: "AbortError" });
    }
  });
});
