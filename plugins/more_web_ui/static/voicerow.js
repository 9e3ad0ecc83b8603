// A voice in the list, and all that is known of it.

import { attempt, button, busy, clear, h, newId, problemBox, put, tell } from "./dom.js";
import { reportView } from "./report.js";
import { hearButton, speakWith, voicePath } from "./voicebank.js";
import { editVoice, removeVoice } from "./voiceedit.js";

/**
 * The line of a voice.
 * @param {any} app
 * @param {any} voice
 * @param {{spoken: string[], admin: boolean}} bank
 * @param {Set<string>} opened  Ids of the voices whose details are seen; it is kept up to date.
 * @returns {{element: any, open: (scroll: boolean) => void}}
 */
export function voiceRow(app, voice, bank, opened) {
  const t = app.t;
  const problem = problemBox();
  const id = newId();
  const details = h("div", { class: "details", id, hidden: true });
  const onerror = (error) => tell(element, error);
  const more = button({ text: t("voices.details"), "aria-label": t("voices.detailsOf", { name: voice.title }), "aria-expanded": "false", "aria-controls": id, class: "quiet", onclick: () => show(details.hidden) });
  const words = h(
    "div",
    { class: "grow" },
    h("div", { class: "row name" }, h("h2", { class: "title" }, voice.title), h("code", { class: "soft" }, voice.id), chips(app, voice, bank)),
    voice.description && h("p", { class: "soft about" }, voice.description),
  );
  const element = h("li", { class: "voice" }, hearButton(app, voice, bank.spoken, onerror), words, more, problem, details);

  function show(isOpen) {
    details.hidden = !isOpen;
    element.classList.toggle("open", isOpen);
    more.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) return opened.delete(voice.id);
    opened.add(voice.id);
    return fill();
  }
  async function fill() {
    clear(element);
    if (details.childElementCount) return;
    if (!bank.admin) return put(details, actions(app, voice, bank, element), facts(app, voice, false));
    put(details, h("p", { class: "soft" }, t("common.loading")));
    const done = await attempt(element, async () => {
      const whole = await app.api.get(voicePath(voice.id));
      put(details, actions(app, whole, bank, element), reportView(app, whole, onerror), facts(app, whole, true));
    });
    if (!done) put(details);
  }
  function open(scroll) {
    show(true);
    if (scroll) element.scrollIntoView({ block: "nearest" });
  }
  if (opened.has(voice.id)) show(true);
  return { element, open };
}

function chips(app, voice, bank) {
  const t = app.t;
  // The public list says the model's languages where a voice declares none.
  const names = bank.admin || voice.languages.length < bank.spoken.length ? voice.languages : [];
  return [
    names.map((code) => h("span", { class: "chip" }, app.units.language(code))),
    voice.mix.length > 0 && h("span", { class: "chip accent" }, t("voices.mixture")),
    stays(voice, bank) && h("span", { class: "chip" }, t("voices.bundled")),
  ];
}

/** Whether it can be neither changed nor removed; the public list does not say. */
function stays(voice, bank) {
  return bank.admin && (voice.fixed || !voice.store);
}

function actions(app, voice, bank, row) {
  const t = app.t;
  const speak = button({ icon: "speak", text: t("voices.speakWith"), class: "primary", onclick: () => speakWith(voice.id) });
  const bring = () => attempt(row, () => app.api.download(`${voicePath(voice.id)}/export`, `${voice.id}.zip`));
  const pack = button({ icon: "download", text: t("voices.export"), onclick: () => busy(pack, bring) });
  const edit = button({ icon: "edit", text: t("voices.edit.action"), onclick: () => editVoice(app, voice) });
  const remove = button({ icon: "trash", text: t("common.delete"), class: "danger", onclick: () => busy(remove, () => removeVoice(app, voice, bank.admin, row)) });
  const isStaying = stays(voice, bank);
  const parts = [speak, bank.admin && !isStaying && edit, voice.references.length > 0 && pack, !isStaying && remove];
  return [h("div", { class: "row" }, parts), isStaying && h("p", { class: "note" }, t("voices.stays"))];
}

/** isWhole: all is known of it that there is. */
function facts(app, voice, isWhole) {
  const t = app.t;
  const total = voice.mix.reduce((sum, part) => sum + part.weight, 0);
  const mix = voice.mix.map((part) => t("voices.mix.part", { percent: (100 * part.weight) / total, clips: part.references.join(", ") }));
  const known = [
    [t("voices.field.description"), voice.description],
    [t("voices.field.agreed"), voice.consent],
    [t("voices.field.licence"), voice.licence],
    [t("voices.field.source"), voice.source],
    [t("voices.field.languages"), voice.languages.map((code) => app.units.language(code)).join(", ")],
    isWhole && [t("voices.field.aliases"), voice.aliases.join(", ")],
    [t("voices.field.store"), voice.store],
    mix.length > 0 && [t("voices.mixture"), mix.join("\n")],
  ];
  const told = known.filter((one) => one && one[1] !== undefined);
  return h("dl", { class: "facts" }, told.map(([label, value]) => [h("dt", {}, label), h("dd", {}, value || h("span", { class: "soft" }, t("voices.notTold")))]));
}
