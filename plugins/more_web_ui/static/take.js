// One request for speech: heard while it is made, with its waveform, its figures, and what can be done with it.

import { isStop, save } from "./api.js";
import { copyText } from "./copy.js";
import { attempt, busy, button, figures, h, icon, problemBox, put, select, tell } from "./dom.js";
import { asPcm, asWav, PcmReader, StreamPlayer } from "./player.js";
import { asCurl, asPython } from "./snippets.js";
import { Waveform } from "./waveform.js";

const FORMATS = ["wav", "mp3", "opus", "aac", "flac", "pcm"];
const HERE = { wav: asWav, pcm: (samples) => new Blob([asPcm(samples)]) }; // the others are encoded by the server

export class Take {
  #app;
  #stopping = new AbortController();
  #figures = h("div", { class: "told" });
  #problem = problemBox();
  #more = h("div", { class: "row" });
  #playing;
  #frame = 0; // that the waveform is to be drawn in
  #hush = () => this.player.playing && this.player.pause();
  #told = {}; // first audio and real-time factor, seconds, seed, guards

  /**
   * @param {any} app
   * @param {AudioContext} sound
   * @param {Record<string, any>} request  Fields of `POST /v1/audio/speech`, without a format.
   * @param {{title?: string, live?: boolean, ondone?: (take: Take) => void, onagain?: (request: any) => void}} [how]
   *   live: it is heard as it comes. ondone: all of it is there. onagain: it was broken off, and is wanted again.
   */
  constructor(app, sound, request, { title = "", live = true, ondone = () => {}, onagain = () => {} } = {}) {
    this.#app = app;
    this.request = request;
    Object.assign(this, { live, ondone, onagain });
    this.player = new StreamPlayer(sound, () => this.#look());
    this.wave = new Waveform(app.t("speak.waveform"), (seconds) => this.player.seek(seconds));
    this.#playing = button({ icon: "play", label: app.t("common.play"), onclick: () => this.toggle() });
    const about = title ? h("h3", {}, title) : null;
    const controls = h("div", { class: "row" }, this.#playing, this.#figures);
    this.element = h("article", { class: "card take", "aria-label": title || app.t("speak.result") }, about, this.wave.element, controls, this.#problem, this.#more);
  }

  /** A take that was made before, from its samples. */
  static kept(app, sound, { request, samples, told }) {
    const take = new Take(app, sound, request, { live: false });
    take.#arrived(samples);
    take.#told = told;
    take.#complete();
    return take;
  }

  /** What is worth keeping. */
  get record() {
    return { request: { ...this.request, seed: this.#told.seed ?? this.request.seed }, told: this.#told };
  }

  toggle() {
    if (this.player.playing) return this.player.pause();
    this.#app.plays(this.#hush);
    this.player.play();
  }

  stop() {
    this.#stopping.abort();
    this.#hush();
  }

  /**
   * Ask for it. What is refused before there is any audio is raised; what goes wrong later is told here.
   * @returns {Promise<boolean>} Whether all of it came.
   */
  async run() {
    const asked = performance.now();
    const body = { ...this.request, response_format: "pcm" };
    try {
      const response = await this.#app.api.send("POST", "/v1/audio/speech", { body, signal: this.#stopping.signal });
      this.#told.seed = wholeNumber(response.headers.get("x-seed"));
      this.#told.guards = response.headers.get("x-guards") ?? "";
      await this.#read(response.body.getReader(), asked);
    } catch (error) {
      if (isStop(error) || this.player.length) return this.#broken(error);
      throw error;
    }
    this.#told.factor = (performance.now() - asked) / 1000 / this.player.duration;
    this.#complete();
    this.ondone(this);
    return true;
  }

  async #read(reader, asked) {
    const pcm = new PcmReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const samples = pcm.read(value);
      if (!samples.length) continue;
      const isFirst = !this.player.length;
      if (isFirst) this.#told.first = performance.now() - asked;
      this.#arrived(samples);
      if (isFirst && this.live) this.toggle();
      this.#show();
    }
  }

  #arrived(samples) {
    this.player.push(samples);
    this.wave.add(samples);
  }

  /** It was stopped, or the connection was lost: what has come stays, and can be heard. */
  #broken(error) {
    const t = this.#app.t;
    this.player.end();
    this.wave.growing = false;
    const seconds = this.player.duration;
    if (!isStop(error)) tell(this.element, { message: t("speak.lost", { seconds: Number(seconds.toFixed(1)) }) });
    put(this.#more, button({ icon: "refresh", text: t("speak.again"), onclick: () => this.onagain(this.request) }));
    this.#look();
    return false;
  }

  #complete() {
    this.player.end();
    this.wave.growing = false;
    this.#show();
    this.#look();
    this.#offer();
  }

  #show() {
    const { first, factor, seed, guards } = this.#told;
    const t = this.#app.t;
    const rows = [
      [t("speak.length"), t("speak.seconds", { seconds: Number(this.player.duration.toFixed(1)) })],
      first != null && [t("speak.first"), t("speak.milliseconds", { count: Math.round(first) })],
      factor != null && [t("speak.factor"), t("speak.times", { speed: Number(factor.toFixed(2)) })],
      [t("speak.seed"), seed],
      [t("speak.guards"), guards],
    ];
    put(this.#figures, figures(rows));
  }

  #offer() {
    const app = this.#app;
    const format = select(FORMATS.map((one) => [one, one]), "mp3", { "aria-label": app.t("speak.format"), class: "format" });
    const request = () => ({ ...this.record.request, response_format: format.value });
    const fetched = button({ icon: "download", text: app.t("common.download"), onclick: () => busy(fetched, () => this.#download(request())) });
    const copies = [
      button({ icon: "copy", text: "curl", label: app.t("speak.copyCurl"), onclick: () => copyText(app, asCurl(app.api, request())) }),
      button({ icon: "copy", text: "Python", label: app.t("speak.copyPython"), onclick: () => copyText(app, asPython(app.api, request())) }),
    ];
    put(this.#more, format, fetched, copies);
  }

  /** The same seed makes the same audio, so another format is asked for anew. */
  #download(request) {
    return attempt(this.element, async () => {
      const make = HERE[request.response_format];
      const blob = make ? make(this.player.samples()) : await this.#app.api.spoken({ ...request, stream: false });
      save(blob, `${this.#name()}.${request.response_format}`);
    });
  }

  #name() {
    const words = this.request.input.normalize("NFKD").match(/[\p{Letter}\p{Number}]+/gu) ?? [];
    return words.slice(0, 6).join("-").slice(0, 48).toLowerCase() || "speech";
  }

  #look() {
    const { playing } = this.player;
    put(this.#playing, icon(playing ? "pause" : "play"));
    this.#playing.ariaLabel = this.#playing.title = this.#app.t(playing ? "common.pause" : "common.play");
    this.#draw();
  }

  /** Again and again while it is heard. */
  #draw() {
    cancelAnimationFrame(this.#frame);
    this.wave.position = this.player.position;
    this.wave.draw();
    if (this.player.playing) this.#frame = requestAnimationFrame(() => this.#draw());
  }
}

/** A seed as a number, as long as JavaScript has one for it; it may have more digits, and goes back as they are. */
function wholeNumber(text) {
  return text && Number.isSafeInteger(Number(text)) ? Number(text) : text;
}
