// Server-sent events: taken apart wherever their text is cut, and followed across what breaks.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { eventReader, follow, pauseMs } from "../../../services/labeler_api/web/static/events.js";

describe("reading", () => {
  test("events are found wherever the text is cut", () => {
    const text = ':\n\nid: 1\nevent: dashboard\ndata: {"a":1}\n\n: alive\n\nid:2\r\ndata: x\r\ndata: y\r\n\r\n';
    const expected = [{ id: "1", event: "dashboard", data: '{"a":1}' }, { id: "2", data: "x\ny" }];
    assert.deepEqual(eventReader()(text), expected);
    for (let at = 1; at < text.length; at += 1) {
      const read = eventReader();
      assert.deepEqual([...read(text.slice(0, at)), ...read(text.slice(at))], expected, `cut at ${at}`);
    }
  });

  test("what is not complete is kept back", () => {
    const read = eventReader();
    assert.deepEqual(read("data: half"), []);
    assert.deepEqual(read(" and half\n\n"), [{ data: "half and half" }]);
  });
});

test("each failure in a row waits longer, up to a limit", () => {
  const pauses = [0, 1, 2, 3, 20].map(pauseMs);
  assert.deepEqual(pauses, [500, 1000, 2000, 4000, 10_000]);
});

test("a stream that breaks is opened again with the id of the last event", async () => {
  const answers = [
    () => new Response("id: a\ndata: one\n\n"),
    () => { throw new TypeError("refused"); },
    () => { throw new TypeError("refused"); },
    () => new Response(":\n\n"),
    () => new Response("id: b\ndata: two\n\n"),
  ];
  const [asked, heard, lost, waited] = [[], [], [], []];
  let alive = 0;
  await follow({
    open: async (lastId) => {
      asked.push(lastId);
      return answers[asked.length - 1]();
    },
    heard: ({ data }) => heard.push(data),
    connected: () => { alive += 1; },
    lost: (error) => lost.push(error?.message ?? null),
    wait: async (ms) => waited.push(ms),
    goesOn: () => asked.length < answers.length,
  });
  assert.deepEqual(asked, [null, "a", "a", "a", "a"]);
  assert.deepEqual(heard, ["one", "two"]);
  assert.deepEqual(lost, [null, "refused", "refused", null, null]);
  assert.deepEqual(waited, [500, 1000, 2000, 500, 500]);
  assert.equal(alive, 3);
});
