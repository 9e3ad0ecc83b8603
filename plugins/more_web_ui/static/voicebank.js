// Voices as whoever looks may see them, and how to hear one.

import { ApiError } from "./api.js";
import { playButton } from "./audio.js";
import { clear, h, put, tell } from "./dom.js";
import { greeting } from "./sentences.js";

/** The address of a voice, for administrators. */
export function voicePath(id) {
  return `/v1/admin/voices/${encodeURIComponent(id)}`;
}

/**
 * Every voice there is; those who are no administrators are told less of each.
 * @returns {Promise<{voices: any[], problems: string[], stores: any[], spoken: string[], admin: boolean, refusal: string}>}
 *   spoken: languages of the serving model; empty while none is loaded. refusal: why `admin` is false.
 */
export async function listVoices(app) {
  const spoken = await spokenLanguages(app);
  try {
    const { data, problems, stores } = await app.api.get("/v1/admin/voices");
    return { voices: data, problems, stores, spoken, admin: true, refusal: "" };
  } catch (error) {
    if (![401, 403].includes(error.status)) throw error;
    const { voices } = await app.api.get("/v1/audio/voices");
    const known = voices.map((one) => ({ ...one, title: one.name, aliases: [], references: [], mix: [] }));
    return { voices: known, problems: [], stores: [], spoken, admin: false, refusal: error.message };
  }
}

async function spokenLanguages(app) {
  try {
    return (await app.api.get("/v1/models")).data[0]?.language ?? [];
  } catch (error) {
    if (error.status !== 503) throw error;
    return []; // the model loads; the list is asked for again once it is there
  }
}

/** The language that a voice is tried in: its own, the page's, or one that the model speaks. */
export function triedIn(app, languages, spoken) {
  return [...languages, app.language].find((one) => spoken.includes(one)) ?? spoken[0] ?? "en";
}

/** A short sentence by a voice or a mixture, as a blob. */
export async function spokenSample(app, voice, language) {
  const body = { input: greeting(language), voice, language };
  return (await app.api.send("POST", "/v1/audio/speech", { body })).blob();
}

/**
 * A button that plays a recording of a voice. Where there is none to be had, or the voice is a mixture, which no
 * recording sounds like, the voice says a sentence.
 */
export function hearButton(app, voice, spoken, onerror) {
  const values = { name: voice.title };
  if (voice.references.length && !voice.mix.length) return clipButton(app, voice, voice.references[0], onerror);
  const load = () => spokenSample(app, voice.id, triedIn(app, voice.languages, spoken));
  return playButton(app, { label: app.t("voices.hearSentence", values), load, onerror });
}

/** A button that plays one of a voice's recordings. */
export function clipButton(app, voice, clip, onerror) {
  const load = () => app.api.blob(`${voicePath(voice.id)}/references/${encodeURIComponent(clip)}`);
  const label = app.t("voices.hearRecording", { name: voice.title, clip });
  return playButton(app, { label, load, onerror });
}

/** Go to the first panel, with this voice or mixture chosen. */
export function speakWith(voice) {
  location.hash = `#speak/${new URLSearchParams({ voice })}`;
}

/** Options of a select in place of those that it has; `chosen` stays so where it can. */
export function refill(control, pairs, chosen = control.value) {
  put(control, pairs.map(([value, shown]) => h("option", { value }, shown)));
  control.value = pairs.some(([value]) => value === chosen) ? chosen : (pairs[0]?.[0] ?? "");
}

/** Do something, and tell below `root` what went wrong with it. Returns whether it was done. */
export async function attempt(root, work) {
  clear(root);
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    tell(root, error);
    return false;
  }
}
