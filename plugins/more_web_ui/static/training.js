// Training: recordings become a dataset, and a dataset a model that speaks with its voices.

import { ApiError } from "./api.js";
import { button, h, problemBox, put } from "./dom.js";
import { datasetForm } from "./datasetform.js";
import { clock, plain } from "./jobwords.js";
import { askTraining } from "./trainform.js";

/**
 * `element` and `load()`.
 * @param {any} app
 * @param {(job: any) => void} onjob  A job was begun.
 */
export function training(app, onjob) {
  const { api, t } = app;
  const problem = problemBox();
  const form = datasetForm(app, onjob);
  const list = h("ul", { class: "list" });
  const notes = h("div", { class: "stack" });
  const datasets = h("section", { class: "card" }, h("h2", {}, t("jobs.data.title")), notes, list);
  const content = h("div", { class: "halves" }, form, datasets);

  /** What this key may not do, or this server cannot, it says itself. */
  async function load() {
    try {
      const { data, problems } = await api.get("/v1/admin/datasets");
      put(list, data.map((one) => dataset(app, one, { onjob, load })));
      notes.hidden = data.length > 0 && !problems.length;
      put(notes, !data.length && h("p", { class: "soft" }, t("jobs.data.none")));
      notes.append(...problems.map((text) => h("p", { class: "problem" }, text)));
      problem.hidden = true;
      content.hidden = false;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      problem.textContent = error.message;
      problem.hidden = false;
      content.hidden = error.status === 401 || error.status === 403;
    }
  }
  return { element: h("div", { class: "stack" }, problem, content), load };
}

function dataset(app, one, { onjob, load }) {
  const { api, language, t } = app;
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
    one.language,
    t("jobs.clips", { count: one.clips, time: clock(one.seconds) }),
    t("jobs.data.held", { count: one.held_out }),
    one.speakers.join(", "),
  ];
  const report = h("div", { class: "stack" });
  const read = async (event) => event.target.open && put(report, reported(t, language, (await api.get(path)).report));
  return h("li", {}, [
    h("div", { class: "grow" }, h("div", { class: "title" }, one.name), h("div", { class: "soft" }, about.join(" · "))),
    button({ text: t("jobs.data.train"), class: "primary", onclick: train }),
    button({ icon: "trash", label: `${t("common.delete")}: ${one.name}`, class: "quiet", onclick: remove }),
    h("details", { class: "whole", ontoggle: read }, h("summary", {}, t("jobs.data.report")), report),
  ]);
}

/** What was found in the recordings. */
function reported(t, language, report) {
  const pairs = [
    [t("jobs.data.recordings"), `${plain(language, report.recordings)} · ${clock(report.recorded_seconds)}`],
    [t("jobs.data.speech"), clock(report.speech_seconds)],
    [t("jobs.data.refused"), `${plain(language, report.refused_clips)} · ${clock(report.refused_seconds)}`],
    ...Object.entries(report.refused).map(([reason, count]) => [reason, plain(language, count)]),
  ];
  const figures = pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  return [h("dl", { class: "figures" }, figures), ...report.advice.map((text) => h("p", { class: "note" }, text))];
}
