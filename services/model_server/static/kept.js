// Pictures and their answers that a person keeps, in this browser alone (IndexedDB): nothing is sent.

const STORE = "kept";

function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function inStore(mode, work) {
  const opening = indexedDB.open("evenskin", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
  const database = await done(opening);
  try {
    return await done(work(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

/** Keep a picture with its answer, without heatmaps. Returns its id. */
export function keep(file, answer) {
  const conditions = answer.conditions.map(({ heatmap, ...told }) => told);
  return inStore("readwrite", (store) => store.add({ at: Date.now(), file, answer: { ...answer, conditions } }));
}

/** All that is kept, the oldest first: `id`, `at` in milliseconds, `file`, `answer`. */
export const kept = () => inStore("readonly", (store) => store.getAll());

/** Delete one of them. */
export const forget = (id) => inStore("readwrite", (store) => store.delete(id));

/** Delete all of them. */
export const forgetAll = () => inStore("readwrite", (store) => store.clear());
