// What was spoken, kept in this browser alone: the request and its audio, the latest first.

const NAME = "more";
const STORE = "takes";
const MOST = 40; // takes; 30 s each are 1.4 MB

/** Raises where the browser keeps nothing, as in some private windows. */
export async function openHistory() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id", autoIncrement: true });
  return new History(await done(request));
}

class History {
  #base;

  constructor(base) {
    this.#base = base;
  }

  #store(mode) {
    return this.#base.transaction(STORE, mode).objectStore(STORE);
  }

  /** All takes, the latest first: `{id, created, request, told, seconds, pcm}`. */
  async all() {
    return (await done(this.#store("readonly").getAll())).reverse();
  }

  /** Keep one; those that are too many go, the oldest first. */
  async add(take) {
    await done(this.#store("readwrite").add(take));
    const keys = await done(this.#store("readonly").getAllKeys());
    await Promise.all(keys.slice(0, -MOST).map((key) => this.remove(key)));
  }

  remove(id) {
    return done(this.#store("readwrite").delete(id));
  }

  clear() {
    return done(this.#store("readwrite").clear());
  }
}

function done(request) {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}
