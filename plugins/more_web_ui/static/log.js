// The last lines of the server's log, as they come.

import { button, h, put, select } from "./dom.js";
import { guarded, polling } from "./guarded.js";

const EVERY = 2000; // ms
const FIRST = 300; // lines asked for at once
const KEPT = 1000; // lines, as many as the server keeps
const LEVELS = ["debug", "info", "warning", "error", "critical"];
const KINDS = { warning: "warn", error: "bad", critical: "bad" };
const SHORT = 200; // letters of a field that is shown in the line itself

export default function (app, panel) {
  const { t } = app;
  let lines = [];
  let started = null;
  let isPaused = false;
  const { level, search, pause } = controls(app, draw, paused);
  const list = h("ol", { class: "log", tabindex: "0", "aria-label": t("admin.tabs.log") });
  const none = h("p", { class: "empty", hidden: true }, t("admin.log.none"));
  const filters = h("div", { class: "row" }, h("div", {}, level), h("div", { class: "grow" }, search), pause);
  const card = h("div", { class: "card" }, filters, list, none);

  async function fill() {
    if (isPaused) return;
    let told = await ask(lines.at(-1)?.number ?? 0);
    if (started !== null && told.started !== started) {
      told = await ask(0); // another process, which counts from 1
      lines = [];
      put(list);
    }
    const isFirst = started === null;
    started = told.started;
    lines = [...lines, ...told.data].slice(-KEPT);
    if (isFirst) draw();
    else append(told.data);
  }
  function ask(after) {
    return app.api.get(`/v1/admin/log?limit=${FIRST}&after=${after}`, { quiet: true });
  }
  function draw() {
    put(list);
    append(lines);
  }
  function append(fresh) {
    const wasAtEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    list.append(...fresh.filter(isWanted).map((line) => logLine(app.units, line)));
    while (list.children.length > KEPT) list.firstChild.remove();
    none.hidden = list.children.length > 0;
    list.hidden = !none.hidden;
    if (wasAtEnd) requestAnimationFrame(() => (list.scrollTop = list.scrollHeight)); // once it is shown
  }
  function isWanted(line) {
    if (LEVELS.indexOf(line.level) < LEVELS.indexOf(level.value)) return false;
    const wanted = search.value.trim().toLowerCase();
    return !wanted || JSON.stringify(line).toLowerCase().includes(wanted);
  }
  function paused() {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
  }
  const { element, load } = guarded(app, card, fill, () => poll.start());
  const poll = polling(EVERY, load);
  put(panel, element);
  return { shown: poll.start, hidden: poll.stop };
}

function controls(app, draw, paused) {
  const { t } = app;
  const levels = [
    ["debug", t("admin.log.all")],
    ["info", t("admin.log.info")],
    ["warning", t("admin.log.warning")],
    ["error", t("admin.log.error")],
  ];
  return {
    level: select(levels, "info", { "aria-label": t("admin.log.level"), onchange: draw }),
    search: h("input", { type: "search", "aria-label": t("admin.log.search"), placeholder: t("admin.log.search"), oninput: draw }),
    pause: button({ icon: "pause", text: t("common.pause"), "aria-pressed": "false", onclick: paused }),
  };
}

function logLine(units, line) {
  const fields = Object.entries(line.fields).filter(([, value]) => value !== "" && JSON.stringify(value) !== "{}");
  const isShort = ([, value]) => value === null || typeof value !== "object" || JSON.stringify(value).length <= SHORT;
  const short = fields.filter((one) => isShort(one) && String(one[1]).length <= SHORT);
  const long = fields.filter((one) => !short.includes(one));
  const told = short.map(([name, value]) => [
    h("span", { class: "soft" }, `${name}=`),
    typeof value === "string" ? value : JSON.stringify(value),
    " ",
  ]);
  const more = long.map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    return h("details", {}, h("summary", {}, name), h("pre", {}, text));
  });
  return h(
    "li",
    {},
    h("time", { datetime: line.timestamp, class: "soft" }, units.time(line.timestamp)),
    " ",
    h("span", { class: `chip ${KINDS[line.level] ?? ""}` }, line.level),
    " ",
    h("strong", {}, line.event),
    " ",
    h("span", { class: "mono" }, told),
    more,
  );
}
