// Training: recordings become a dataset, and a dataset a model that speaks with its voices.

import { button, figures, h, put } from "./dom.js";
import { datasetForm } from "./datasetform.js";
import { guarded } from "./guarded.js";
import { askTraining } from "./trainform.js";

/**
 * `element` and `shown()`. What this key may not do, or this server cannot, it says itself.
 * @param {any} app
 * @param {(job: any) => void} onjob  A job was begun.
 */
export function training(app, onjob) {
  const { api, t } = app;
  const list = h("ul", { class: "list" });
  const notes = h("div", { class: "stack" });
  const datasets = h("section", { class: "card" }, h("h2", {}, t("jobs.data.title")), notes, list);

  async function fill() {
    const { data, problems } = await api.get("/v1/admin/datasets", { quiet: true });
    put(list, data.map((one) => dataset(app, one, { onjob, load })));
    put(notes, !data.length && h("p", { class: "soft" }, t("jobs.data.none")), problems.map((text) => h("p", { class: "problem" }, text)));
    notes.hidden = !notes.childElementCount;
  }
  const { element, load } = guarded(app, h("div", { class: "halves" }, datasetForm(app, onjob), datasets), fill);
  return { element, shown: load };
}

function dataset(app, one, { onjob, load }) {
  const { api, t, units } = app;
  const path = `/v1/admin/datasets/${one.name}`;
  const remove = async () => {
    if (!(await app.sure(t("jobs.data.deleteTitle", one), t("jobs.data.deleteText"), t("common.delete")))) return;
    await api.send("DELETE", path);
    await load();
  };
  const train = async () => {
    const job = await askTraining(app, one.name);
    if (job) onjob(job);
  };
  const about = [
    units.language(one.language),
    t("jobs.clips", { count: one.clips, time: units.clock(one.seconds) }),
    t("jobs.data.held", { count: one.held_out }),
    one.speakers.join(", "),
  ];
  const report = h("div", { class: "stack" });
  const read = async (event) => event.target.open && put(report, reported(app, (await api.get(path)).report));
  return h("li", {}, [
    h("div", { class: "grow" }, h("div", { class: "title" }, one.name), h("div", { class: "soft" }, about.join(" · "))),
    button({ text: t("jobs.data.train"), class: "primary", onclick: train }),
    button({ icon: "trash", label: `${t("common.delete")}: ${one.name}`, class: "quiet", onclick: remove }),
    h("details", { class: "whole", ontoggle: read }, h("summary", {}, t("jobs.data.report")), report),
  ]);
}

/** What was found in the recordings. */
function reported({ t, units }, report) {
  const pairs = [
    [t("jobs.data.recordings"), `${units.number(report.recordings)} · ${units.clock(report.recorded_seconds)}`],
    [t("jobs.data.speech"), units.clock(report.speech_seconds)],
    [t("jobs.data.refused"), `${units.number(report.refused_clips)} · ${units.clock(report.refused_seconds)}`],
    ...Object.entries(report.refused).map(([reason, count]) => [reason, units.number(count)]),
  ];
  return [figures(pairs), report.advice.map((text) => h("p", { class: "note" }, text))];
}
