// The server's HTTP API, as anybody else uses it. Addresses are relative to the page, which may lie below a path.

const REMEMBERED = "more.key";
const LAST_WAIT = 10_000; // ms between tries to reach a stream of events again

/** What went wrong, as a sentence; `param` names the field that it is about. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {{status?: number, code?: string, param?: string | null, wait?: number}} [more]  status 0: no answer.
   */
  constructor(message, { status = 0, code = "", param = null, wait = 0 } = {}) {
    super(message);
    Object.assign(this, { status, code, param, wait });
  }

  /** Whether another key may be what is missing. */
  get needsKey() {
    return this.status === 401 || this.status === 403;
  }
}

/** Whether an error is only that somebody stopped it. */
export function isStop(error) {
  return error?.name === "AbortError";
}

export class Api {
  #t;

  /**
   * t: texts. onkey is called when the server asks for a key, or for another one, and gives whether there is one now:
   * then it is asked again.
   */
  constructor(t, onkey) {
    this.#t = t;
    this.onkey = onkey;
  }

  get key() {
    return sessionStorage.getItem(REMEMBERED) ?? localStorage.getItem(REMEMBERED) ?? "";
  }

  /** remember: also when the browser has been closed. */
  setKey(key, remember) {
    for (const store of [sessionStorage, localStorage]) store.removeItem(REMEMBERED);
    if (key) (remember ? localStorage : sessionStorage).setItem(REMEMBERED, key);
  }

  /** The whole address of a path of the API, such as "/v1/models". */
  url(path) {
    return new URL(path.replace(/^\//, ""), document.baseURI).href;
  }

  /**
   * The answer, once its head is there. Raises ApiError for whatever is no success.
   * @param {{body?: any, headers?: Record<string, string>, signal?: AbortSignal, quiet?: boolean}} [how]
   *   body: an object is sent as JSON, the rest as it is. quiet: nobody is asked for a key.
   */
  async send(method, path, { body, headers = {}, signal, quiet = false } = {}) {
    // What no header can hold is no key either, which the server says; `fetch` would look as if there was no server.
    const authorization = `Bearer ${this.key.replace(/[^!-~]/g, "?")}`;
    const all = this.key ? { authorization, ...headers } : { ...headers };
    const isJson = body && Object.getPrototypeOf(body) === Object.prototype;
    if (isJson) all["content-type"] = "application/json";
    let response;
    try {
      response = await fetch(this.url(path), { method, headers: all, signal, body: isJson ? JSON.stringify(body) : body });
    } catch (error) {
      if (isStop(error)) throw error;
      throw new ApiError(this.#t("errors.noServer"), { code: "no_server" });
    }
    if (response.ok) return response;
    const error = await this.#refusal(response);
    if (error.status !== 401 || quiet || !(await this.onkey(error.message))) throw error;
    return this.send(method, path, { body, headers, signal });
  }

  async json(method, path, body, how = {}) {
    const response = await this.send(method, path, { body, ...how });
    return response.status === 204 ? null : this.#whole(response.json());
  }

  get(path, how = {}) {
    return this.json("GET", path, undefined, how);
  }

  async blob(path, how = {}) {
    return this.#whole((await this.send("GET", path, how)).blob());
  }

  /** A whole speech; `body` is that of `POST /v1/audio/speech`. */
  async spoken(body) {
    return this.#whole((await this.send("POST", "/v1/audio/speech", { body })).blob());
  }

  /** A file into the folder that the browser puts downloads in. */
  async download(path, name) {
    save(await this.blob(path), name);
  }

  /**
   * Events of a stream: `{event, data}`, with data as an object. It is asked for again where the connection broke,
   * until `event: end`. Raises ApiError for a refusal.
   */
  async *events(path, signal) {
    for (let wait = 500; ; wait = Math.min(2 * wait, LAST_WAIT)) {
      try {
        const response = await this.send("GET", path, { signal });
        for await (const event of messages(response.body)) {
          wait = 500;
          yield event;
          if (event.event === "end") return;
        }
      } catch (error) {
        if (isStop(error) || (error instanceof ApiError && error.status)) throw error;
      }
      await pause(wait, signal);
    }
  }

  async #whole(content) {
    try {
      return await content;
    } catch (error) {
      if (isStop(error)) throw error;
      throw new ApiError(this.#t("errors.cut"), { code: "cut" });
    }
  }

  async #refusal(response) {
    const wait = Number(response.headers.get("retry-after") ?? 0);
    const told = await response.json().then(
      (body) => body.error ?? {},
      () => ({}),
    );
    const { status } = response;
    // To programs the server says which header it wants.
    const isBare = status === 401 && !this.key;
    const message = isBare ? this.#t("errors.noKey") : (told.message ?? this.#t("errors.status", { status }));
    return new ApiError(message, { ...told, status, wait });
  }
}

/** Hand a blob to the person, as a file. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = document.createElement("a");
  Object.assign(link, { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser may still be reading it
}

/** Wait some milliseconds; raises what the signal was stopped with. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stopped = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stopped);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stopped);
  });
}

/** Messages of an event stream (HTML, section 9.2): `event` and `data` of each, comments left out. */
async function* messages(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let rest = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const lines = block.split("\n").filter((line) => line && !line.startsWith(":"));
        if (!lines.length) continue;
        const parts = Object.fromEntries(lines.map((line) => line.split(/: (.*)/s)));
        yield { event: parts.event ?? "message", data: JSON.parse(parts.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // it may have broken by itself, which was raised where it was read
  }
}
