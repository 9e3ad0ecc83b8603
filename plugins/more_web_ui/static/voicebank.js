// Voices as whoever looks may see them, and how to hear one.

import { playButton } from "./audio.js";
import { greeting } from "./sentences.js";

/** The address of a voice, for administrators. */
export function voicePath(id) {
  return `/v1/admin/voices/${encodeURIComponent(id)}`;
}

/**
 * Every voice there is; those who are no administrators are told less of each.
 * @returns {Promise<{voices: any[], problems: string[], stores: any[], spoken: string[], admin: boolean, makes: boolean,
 *   refusal: string}>} spoken: languages of the serving model; empty while none is loaded. makes: whoever looks may make
 *   voices. refusal: why `admin` is false.
 */
export async function listVoices(app) {
  const spoken = await spokenLanguages(app);
  try {
    const { data, problems, stores } = await app.api.get("/v1/admin/voices");
    return { voices: data, problems, stores, spoken, admin: true, makes: true, refusal: "" };
  } catch (error) {
    if (!error.needsKey) throw error;
    const [{ voices }, makes] = await Promise.all([app.api.get("/v1/audio/voices"), mayMake(app)]);
    const known = voices.map((one) => ({ ...one, title: one.name, aliases: [], references: [], mix: [] }));
    return { voices: known, problems: [], stores: [], spoken, admin: false, makes, refusal: error.message };
  }
}

/** Whoever finds out at the end has made recordings for nothing. */
async function mayMake(app) {
  try {
    return (await app.api.get("/v1/key", { quiet: true })).scopes.includes("voices");
  } catch (error) {
    if (!error.needsKey) throw error;
    return false;
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
export function spokenSample(app, voice, language) {
  return app.api.spoken({ input: greeting(language), voice, language });
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
