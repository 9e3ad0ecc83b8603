// How a text is to be spoken: voice, language, quality, speed and seed.

import { playButton } from "./audio.js";
import { button, field, h, offer } from "./dom.js";

// What ships; all of them are told to administrators alone.
const QUALITIES = { fast: "speak.qualities.fast", balanced: "speak.qualities.balanced", high_quality: "speak.qualities.high" };
const MOST_SEED = 2 ** 31;

/**
 * What can be chosen on this server; raises ApiError.
 * @returns {Promise<{voices: string[][], languages: string[][], qualities: string[][], quality: string, spoken: string[],
 *   admin: boolean}>}  Pairs for a select, without one for nothing in particular. quality: the server's own.
 */
export async function choices(app) {
  const [voices, models, profiles] = await Promise.all([
    app.api.get("/v1/audio/voices"),
    app.api.get("/v1/models"),
    app.api.get("/v1/admin/profiles", { quiet: true }).catch((error) => {
      if (error.needsKey) return null;
      throw error;
    }),
  ]);
  const usable = profiles?.data.filter((one) => !one.problem);
  const names = usable ? usable.map((one) => one.name) : Object.keys(QUALITIES);
  const spoken = models.data[0]?.language ?? [];
  return {
    voices: voices.voices.map(({ id, name }) => [id, name.toLowerCase() === id ? name : `${name} (${id})`]),
    languages: spoken.map((code) => [code, app.units.language(code)]).sort(([, one], [, other]) => one.localeCompare(other, app.language)),
    qualities: names.map((name) => [name, qualityName(app.t, name)]),
    quality: usable?.find((one) => one.default)?.name ?? "balanced",
    spoken,
    admin: !!profiles,
  };
}

/** What ships is called by words, the others by their names. */
export function qualityName(t, name) {
  return Object.hasOwn(QUALITIES, name) ? t(QUALITIES[name]) : name;
}

/**
 * The form. `value()` is what a request is made of, without what was left open; `fill(value)` sets it; `offer(choices)`
 * sets what can be chosen.
 */
export function settingsForm(app, legend) {
  const t = app.t;
  const voice = h("select", {});
  const language = h("select", {});
  const quality = h("select", {});
  const seed = h("input", { type: "number", min: "0", step: "1", placeholder: t("speak.anySeed"), inputmode: "numeric" });
  const speed = speedSlider(t);
  const dice = button({ icon: "dice", label: t("speak.newSeed"), class: "quiet", onclick: () => (seed.value = Math.floor(Math.random() * MOST_SEED)) });
  const listen = playButton(app, { label: t("speak.hearVoice"), load: () => sample(app, voice, found?.admin) });
  const wanted = {}; // what was filled in before it could be chosen
  let found = null;
  const parts = [
    field({ param: "voice", label: t("speak.voice"), control: voice, around: h("div", { class: "beside" }, voice, listen) }),
    field({ param: "language", label: t("speak.language"), control: language }),
    field({ param: "quality", label: t("speak.quality"), control: quality }),
    field({ param: "speed", label: t("speak.speed"), control: speed.control, around: speed.element }),
    field({ param: "seed", label: t("speak.seed"), control: seed, around: h("div", { class: "beside" }, seed, dice) }),
  ];
  const element = h("fieldset", { class: "settings" }, h("legend", {}, legend), parts);

  function value() {
    const all = { voice: voice.value, language: language.value, quality: quality.value, speed: speed.value(), seed: seed.value && Number(seed.value) };
    if (all.speed === 1) delete all.speed;
    return Object.fromEntries(Object.entries(all).filter(([, one]) => one !== ""));
  }
  function fill(given) {
    if (!found) Object.assign(wanted, given);
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
  function offerAll(now) {
    const before = { quality: now.quality, ...(found ? {} : wanted), ...value() };
    found = now;
    offer(voice, now.voices);
    offer(language, [["", t("speak.autoLanguage")], ...now.languages]);
    offer(quality, now.qualities);
    fill(before);
  }
  return { element, value, fill, offer: offerAll };
}

/** A slider on which 1 is in the middle: 0.25 to 4, by octaves. */
function speedSlider(t) {
  const control = h("input", { type: "range", min: "-2", max: "2", step: "0.05", value: "0" });
  const shown = h("output", {});
  const value = () => Number((2 ** Number(control.value)).toFixed(2));
  const look = () => {
    shown.textContent = t("speak.times", { speed: value() });
    control.setAttribute("aria-valuetext", shown.textContent);
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

/** A recording of the voice; where it has none, or may not be asked for, the voice says who it is. */
async function sample(app, { value, selectedOptions: [{ text }] }, isAdmin) {
  if (isAdmin) {
    const { data } = await app.api.get("/v1/admin/voices");
    const [first] = data.find((one) => one.id === value)?.references ?? [];
    if (first) return app.api.blob(`/v1/admin/voices/${encodeURIComponent(value)}/references/${encodeURIComponent(first)}`);
  }
  return app.api.spoken({ input: `${text}.`, voice: value });
}
