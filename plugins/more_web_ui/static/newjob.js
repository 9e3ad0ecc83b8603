// Long text to be spoken: a text or a file, and how.

import { ApiError } from "./api.js";
import { attempt, busy, button, droppable, field, h, offer, problemBox, put, select } from "./dom.js";
import { previewOf } from "./preview.js";
import { choices } from "./settings.js";

const SHOWN = 300; // passages of a preview

/**
 * The form: `element`, and `shown()` for what can be chosen.
 * @param {any} app
 * @param {(job: any) => void} onjob  A job was begun.
 */
export function newJob(app, onjob) {
  const { t } = app;
  const source = textOrFile(app);
  const how = controls(app);
  const preview = h("div", { class: "stack", "aria-live": "polite" });
  const look = button({ text: t("jobs.new.preview"), onclick: (event) => asked(event, show) });
  const start = button({ icon: "play", text: t("jobs.new.start"), class: "primary", onclick: (event) => asked(event, begin) });
  const row = h("div", { class: "row end" }, look, start);
  const form = h("form", { class: "card", onsubmit: (event) => event.preventDefault(), oninput: stale, onchange: stale });
  put(form, source.elements, how.elements, problemBox(), row);
  droppable(form, ([file]) => file && source.take(file));
  for (const what of ["key", "ready", "voices", "profiles"]) app.on(what, () => form.offsetParent && shown());

  function stale() {
    put(preview); // it tells of what was asked for before
  }
  function asked({ currentTarget: pressed }, work) {
    const whole = async () => work({ kind: "speech", ...how.values(), ...(await source.value()) });
    return busy(pressed, () => attempt(form, whole));
  }
  async function show(body) {
    put(preview, previewOf(app, await app.api.json("POST", `/v1/jobs/preview?limit=${SHOWN}`, body)));
    preview.scrollIntoView({ block: "nearest" });
  }
  async function begin(body) {
    const job = await app.api.json("POST", "/v1/jobs", body);
    source.empty();
    stale();
    onjob(job);
  }
  const shown = () => attempt(form, how.load);
  return { element: h("div", { class: "stack" }, form, preview), shown };
}

/** A text, or a file in its place. `value()` is the part of the request. */
function textOrFile(app) {
  const { t } = app;
  const text = h("textarea", { rows: 10 });
  const pick = h("input", { type: "file", accept: ".epub,.md,.markdown,.txt,text/*,application/epub+zip" });
  const name = h("span", { class: "grow" });
  const without = button({ icon: "close", label: t("jobs.new.withoutFile"), class: "quiet", onclick: () => take(null) });
  const chosen = h("div", { class: "row note", hidden: true }, name, without);
  const writing = field({ param: "input", label: t("jobs.new.text"), control: text });
  const filing = field({ param: "document", label: t("jobs.new.file"), hint: t("jobs.new.fileHint"), control: pick });
  filing.append(chosen);
  let file = null;

  pick.addEventListener("change", () => take(pick.files[0] ?? null));
  function take(one) {
    file = one;
    chosen.hidden = !file;
    writing.hidden = !!file;
    name.textContent = file ? `${file.name} · ${app.units.bytes(file.size)}` : "";
    if (pick.files[0] !== file) pick.value = "";
    text.dispatchEvent(new Event("input", { bubbles: true }));
  }
  function empty() {
    text.value = "";
    take(null);
  }
  const value = async () => (file ? { document: await base64(t, file) } : { input: text.value });
  return { elements: [writing, filing], take, empty, value };
}

/** A file as base64. Raises ApiError where it cannot be read. */
function base64(t, file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => {
      const told = t("jobs.unreadable", { name: file.name, reason: reader.error.message });
      reject(new ApiError(told, { param: "document" }));
    };
    reader.readAsDataURL(file);
  });
}

/** How it is to be spoken, and as what files. What is left empty is not sent: the server has defaults for it. */
function controls(app) {
  const { t } = app;
  const number = (least, most, step, value) => h("input", { type: "number", min: least, max: most, step, value });
  const formats = ["mp3", "m4b", "opus", "flac", "wav"];
  const by = {
    voice: select([["", t("jobs.new.serverVoice")]], ""),
    quality: select([["", t("jobs.new.serverQuality")]], ""),
    language: select([["", t("jobs.new.anyLanguage")]], ""),
    response_format: select(formats.map((one) => [one, one === "m4b" ? t("jobs.new.m4b") : one]), "mp3"),
    speed: number(0.25, 4, 0.05, 1),
    seed: number(0, Number.MAX_SAFE_INTEGER, 1, ""),
    title: h("input", { maxlength: 1000 }),
    author: h("input", { maxlength: 1000 }),
    chapter_pause_seconds: number(0, 30, 0.1, 1.5),
    paragraph_pause_seconds: number(0, 10, 0.1, 0.5),
  };
  const ticks = {
    split: h("input", { type: "checkbox" }),
    srt: h("input", { type: "checkbox" }),
    vtt: h("input", { type: "checkbox" }),
  };
  const named = (param, label, hint) => field({ param, label, hint, control: by[param] });
  const main = [
    named("voice", t("jobs.new.voice")),
    named("quality", t("jobs.new.quality")),
    named("language", t("jobs.languageOf")),
    named("response_format", t("jobs.new.format")),
  ];
  const rest = [
    named("speed", t("jobs.new.speed")),
    named("seed", t("jobs.new.seed"), t("jobs.new.seedHint")),
    named("title", t("jobs.new.title"), t("jobs.new.titleHint")),
    named("author", t("jobs.new.author"), t("jobs.new.titleHint")),
    named("chapter_pause_seconds", t("jobs.new.chapterPause")),
    named("paragraph_pause_seconds", t("jobs.new.paragraphPause")),
  ];
  const files = [
    field({ param: "split", label: t("jobs.new.split"), control: ticks.split }),
    field({ param: "subtitles", label: t("jobs.new.srt"), control: ticks.srt }),
    field({ label: t("jobs.new.vtt"), control: ticks.vtt }),
  ];
  const folded = h("details", {}, h("summary", {}, t("jobs.new.further")));
  folded.append(h("div", { class: "stack" }, h("div", { class: "columns" }, rest), h("div", { class: "columns" }, files)));

  function values() {
    const filled = Object.entries(by).filter(([, { value }]) => value.trim() !== "");
    const body = Object.fromEntries(filled.map(([name, { type, value }]) => [name, type === "number" ? Number(value) : value]));
    const subtitles = ["srt", "vtt"].filter((kind) => ticks[kind].checked);
    return { ...body, split: ticks.split.checked ? "chapters" : "none", subtitles };
  }
  return { elements: [h("div", { class: "columns" }, main), folded], values, load: () => fill(app, by) };
}

/** Voices, quality profiles and languages of the server; what was chosen stays. */
async function fill(app, { voice, quality, language }) {
  const { t } = app;
  const { voices, qualities, languages } = await choices(app);
  offer(voice, [["", t("jobs.new.serverVoice")], ...voices]);
  offer(quality, [["", t("jobs.new.serverQuality")], ...qualities]);
  offer(language, [["", t("jobs.new.anyLanguage")], ...languages]);
}
