// A new voice, from files or from the microphone.

import { ApiError } from "./api.js";
import { playButton } from "./audio.js";
import { attempt, button, busy, field, h, offer, problemBox, put } from "./dom.js";
import { recordings } from "./recordings.js";
import { reportView } from "./report.js";
import { passage } from "./sentences.js";
import { speakWith, spokenSample, triedIn } from "./voicebank.js";

/**
 * The form, and after it what was made of it.
 * @param {any} app
 * @param {() => void} onclose
 * @returns {{element: any, offer: (bank: any) => void, pause: () => void}}
 *   offer: what listVoices gave: which fields there are depends on it. pause: nobody looks; nothing goes on being recorded.
 */
export function newVoice(app, onclose) {
  const t = app.t;
  const takes = recordings(app);
  const told = tellingFields(app);
  const make = button({ text: t("voices.new.make"), class: "primary", onclick: () => busy(make, () => attempt(form, send)) });
  const close = button({ text: t("common.close"), class: "quiet", onclick: onclose });
  const inputs = h("div", { class: "halves" }, takes.element, told.element);
  const form = h("div", { class: "stack roomy" }, inputs, problemBox(), h("div", { class: "row end" }, close, make));
  const result = h("div", { class: "stack", tabindex: "-1", hidden: true });
  const element = h("div", { class: "card" }, h("h2", {}, t("voices.new.title")), form, result);
  let bank = null;

  function suggest() {
    const here = bank.spoken.includes(app.language) ? app.language : bank.spoken[0];
    const language = told.language.value || here || app.language;
    takes.read(passage(language), language);
  }
  told.language.addEventListener("change", suggest);

  async function send() {
    takes.pause();
    const body = await filled(t, told.value(), takes.list());
    const made = await app.api.json("POST", bank.admin ? "/v1/admin/voices" : "/v1/audio/voices", body);
    app.emit("voices");
    const again = () => swap(false);
    const end = () => {
      again();
      onclose();
    };
    put(result, madeView(app, made, bank, again, end));
    swap(true);
    result.focus();
    takes.reset();
    told.reset();
  }
  function swap(isMade) {
    form.hidden = isMade;
    result.hidden = !isMade;
  }
  function offered(listed) {
    bank = listed;
    told.offer(listed);
    suggest();
  }
  return { element, offer: offered, pause: takes.pause };
}

/** What became of it: how good its recordings are, and how it sounds. */
function madeView(app, made, bank, again, close) {
  const t = app.t;
  const problem = problemBox();
  const onerror = (error) => {
    problem.textContent = error.message;
    problem.hidden = false;
  };
  const name = made.title ?? made.name; // those who are no administrators are told less
  const load = () => spokenSample(app, made.id, triedIn(app, made.languages ?? [], bank.spoken));
  const actions = [
    button({ icon: "speak", text: t("voices.speakWith"), class: "primary", onclick: () => speakWith(made.id) }),
    playButton(app, { label: t("voices.listen"), text: t("voices.listen"), class: "", load, onerror }),
    button({ icon: "plus", text: t("voices.new.another"), onclick: again }),
    button({ text: t("common.close"), class: "quiet", onclick: close }),
  ];
  const heading = h("h3", {}, t("voices.new.made", { name, id: made.id }));
  return [heading, bank.admin && reportView(app, made, onerror), h("div", { class: "row" }, actions), problem];
}

/** What is told of a voice; those who are no administrators tell less. */
function tellingFields(app) {
  const t = app.t;
  const name = h("input", { autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const title = h("input", { autocomplete: "off" });
  const called = h("input", { autocomplete: "off" });
  const language = h("select", {});
  const consent = h("textarea", { rows: 2 });
  const texts = { description: h("textarea", { rows: 2 }), licence: h("input", {}), source: h("input", {}) };
  const store = h("select", {});
  const storeField = field({ param: "store", label: t("voices.field.store"), control: store });
  const idField = field({ param: "name", label: t("voices.field.id"), hint: t("voices.field.idHint"), control: name });
  const nameField = field({ param: "name", label: t("voices.field.name"), control: called });
  const languageField = field({ param: "language", label: t("voices.field.language"), control: language });
  const more = h(
    "details",
    {},
    h("summary", {}, t("voices.new.more")),
    h(
      "div",
      { class: "stack roomy" },
      field({ param: "description", label: t("voices.field.description"), control: texts.description }),
      field({ param: "licence", label: t("voices.field.licence"), hint: t("voices.field.licenceHint"), control: texts.licence }),
      field({ param: "source", label: t("voices.field.source"), hint: t("voices.field.sourceHint"), control: texts.source }),
      storeField,
    ),
  );
  const titleField = field({ param: "title", label: t("voices.field.title"), hint: t("voices.field.titleHint"), control: title });
  const consentField = field({ param: "consent", label: t("voices.field.consent"), hint: t("voices.field.consentHint"), control: consent });
  const element = h("div", { class: "stack roomy" });

  function offered({ admin, stores, spoken }) {
    put(element, admin ? [idField, titleField] : nameField, languageField, consentField, admin && more);
    const chosen = language.length ? language.value : app.language;
    offer(language, [["", t("voices.field.anyLanguage")], ...spoken.map((one) => [one, app.units.language(one)])], chosen);
    const writable = stores.filter((one) => one.writable);
    offer(store, [["", t("voices.field.anyStore")], ...writable.map((one) => [one.name, one.name])]);
    storeField.hidden = writable.length < 2;
    value = () => {
      if (!admin) return { name: called.value, consent: consent.value };
      const told = Object.fromEntries(Object.entries(texts).map(([key, control]) => [key, control.value]));
      return { name: name.value.trim(), title: title.value, language: language.value, consent: consent.value, ...told, store: store.value };
    };
  }
  let value = () => ({});
  const reset = () => [name, title, called, consent, ...Object.values(texts)].forEach((control) => (control.value = ""));
  return { element, language, offer: offered, reset, value: () => value() };
}

/** A form as the server takes it. Raises ApiError for what is missing. */
async function filled(t, fields, takes) {
  const missing = (message, param) => new ApiError(message, { param });
  if (!takes.length) throw missing(t("voices.new.noRecording"), "audio_sample");
  if (!fields.name.trim()) throw missing(t("voices.new.noName"), "name");
  if (!fields.consent.trim()) throw missing(t("voices.new.noConsent"), "consent");
  const form = new FormData();
  for (const [name, text] of Object.entries(fields)) if (text.trim()) form.append(name, text);
  for (const take of takes) {
    // Read here: a file that has gone meanwhile would look as if the server had.
    const content = await take.blob.arrayBuffer().catch((error) => {
      throw missing(t("voices.new.unreadable", { name: take.name, reason: error.message }), "audio_sample");
    });
    form.append("audio_sample", new Blob([content], { type: take.blob.type }), take.file ?? take.name);
  }
  return form;
}
