// Uploads that go on where a connection broke: a client of tus 1.0 (https://tus.io).

import { ApiError, pause } from "./api.js";

const UPLOADS = "/v1/admin/uploads";
const TUS = { "tus-resumable": "1.0.0" };
const PIECE = 4 << 20; // bytes: what is sent again where a connection breaks
const TRIES = 5;
const PASSING = [0, 409, 423, 429, 502, 503, 504]; // states that may be over by the next try

/** The upload of a file; it can be sent again after whatever went wrong, and goes on where it was. */
export class Upload {
  #api;
  #t;
  id = "";
  offset = 0;

  /**
   * @param {any} app
   * @param {File} file
   */
  constructor({ api, t }, file) {
    this.#api = api;
    this.#t = t;
    this.file = file;
  }

  /**
   * Raises ApiError; what the signal is stopped with.
   * @param {AbortSignal} signal
   * @param {() => void} onprogress  `offset` has grown.
   */
  async send(signal, onprogress) {
    let isUnsure = !!this.id;
    if (!this.id) await this.#create(signal);
    for (let tries = 0; isUnsure || this.offset < this.file.size; ) {
      try {
        if (isUnsure) await this.#ask(signal);
        isUnsure = false;
        if (this.offset < this.file.size) await this.#piece(signal);
        tries = 0;
        onprogress();
      } catch (error) {
        if (!PASSING.includes(error.status) || ++tries >= TRIES) throw this.#forgotten(error);
        isUnsure = true;
        await pause(250 * 2 ** tries, signal);
      }
    }
  }

  /** Have the server forget what came. */
  async discard() {
    const id = this.id;
    [this.id, this.offset] = ["", 0];
    if (id) await this.#api.send("DELETE", `${UPLOADS}/${id}`, { headers: TUS });
  }

  async #create(signal) {
    const name = btoa(String.fromCharCode(...new TextEncoder().encode(this.file.name)));
    const headers = { ...TUS, "upload-length": String(this.file.size), "upload-metadata": `filename ${name}` };
    const made = await this.#api.send("POST", UPLOADS, { headers, signal });
    this.id = (await made.json()).id;
  }

  async #ask(signal) {
    const answer = await this.#api.send("HEAD", `${UPLOADS}/${this.id}`, { headers: TUS, signal });
    this.offset = Number(answer.headers.get("upload-offset"));
  }

  async #piece(signal) {
    const body = await this.#read(this.file.slice(this.offset, this.offset + PIECE));
    const type = { "content-type": "application/offset+octet-stream" };
    const headers = { ...TUS, ...type, "upload-offset": String(this.offset) };
    const answer = await this.#api.send("PATCH", `${UPLOADS}/${this.id}`, { body, headers, signal });
    this.offset = Number(answer.headers.get("upload-offset"));
  }

  async #read(piece) {
    try {
      return await piece.arrayBuffer();
    } catch (error) {
      const values = { name: this.file.name, reason: error.message };
      throw new ApiError(this.#t("jobs.unreadable", values), { status: -1 });
    }
  }

  /** The server knows nothing of it any more: the next try begins anew. */
  #forgotten(error) {
    if (error.status === 404) [this.id, this.offset] = ["", 0];
    return error;
  }
}
