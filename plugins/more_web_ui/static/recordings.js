// The recordings of a voice that is being made: files, and takes from the microphone.

import { playButton } from "./audio.js";
import { button, clear, droppable, h, icon, newId, put, tell } from "./dom.js";
import { record, whyNoMicrophone, whyNoRecording } from "./recorder.js";

const SUFFIXES = ".wav,.mp3,.m4a,.mp4,.aac,.ogg,.opus,.flac,.webm"; // that the server reads
const MOST_SECONDS = 60; // of a take; the server uses no more of one
const FLOOR_DECIBELS = 60; // what is this far below full scale shows as nothing
const HOT_SECONDS = 0.7; // that the meter stays red, so that it is seen
const FALL = 0.02; // of the meter, that it falls back by at each look at most

/**
 * Where recordings are collected.
 * @returns {{element: any, list: () => Array<{name: string, blob: Blob}>, reset: () => void, pause: () => void,
 *   read: (text: string, language: string) => void}}
 *   pause: end a take that is being recorded, and keep it. read: what is suggested to be read aloud.
 */
export function recordings(app) {
  const t = app.t;
  const list = h("ul", { class: "list takes", "aria-label": t("voices.takes.title") });
  let kept = [];

  function add(take) {
    take.line = takeLine(app, take, () => remove(take), again);
    kept.push(take);
    list.append(take.line);
    clear(element);
  }
  function remove(take) {
    kept = kept.filter((one) => one !== take);
    take.line.remove();
  }
  async function again(take) {
    if (await microphone.begin()) remove(take);
  }
  const microphone = microphoneBox(app, add);
  const drop = dropZone(t, (files) => files.forEach((file) => add({ name: file.name, blob: file, bytes: file.size })));
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const element = h("div", { class: "field recordings", "data-param": "audio_sample" }, drop, microphone.element, list, wrong);
  return {
    element,
    list: () => kept,
    reset: () => [...kept].forEach(remove),
    pause: microphone.end,
    read: microphone.read,
  };
}

function takeLine(app, take, remove, again) {
  const t = app.t;
  const { name, seconds, bytes } = take;
  const size = seconds ? app.units.clock(seconds) : app.units.bytes(bytes);
  const line = h(
    "li",
    {},
    playButton(app, { label: t("voices.takes.play", { name }), load: async () => take.blob, onerror: (error) => tell(line.closest(".recordings"), { message: error.message, param: "audio_sample" }) }),
    h("span", { class: "grow" }, name, " ", h("span", { class: "soft" }, size)),
    take.clips && h("span", { class: "chip bad" }, t("voices.takes.clips")),
    seconds && button({ text: t("voices.takes.again"), class: "quiet", onclick: () => again(take) }),
    button({ icon: "trash", label: t("voices.takes.remove", { name }), class: "quiet", onclick: remove }),
  );
  return line;
}

function dropZone(t, add) {
  const id = newId();
  const pick = (event) => {
    add([...event.target.files]);
    event.target.value = ""; // the same file may be picked again, once it was removed
  };
  const input = h("input", { type: "file", id, multiple: true, accept: `audio/*,${SUFFIXES}`, class: "visually-hidden", onchange: pick });
  const words = [h("strong", {}, t("voices.takes.pick")), h("span", { class: "soft" }, t("voices.takes.formats"))];
  return droppable(h("label", { class: "drop", for: id }, input, words), add);
}

/** `begin()` and `end()` a take; what was recorded goes to `add`. */
function microphoneBox(app, add) {
  const t = app.t;
  const unable = whyNoRecording(t);
  if (unable) {
    const nothing = () => {};
    return { element: h("p", { class: "note" }, unable), begin: nothing, end: nothing, read: nothing };
  }
  const text = h("blockquote", {});
  const meter = meterBar(app);
  const main = button({ icon: "mic", text: t("voices.mic.record"), onclick: () => (stop ? end() : begin()) });
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const element = h("div", { class: "microphone" }, h("p", { class: "soft" }, t("voices.mic.read")), text, h("div", { class: "row" }, main, meter.element), problem);
  let stop = null;
  let asked = 0; // how often a take was begun or ended
  let number = 0;

  /** Gives whether it records. Browsers ask first, and who goes away meanwhile is not recorded. */
  async function begin() {
    end();
    const mine = ++asked;
    problem.hidden = true;
    meter.show({ peak: 0, clips: false, seconds: 0 });
    try {
      const begun = await record({ onlevel, onend: end });
      if (mine !== asked) {
        begun();
        return false;
      }
      stop = begun;
      app.plays(null); // what is being played would be recorded
      look();
    } catch (error) {
      problem.textContent = whyNoMicrophone(t, error);
      problem.hidden = mine !== asked;
    }
    main.focus();
    return !!stop;
  }
  function end() {
    asked += 1;
    if (!stop) return;
    const take = stop();
    stop = null;
    number += 1;
    look();
    if (take.seconds) add({ ...take, name: t("voices.mic.take", { number }), file: `take-${number}.wav` });
  }
  function onlevel(level) {
    if (!stop) return;
    meter.show(level);
    if (level.seconds >= MOST_SECONDS) end();
  }
  function look() {
    put(main, icon(stop ? "stop" : "mic"), h("span", {}, t(stop ? "voices.mic.stop" : "voices.mic.another")));
    main.classList.toggle("danger", !!stop);
    meter.element.hidden = !stop;
  }
  return { element, begin, end, read: (words, lang) => Object.assign(text, { textContent: words, lang }) };
}

function meterBar({ t, units }) {
  const bar = h("div", {});
  const frame = h("div", { class: "meter grow", "aria-hidden": "true" }, bar);
  const time = h("output", { class: "elapsed", "aria-label": t("voices.mic.elapsed") });
  const words = h("span", { class: "loud" });
  const element = h("div", { class: "row grow", hidden: true }, time, frame, words);
  let hotUntil = 0;
  let height = 0;

  function show({ peak, clips, seconds }) {
    const decibels = 20 * Math.log10(Math.max(peak, 1e-6));
    height = seconds ? Math.max(0, 1 + decibels / FLOOR_DECIBELS, height - FALL) : 0;
    bar.style.transform = `scaleX(${height})`;
    if (clips) hotUntil = seconds + HOT_SECONDS;
    if (!seconds) hotUntil = 0; // another take
    const isHot = seconds < hotUntil;
    frame.classList.toggle("hot", isHot);
    words.textContent = isHot ? t("voices.mic.clips") : "";
    time.textContent = units.clock(Math.floor(seconds));
  }
  return { element, show };
}
