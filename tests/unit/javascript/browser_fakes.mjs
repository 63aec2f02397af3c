// What a page's requests need of a browser: this tab's storage, and a network that answers as a test says.

/** Put a fresh sessionStorage and `fetch` in place; returns the requests made from then on. */
export function fakeBrowser(answer) {
  const kept = new Map();
  const sessionStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, String(value)),
  };
  const requests = [];
  const fetch = async (path, options) => {
    requests.push({ path, ...options });
    return answer(path, options);
  };
  // Some versions of Node have these already, and not as plain values.
  for (const [name, value] of Object.entries({ sessionStorage, fetch })) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  return requests;
}

/** A server's answer in JSON. */
export const json = (document, status = 200) =>
  new Response(JSON.stringify(document), { status, headers: { "Content-Type": "application/json" } });

/** An answer whose connection breaks before its end. */
export const brokenOff = () =>
  new Response(new ReadableStream({ start: (controller) => controller.error(new TypeError("network error")) }));

/** What fetch does where nobody listens. */
export const refused = () => {
  throw new TypeError("Failed to fetch");
};
