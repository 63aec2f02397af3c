// Server-sent events over fetch: EventSource cannot send an API key. HTML Standard, section 9.2.

export const SILENCE_MS = 40_000; // the server sends something every 15 s: after this long the connection is dead
const FIRST_PAUSE_MS = 500;
const MOST_PAUSE_MS = 10_000;

/** A reader of a stream's text: given the next piece of it, it returns the events that are complete, as { id, event, data }. */
export function eventReader() {
  let rest = "";
  return (text) => {
    const blocks = (rest + text).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    return blocks.map(fieldsOf).filter(({ data }) => data !== undefined);
  };
}

function fieldsOf(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at <= 0) continue; // a comment, or nothing
    const [name, value] = [line.slice(0, at), line.slice(at + 1).replace(/^ /, "")];
    fields[name] = name === "data" && fields.data !== undefined ? `${fields.data}\n${value}` : value;
  }
  return fields;
}

/** Milliseconds before the next connection after so many failures in a row. */
export const pauseMs = (failures) => Math.min(MOST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures);

/**
 * Follow a stream, for ever; what breaks is opened again, with the id of the last event.
 *
 * `open(lastId, signal)` answers with a Response; `heard(event)` is told of each event, `connected()` of each sign of
 * life, `lost(error)` of each end, with null where the server ended it; `wait(ms)` passes the time between.
 */
export async function follow({ open, heard, connected, lost, wait, goesOn = () => true }) {
  let lastId = null;
  let failures = 0;
  while (goesOn()) {
    const given = new AbortController();
    let silence = 0;
    const listen = () => {
      clearTimeout(silence);
      silence = setTimeout(() => given.abort(), SILENCE_MS);
    };
    let error = null;
    try {
      listen();
      const response = await open(lastId, given.signal);
      const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
      const eventsIn = eventReader();
      for (let piece = await pieces.read(); !piece.done; piece = await pieces.read()) {
        listen();
        failures = 0;
        connected();
        for (const event of eventsIn(piece.value)) {
          lastId = event.id ?? lastId;
          heard(event);
        }
      }
    } catch (thrown) {
      error = thrown;
    } finally {
      clearTimeout(silence);
    }
    lost(error);
    await wait(pauseMs(failures));
    failures += 1;
  }
}
