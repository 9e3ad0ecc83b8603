// A training as it goes: losses, and what the model says by now.

import { playButton } from "./audio.js";
import { lossChart } from "./curves.js";
import { figures, h, put } from "./dom.js";

const TABLE = "run/curves.csv";
const WHICH = { before: "jobs.sample.before", best: "jobs.sample.best", latest: "jobs.sample.latest" };

/**
 * `element` and `update(job)`.
 * @param {any} app
 */
export function trainingView(app) {
  const facts = h("div", { hidden: true });
  const chart = lossChart(app);
  const samples = sampleList(app);
  let read = ""; // which state of the table is drawn

  /** While it learns the curves come with its progress; afterwards they are read from the table that it left. */
  async function curves(job) {
    const told = job.progress?.about?.curves;
    if (told) return chart.draw(told);
    const table = job.results.find((one) => one.name === TABLE);
    const state = table && `${table.bytes} ${job.status}`;
    if (!table || state === read) return;
    read = state;
    chart.draw(tabulated(await (await app.api.send("GET", table.url, { quiet: true })).text()));
  }
  function update(job) {
    const { about } = job.progress ?? {};
    facts.hidden = !about;
    put(facts, about && numbers(app, about));
    samples.update(job);
    curves(job).catch(app.toastError.bind(app));
  }
  return { element: h("div", { class: "stack" }, facts, chart.element, samples.element), update };
}

function numbers({ t, units }, about) {
  const of = (part, whole) => [part, whole].filter((one) => one != null).map((one) => units.number(one)).join(" / ");
  return figures([
    [t("jobs.figure.step"), of(about.step, about.steps)],
    [t("jobs.figure.epoch"), about.epoch == null ? "" : of(about.epoch, about.epochs)],
    [t("jobs.figure.train"), of(about.loss)],
    [t("jobs.figure.held"), of(about.held_out ?? about.best)],
    [t("jobs.figure.best"), of(about.best_step)],
    [t("jobs.figure.device"), about.device],
  ]);
}

/** Points of curves.csv: a line has the loss of a step, or that of the clips held out. */
function tabulated(text) {
  const [head, ...lines] = text.trim().split("\n").map((line) => line.split(","));
  const column = (name) => {
    const at = head.indexOf(name);
    return lines.filter((line) => line[at]).map((line) => [Number(line[0]), Number(line[at])]);
  };
  return { train: column("loss"), held_out: column("held_out") };
}

/** What the model said before, at its best and last: a button each, which stays while newer ones come in its place. */
function sampleList(app) {
  const rows = new Map(); // by the result's name
  const columns = h("div", { class: "columns" });
  const element = h("div", { class: "stack", hidden: true }, h("h3", {}, app.t("jobs.sample.title")), columns);

  function row(one) {
    const words = h("span", { class: "grow soft" });
    const play = playButton(app, { label: app.t("common.play"), load: () => app.api.blob(one.url) });
    return { words, item: h("li", {}, play, words) };
  }
  function update(job) {
    const found = job.results.filter((one) => one.name.startsWith("samples/"));
    const isNew = found.some((one) => !rows.has(one.name));
    for (const one of found) {
      if (!rows.has(one.name)) rows.set(one.name, row(one));
      const { words, item } = rows.get(one.name);
      if (words.textContent !== one.title) words.textContent = one.title;
      item.querySelector("button").setAttribute("aria-label", `${app.t("common.play")}: ${one.title}`);
    }
    element.hidden = !rows.size;
    if (isNew) put(columns, Object.keys(WHICH).map(column));
  }
  function column(which) {
    const items = [...rows].filter(([name]) => name.startsWith(`samples/${which}/`)).sort();
    if (!items.length) return null;
    const list = h("ul", { class: "list" }, items.map(([, { item }]) => item));
    return h("div", {}, h("h4", {}, app.t(WHICH[which])), list);
  }
  return { element, update };
}
