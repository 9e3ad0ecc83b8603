// Overview: what the server is at now, and how it went in the last minutes.

import { figures, h, put } from "./dom.js";
import { guarded, polling } from "./guarded.js";
import { kindWord, stateOf } from "./jobwords.js";
import { buckets, parseMetrics, quantile, total } from "./metrics.js";
import { plot } from "./plot.js";

const EVERY = 2000; // ms
const SPAN = 300; // seconds that are drawn
const SHORT = 10; // seconds over which rates are taken, so that single requests are a bump and no needle
const LONG = 60; // seconds over which times to the first audio are taken
const SPEECH_STATUS = {
  ok: ["good", "admin.live.ok"],
  loading: ["warn", "admin.live.loading"],
  draining: ["warn", "admin.live.draining"],
  paused: ["warn", "admin.live.paused"],
  failing: ["bad", "admin.live.failing"],
};

export default function (app, panel) {
  const facts = h("div", { class: "card" });
  const plots = makePlots(app);
  const drawn = h("div", { class: "plots" }, plots.map((one) => one.element));
  let counted = [];

  async function fill() {
    const [detail, text] = await Promise.all([
      app.api.get("/health/detail", { quiet: true }),
      app.api.send("GET", "/metrics", { quiet: true }).then((response) => response.text()),
    ]);
    const now = read(text);
    if (counted.length && counted.at(-1).started !== now.started) counted = []; // another process counts anew
    counted = [...counted.filter((one) => one.time > now.time - SPAN - LONG), now];
    const points = counted.map((one) => ({ ...one, ...rates(counted, one) }));
    for (const one of plots) one.draw(points.filter((point) => point.time > now.time - SPAN));
    put(facts, told(app, detail));
  }
  const { element, load } = guarded(app, h("div", { class: "panel" }, facts, drawn), fill, () => poll.start());
  const poll = polling(EVERY, load);
  put(panel, element);
  return { shown: poll.start, hidden: poll.stop };
}

/** What is drawn, and counters that rates are made of; time in seconds. */
function read(text) {
  const metrics = parseMetrics(text);
  return {
    time: performance.now() / 1000,
    started: total(metrics, "more_start_time_seconds"),
    requestCount: total(metrics, "xtts_synthesis_total") ?? 0,
    audioSeconds: total(metrics, "xtts_audio_seconds_total") ?? 0,
    firstAudio: buckets(metrics, "xtts_first_audio_seconds"),
    waiting: total(metrics, "xtts_queue_depth"),
    speaking: total(metrics, "xtts_slots_in_use"),
    slots: total(metrics, "xtts_slots"),
    memory: total(metrics, "process_resident_memory_bytes"),
    gpu: total(metrics, "xtts_gpu_memory_bytes", { kind: "used" }),
  };
}

function rates(all, now) {
  const since = (seconds) => all.find((one) => one.time >= now.time - seconds - EVERY / 4000);
  const [short, long] = [since(SHORT), since(LONG)];
  const passed = now.time - short.time;
  const rate = (key) => (passed > SHORT / 3 ? (now[key] - short[key]) / passed : null);
  return {
    requests: rate("requestCount"),
    audio: rate("audioSeconds"),
    median: quantile(long.firstAudio, now.firstAudio, 0.5),
    slow: quantile(long.firstAudio, now.firstAudio, 0.9),
  };
}

function makePlots(app) {
  const { t, units } = app;
  const rate = (value) => t("admin.live.perSecond", { value });
  const make = (title, shown, lines, least) => plot(app, { title, span: SPAN, shown, lines, least });
  return [
    make(t("admin.live.requests"), rate, [{ key: "requests", name: "" }], 1),
    make(t("admin.live.queue"), units.number, [
      { key: "speaking", name: t("admin.live.speaking") },
      { key: "waiting", name: t("admin.live.waiting") },
      { key: "slots", name: t("admin.live.slots") },
    ]),
    make(t("admin.live.firstAudio"), units.seconds, [
      { key: "median", name: t("admin.live.median") },
      { key: "slow", name: t("admin.live.slow") },
    ]),
    make(t("admin.live.audio"), (value) => t("admin.live.seconds", { value }), [{ key: "audio", name: "" }], 1),
    make(t("admin.live.memory"), units.bytes, [
      { key: "memory", name: t("admin.live.process") },
      { key: "gpu", name: t("admin.live.gpu"), isOptional: true },
    ]),
  ];
}

function told({ t, units }, detail) {
  const [kind, key] = SPEECH_STATUS[detail.status];
  const { model, device, precision } = detail.xtts;
  const jobs = Object.entries(detail.jobs).flatMap(([of, counts]) => {
    const some = Object.entries(counts).filter(([, count]) => count);
    return some.map(([status, count]) => `${kindWord(t, of)}, ${stateOf(t, status).text}: ${units.number(count)}`);
  });
  const facts = [
    [t("admin.live.version"), detail.version],
    [t("admin.live.uptime"), units.lasted(detail.uptime_seconds)],
    [t("admin.live.model"), model],
    [t("admin.live.device"), [device, precision].filter(Boolean).join(", ")],
    [t("admin.live.breaker"), detail.breaker.open ? t("admin.live.open") : t("admin.live.closed")],
    [t("admin.live.jobs"), jobs.join(" · ") || t("admin.live.none")],
  ];
  return [
    h("div", { class: "row" }, h("span", { class: `chip ${kind}` }, t(key)), h("span", { class: "soft" }, detail.reason)),
    figures(facts),
    detail.set_aside.length > 0 &&
      h("div", { class: "problem" }, t("admin.live.setAside"), h("ul", {}, detail.set_aside.map((path) => h("li", {}, path)))),
  ];
}
