// How good the recordings of a voice are, for people.

import { h } from "./dom.js";
import { clipButton } from "./voicebank.js";

// As the server judges in more_server/audio/report.py.
const ENOUGH_SECONDS = 6;
const USED_SECONDS = 60;
const LOUDNESS = { low: -36, high: -10 }; // LUFS
const PEAK = { low: -20, high: -0.1 }; // dBFS
const GOOD_SIGNAL_TO_NOISE = 20; // dB
const MOST_CLIPPED = 0.001;
const MOST_SILENCE = 0.5;
const GOOD_BANDWIDTH = 6000; // Hz

/**
 * The report on a voice that the server gives.
 * @param {any} app
 * @param {any} voice  As `GET /v1/admin/voices/{id}` tells it.
 * @param {(error: any) => void} onerror  What keeps a recording from being played.
 */
export function reportView(app, voice, onerror) {
  const t = app.t;
  const { report, problem } = voice;
  if (!report) return h("p", { class: "note" }, voice.references.length ? problem : t("voices.report.none"));
  return h(
    "div",
    { class: "stack" },
    h("dl", { class: "report" }, judged(t, report, false).map((one) => figure(t, one))),
    advice(t, report.advice),
    h("ul", { class: "list clips" }, report.clips.map((clip) => clipLine(app, voice, clip, onerror))),
  );
}

function advice(t, sentences) {
  if (!sentences.length) return h("p", { class: "note" }, t("voices.report.fine"));
  // The server says these in English, whatever the page is in.
  const list = h("ul", { lang: "en" }, sentences.map((one) => h("li", {}, one)));
  return h("div", { class: "note advice" }, h("p", {}, t("voices.report.advice")), list);
}

function figure(t, { label, value, wrong }) {
  return h("div", {}, h("dt", {}, label), h("dd", {}, value), h("dd", {}, word(t, wrong)));
}

function word(t, wrong) {
  return h("span", { class: `chip ${wrong ? "warn" : "good"}` }, wrong || t("voices.report.good"));
}

function clipLine(app, voice, clip, onerror) {
  const faults = judged(app.t, clip, true).filter((one) => one.wrong);
  const about = app.t("voices.report.clip", { seconds: clip.seconds, rate: clip.sample_rate / 1000 });
  const words = faults.length ? faults.map((one) => word(app.t, one.wrong)) : word(app.t, "");
  const name = h("span", { class: "grow" }, clip.name, " ", h("span", { class: "soft" }, about));
  return h("li", {}, clipButton(app, voice, clip.name, onerror), name, words);
}

/** Each figure with its value and a word for what is wrong with it, "" where it is good. */
function judged(t, of, isClip) {
  const short = isClip ? of.seconds > USED_SECONDS && t("voices.report.long") : of.speech_seconds < ENOUGH_SECONDS && t("voices.report.little");
  const loud = of.loudness > LOUDNESS.high && t("voices.report.loud");
  const isCut = of.clipped > MOST_CLIPPED;
  const peak = (isCut && of.peak > PEAK.high && t("voices.report.loud")) || (of.peak < PEAK.low && t("voices.report.quiet"));
  const percent = (share) => t("voices.report.percent", { value: 100 * share });
  return [
    { label: t("voices.report.speech"), value: t("voices.report.seconds", { speech: of.speech_seconds, seconds: of.seconds }), wrong: short },
    { label: t("voices.report.loudness"), value: t("voices.report.lufs", { value: of.loudness }), wrong: loud || (of.loudness < LOUDNESS.low && t("voices.report.quiet")) },
    { label: t("voices.report.peak"), value: t("voices.report.dbfs", { value: of.peak + 0 }), wrong: peak },
    { label: t("voices.report.noise"), value: t("voices.report.decibels", { value: of.signal_to_noise }), wrong: of.signal_to_noise < GOOD_SIGNAL_TO_NOISE && t("voices.report.noisy") },
    { label: t("voices.report.clipped"), value: percent(of.clipped), wrong: isCut && t("voices.report.distorted") },
    { label: t("voices.report.silence"), value: percent(of.silence), wrong: of.silence > MOST_SILENCE && t("voices.report.pauses") },
    { label: t("voices.report.bandwidth"), value: t("voices.report.kilohertz", { value: of.bandwidth / 1000 }), wrong: of.bandwidth < GOOD_BANDWIDTH && t("voices.report.dull") },
  ];
}
