// How a text is to be spoken: voice, language, quality, speed and seed.

import { playButton } from "./audio.js";
import { button, field, h, put, select } from "./dom.js";

const QUALITIES = ["fast", "balanced", "high_quality"]; // what ships; all of them are told to administrators alone
const MOST_SEED = 2 ** 31;

/** What can be chosen on this server. Raises ApiError. */
export async function choices(app) {
  const [voices, models, profiles] = await Promise.all([
    app.api.get("/v1/audio/voices"),
    app.api.get("/v1/models"),
    app.api.get("/v1/admin/profiles", { quiet: true }).catch((error) => {
      if ([401, 403].includes(error.status)) return null;
      throw error;
    }),
  ]);
  const usable = profiles?.data.filter((one) => !one.problem);
  return {
    voices: voices.voices,
    languages: models.data[0]?.language ?? [],
    qualities: usable ? usable.map((one) => one.name) : QUALITIES,
    quality: usable?.find((one) => one.default)?.name ?? "balanced",
    admin: !!profiles,
  };
}

/** What a language is called in the page's own. */
export function languageName(app, code) {
  return new Intl.DisplayNames([app.language], { type: "language" }).of(code) ?? code;
}

/**
 * The form. `value()` is what a request is made of, without what was left open; `fill(value)` sets it; `offer(choices)`
 * sets what can be chosen.
 */
export function settingsForm(app, legend = "") {
  const t = app.t;
  const voice = h("select", {});
  const language = h("select", {});
  const quality = h("select", {});
  const seed = h("input", { type: "number", min: "0", step: "1", placeholder: t("speak.anySeed"), inputmode: "numeric" });
  const speed = speedSlider(t);
  const dice = button({ icon: "dice", label: t("speak.newSeed"), class: "quiet", onclick: () => (seed.value = Math.floor(Math.random() * MOST_SEED)) });
  let about = { voices: [], admin: false };

  const listen = playButton(app, { label: t("speak.hearVoice"), load: () => sample(app, voice.value, about) });
  const wanted = {}; // what was filled in before it could be chosen
  const parts = [
    field({ param: "voice", label: t("speak.voice"), control: voice, around: h("div", { class: "beside" }, voice, listen) }),
    field({ param: "language", label: t("speak.language"), control: language }),
    field({ param: "quality", label: t("speak.quality"), control: quality }),
    field({ param: "speed", label: t("speak.speed"), control: speed.control, around: speed.element }),
    field({ param: "seed", label: t("speak.seed"), control: seed, around: h("div", { class: "beside" }, seed, dice) }),
  ];
  const element = h(legend ? "fieldset" : "div", { class: "settings" }, legend && h("legend", {}, legend), parts);

  function value() {
    const all = { voice: voice.value, language: language.value, quality: quality.value, speed: speed.value(), seed: seed.value && Number(seed.value) };
    if (all.speed === 1) delete all.speed;
    return Object.fromEntries(Object.entries(all).filter(([, one]) => one !== ""));
  }
  function fill(given) {
    Object.assign(wanted, given);
    for (const [name, control] of Object.entries({ voice, language, quality })) choose(control, given[name]);
    speed.set(given.speed ?? 1);
    seed.value = given.seed ?? "";
  }
  function choose(control, wish) {
    if (wish && ![...control.options].some((one) => one.value === wish)) {
      if (!control.options.length) return;
      control.append(h("option", { value: wish }, wish)); // a mixture, or what has gone, which the server says
    }
    control.value = wish ?? control.options[0]?.value ?? "";
  }
  function offer(found) {
    const before = { ...wanted, ...value() };
    about = found;
    put(voice, found.voices.map((one) => h("option", { value: one.id }, one.name.toLowerCase() === one.id ? one.name : `${one.name} (${one.id})`)));
    const named = found.languages.map((code) => [code, languageName(app, code)]);
    named.sort((one, other) => one[1].localeCompare(other[1], app.language));
    put(language, [...select([["", t("speak.autoLanguage")], ...named]).children]);
    put(quality, found.qualities.map((one) => h("option", { value: one }, one)));
    fill({ quality: found.quality, ...before });
  }
  return { element, value, fill, offer };
}

/** A slider on which 1 is in the middle: 0.25 to 4, by octaves. */
function speedSlider(t) {
  const control = h("input", { type: "range", min: "-2", max: "2", step: "0.05", value: "0" });
  const shown = h("output", {});
  const value = () => Number((2 ** Number(control.value)).toFixed(2));
  const look = () => {
    shown.textContent = `${value()}×`;
    control.setAttribute("aria-valuetext", t("speak.times", { speed: value() }));
  };
  const set = (speed) => {
    control.value = Math.log2(speed);
    look();
  };
  control.addEventListener("input", look);
  control.addEventListener("dblclick", () => set(1));
  look();
  return { control, element: h("div", { class: "slider" }, control, shown), value, set };
}

/** A recording of a voice; where it has none, or may not be asked for, the voice says who it is. */
async function sample(app, id, { voices, admin }) {
  if (admin) {
    const { data } = await app.api.get("/v1/admin/voices");
    const [first] = data.find((one) => one.id === id)?.references ?? [];
    if (first) return app.api.blob(`/v1/admin/voices/${encodeURIComponent(id)}/references/${encodeURIComponent(first)}`);
  }
  const name = voices.find((one) => one.id === id)?.name ?? id;
  const response = await app.api.send("POST", "/v1/audio/speech", { body: { input: `${name}.`, voice: id } });
  return response.blob();
}
