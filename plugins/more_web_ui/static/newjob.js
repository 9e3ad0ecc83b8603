// Long text to be spoken: a text or a file, and how.

import { ApiError } from "./api.js";
import { busy, button, clear, field, h, problemBox, put, select } from "./dom.js";
import { fail, size } from "./jobwords.js";
import { previewOf } from "./preview.js";

const SHOWN = 300; // passages of a preview
const QUALITIES = { fast: "jobs.quality.fast", balanced: "jobs.quality.balanced", high_quality: "jobs.quality.high" };

/**
 * The form: `element` and `load()` for what can be chosen.
 * @param {any} app
 * @param {(job: any) => void} onjob  A job was begun.
 */
export function newJob(app, onjob) {
  const { t } = app;
  const source = textOrFile(app);
  const choices = controls(app);
  const preview = h("div", { class: "stack", "aria-live": "polite" });
  const look = button({ text: t("jobs.new.preview"), onclick: (event) => asked(event, show) });
  const start = button({ icon: "play", text: t("jobs.new.start"), class: "primary", onclick: (event) => asked(event, begin) });
  const row = h("div", { class: "row end" }, look, start);
  const form = h("form", { class: "card", onsubmit: (event) => event.preventDefault(), oninput: stale, onchange: stale });
  put(form, source.elements, choices.elements, problemBox(), row);
  accept(form, (file) => source.take(file));

  function stale() {
    put(preview); // it tells of what was asked for before
  }
  async function asked(event, work) {
    clear(form);
    try {
      await busy(event.currentTarget, async () => work({ kind: "speech", ...choices.values(), ...(await source.value()) }));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fail(form, error);
    }
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
  async function load() {
    try {
      await choices.load();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      fail(form, error);
    }
  }
  return { element: h("div", { class: "stack" }, form, preview), load };
}

/** A file that is dropped on an element. */
function accept(element, take) {
  const over = (event) => {
    if (!event.dataTransfer.types.includes("Files")) return; // words may be dropped into the text
    event.preventDefault();
    element.classList.toggle("dropping", event.type === "dragover");
    if (event.type === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  };
  for (const type of ["dragover", "dragleave", "drop"]) element.addEventListener(type, over);
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
    name.textContent = file ? `${file.name} · ${size(app.language, file.size)}` : "";
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
async function fill({ api, language, t }, { voice, quality, language: spoken }) {
  const [voices, models, profiles] = await Promise.all([api.get("/v1/audio/voices"), api.get("/v1/models"), qualities(api)]);
  const names = new Intl.DisplayNames([language], { type: "language" });
  const languages = models.data[0].language.map((code) => [code, names.of(code)]);
  languages.sort(([, one], [, other]) => one.localeCompare(other, language));
  offer(voice, t("jobs.new.serverVoice"), voices.data.map((one) => [one.id, one.label]));
  offer(quality, t("jobs.new.serverQuality"), profiles.map((name) => [name, name in QUALITIES ? t(QUALITIES[name]) : name]));
  offer(spoken, t("jobs.new.anyLanguage"), languages);
}

function offer(control, none, pairs) {
  const chosen = control.value;
  put(control, ...select([["", none], ...pairs], chosen).options);
  control.value = [...control.options].some((option) => option.value === chosen) ? chosen : "";
}

/** Names of the profiles; who is no administrator is offered those that every server has. */
async function qualities(api) {
  try {
    const { data } = await api.get("/v1/admin/profiles", { quiet: true });
    return data.filter((one) => !one.problem).map((one) => one.name);
  } catch (error) {
    if (error.status !== 401 && error.status !== 403) throw error;
    return Object.keys(QUALITIES);
  }
}
