// Two voices mixed into another one.

import { playButton } from "./audio.js";
import { attempt, button, busy, field, h, offer, problemBox, tell } from "./dom.js";
import { speakWith, spokenSample, triedIn } from "./voicebank.js";

const STEP = 5; // per cent; neither voice can have none of it

/**
 * Choose, listen, keep.
 * @param {any} app
 * @param {() => void} onclose
 * @returns {{element: any, offer: (bank: any) => void}}  offer: what listVoices gave.
 */
export function mixer(app, onclose) {
  const t = app.t;
  const shares = shareFields(t);
  const name = h("input", { autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const title = h("input", { autocomplete: "off" });
  let spoken = [];

  const languages = () => shares.chosen().flatMap(({ voice }) => voice.languages);
  const load = () => spokenSample(app, mixture(shares.chosen()), triedIn(app, languages(), spoken));
  const listen = playButton(app, { label: t("voices.listen"), text: t("voices.listen"), class: "", load, onerror: (error) => tell(element, error) });
  const use = button({ icon: "speak", text: t("voices.speakWith"), onclick: () => speakWith(mixture(shares.chosen())) });
  const keep = button({ text: t("voices.mix.keep"), class: "primary", onclick: () => busy(keep, () => attempt(element, send)) });
  const close = button({ text: t("common.close"), class: "quiet", onclick: onclose });

  async function send() {
    const parts = shares.chosen().map(({ voice, weight }) => ({ voice: voice.id, weight }));
    const body = { name: name.value.trim(), parts, ...(title.value.trim() && { title: title.value }) };
    const made = await app.api.json("POST", "/v1/admin/voices/mix", body);
    name.value = title.value = "";
    app.emit("voices", made.id);
    app.toast(t("voices.mix.kept", { name: made.title }));
  }
  const keeping = h(
    "div",
    { class: "columns" },
    field({ param: "name", label: t("voices.field.id"), hint: t("voices.field.idHint"), control: name }),
    field({ param: "title", label: t("voices.field.title"), hint: t("voices.field.titleHint"), control: title }),
  );
  const actions = [h("div", { class: "row" }, listen, use), keeping, problemBox(), h("div", { class: "row end" }, close, keep)];
  const element = h("div", { class: "card" }, h("h2", {}, t("voices.mix.title")), shares.parts, actions);

  function offered(bank) {
    spoken = bank.spoken;
    shares.offer(bank.voices);
    keeping.hidden = keep.hidden = !bank.admin;
  }
  return { element, offer: offered };
}

/** As requests name it: `a(75)+b(25)`. */
function mixture(chosen) {
  return chosen.map(({ voice, weight }) => `${voice.id}(${weight})`).join("+");
}

/** Two voices, and how much of each. */
function shareFields(t) {
  const first = h("select", { oninput: look });
  const second = h("select", { oninput: look });
  const share = h("input", { type: "range", min: STEP, max: 100 - STEP, step: STEP, value: 50, oninput: look });
  const shown = h("output", {});
  const slide = field({ param: "parts", label: t("voices.mix.share"), control: share });
  slide.querySelector("label").after(shown);
  let voices = [];

  function chosen() {
    const theirs = Number(share.value);
    const find = (id) => voices.find((voice) => voice.id === id);
    return [
      { voice: find(first.value), weight: 100 - theirs },
      { voice: find(second.value), weight: theirs },
    ];
  }
  function look() {
    if (!voices.length) return;
    const [one, other] = chosen();
    const values = { first: one.voice.title, ours: one.weight, second: other.voice.title, theirs: other.weight };
    shown.textContent = t("voices.mix.shares", values);
    share.setAttribute("aria-valuetext", shown.textContent);
  }
  function offered(listed) {
    voices = listed;
    const pairs = voices.map((voice) => [voice.id, voice.title]);
    offer(first, pairs);
    offer(second, pairs, second.value || pairs[1]?.[0]);
    look();
  }
  const sides = [field({ label: t("voices.mix.first"), control: first }), field({ label: t("voices.mix.second"), control: second })];
  return { parts: [h("div", { class: "columns" }, sides), slide], chosen, offer: offered };
}
