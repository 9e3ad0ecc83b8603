// One job: how it goes, what came of it, and what can be done with it.

import { busy, button, h, put } from "./dom.js";
import { isLive, kindWord, stageWord, stateOf } from "./jobwords.js";
import { trainingView } from "./trainview.js";

const FEW = 4; // results that are shown unfolded

/**
 * A card: `element`, `job` as it was told last, and `update(job)`.
 * @param {any} app
 * @param {any} first  A job as `GET /v1/jobs/{id}` gives it.
 * @param {{onjob: (job: any) => void, ongone: (id: string) => void}} told  After something was done with it here.
 */
export function jobCard(app, first, told) {
  const title = h("h2", { class: "grow" });
  const state = h("span", { class: "chip", role: "status" });
  const about = h("p", { class: "soft" });
  const going = goingOn(app);
  const problem = h("p", { class: "problem", hidden: true });
  const training = first.kind === "train" ? trainingView(app) : null;
  const results = resultList(app);
  const actions = h("div", { class: "row" });
  const kind = h("span", { class: "chip" }, kindWord(app.t, first.kind));
  const head = h("div", { class: "row" }, title, kind, state);
  const body = [head, about, going.element, problem, training?.element, results.element, actions];
  const card = { job: first, element: h("li", { class: "card", "data-job": first.id }, body.filter(Boolean)), update };

  function update(job) {
    const before = card.job;
    card.job = job;
    title.textContent = titleOf(app.t, job);
    const word = stateOf(app.t, job.status);
    if (state.textContent !== word.text) state.textContent = word.text; // said again by screen readers otherwise
    state.className = `chip ${word.kind}`;
    about.textContent = described(app, job);
    going.update(job);
    problem.hidden = !job.error;
    problem.textContent = job.error?.message ?? "";
    training?.update(job);
    results.update(job);
    if (before === job || actionsOf(before) !== actionsOf(job)) put(actions, buttons(app, job, told));
  }
  update(first);
  return card;
}

/** What decides which buttons there are. */
function actionsOf(job) {
  return [isLive(job) ? "live" : job.status, job.progress?.about?.model].join();
}

function titleOf(t, job) {
  const { request, progress } = job;
  const named = request.title || progress?.about?.title || progress?.about?.model || request.name;
  return named || request.dataset || t("jobs.untitled", { voice: request.voice ?? "" });
}

/** When it was asked for, how long it took, and with what. */
function described(app, job) {
  const { request } = job;
  const { units } = app;
  const parts = [units.moment(job.created)];
  if (job.ended && job.started) parts.push(app.t("jobs.took", { time: units.clock(job.ended - job.started) }));
  if (job.kind === "speech") parts.push(request.voice, request.language && units.language(request.language), request.response_format);
  if (job.kind === "dataset") parts.push(units.language(request.language), clips(app, job));
  if (job.kind === "train") parts.push(app.t("jobs.learns", { dataset: request.dataset, model: request.model }));
  return parts.filter(Boolean).join(" · ");
}

function clips({ t, units }, job) {
  const { clips: count, seconds } = job.progress?.about ?? {};
  return count == null ? "" : t("jobs.clips", { count, time: units.clock(seconds) });
}

/** Percent, stage and end of one that waits or runs. */
function goingOn(app) {
  const bar = h("progress", { max: 100, "aria-label": app.t("jobs.progress") });
  const words = h("p", { class: "soft" });
  const element = h("div", { class: "stack" }, bar, words);

  function update(job) {
    const { progress } = job;
    element.hidden = !isLive(job) && !(progress && job.status !== "succeeded");
    bar.value = progress?.percent ?? 0;
    words.textContent = progress ? parts(job, progress).filter(Boolean).join(" · ") : app.t("jobs.notBegun");
  }
  function parts(job, { percent: done, stage, estimated_end: end, about }) {
    const shown = [app.units.percent(Math.floor(done) / 100), stageWord(app.t, stage)];
    if (!isLive(job)) return shown;
    const ends = end && app.t("jobs.ends", { time: app.units.moment(end) });
    return [...shown, ends, about.waiting_for ?? about.for ?? about.doing];
  }
  return { element, update };
}

/** The files of a job; samples of a training are shown elsewhere. Lines of files that are as they were stay. */
function resultList(app) {
  const list = h("ul", { class: "list results" });
  const count = h("summary", {});
  const folded = h("details", {}, count);
  const element = h("div", { hidden: true }, list);
  let items = new Map(); // by what is told of a file

  function update(job) {
    const shown = job.results.filter((one) => !(job.kind === "train" && one.name.startsWith("samples/")));
    const keys = shown.map((one) => JSON.stringify(one));
    if (keys.join() === [...items.keys()].join()) return;
    items = new Map(keys.map((key, index) => [key, items.get(key) ?? resultItem(app, shown[index])]));
    put(list, [...items.values()]);
    element.hidden = !shown.length;
    count.textContent = app.t("jobs.results", { count: shown.length });
    const isMany = shown.length > FEW;
    if (isMany) folded.append(list);
    put(element, isMany ? folded : list);
  }
  return { element, update };
}

function resultItem(app, one) {
  const name = one.name.split("/").at(-1);
  const more = [one.title && name, app.units.bytes(one.bytes)].filter(Boolean).join(" · ");
  const words = h("div", { class: "grow" }, h("div", {}, one.title || name), h("div", { class: "soft" }, more));
  const label = `${app.t("common.download")}: ${name}`;
  const fetched = (event) => busy(event.currentTarget, () => download(app, one.url, name));
  const get = button({ icon: "download", label, class: "quiet", onclick: fetched });
  const item = h("li", {}, words);
  if (one.media_type.startsWith("audio/")) item.append(listen(app, one, name, item));
  item.append(get);
  return item;
}

/** Long audio gets controls of its own, to go to and fro in it. */
function listen(app, one, name, item) {
  async function start({ currentTarget: pressed }) {
    const blob = app.api.key && (await busy(pressed, () => app.api.blob(one.url)));
    if (!pressed.isConnected) return; // it was pressed twice, or the job is gone
    const src = blob ? URL.createObjectURL(blob) : app.api.url(one.url);
    const hush = () => audio.pause();
    const audio = h("audio", { controls: true, src, "aria-label": name, onplay: () => app.plays(hush) });
    audio.addEventListener("error", () => app.toast(app.t("errors.unplayable", { reason: audio.error.message })));
    pressed.remove();
    item.append(audio);
    audio.focus();
    audio.play().catch(() => {}); // its error event has told why not
  }
  return button({ icon: "play", label: `${app.t("common.play")}: ${name}`, class: "quiet", onclick: start });
}

/** A file that no key guards goes straight to the disk, however long it is. */
async function download(app, path, name) {
  if (app.api.key) return app.api.download(path, name);
  const link = h("a", { href: app.api.url(path), download: name });
  document.body.append(link);
  link.click();
  link.remove();
}

function buttons(app, job, { onjob, ongone }) {
  const { api, t } = app;
  const act = (what) => (event) => {
    return busy(event.currentTarget, async () => onjob(await api.json("POST", `/v1/jobs/${job.id}/${what}`)));
  };
  if (isLive(job)) return [button({ icon: "stop", text: t("common.cancel"), onclick: act("cancel") })];
  const remove = async () => {
    if (!(await app.sure(t("jobs.deleteTitle"), t("jobs.deleteText"), t("common.delete")))) return;
    await api.send("DELETE", `/v1/jobs/${job.id}`);
    ongone(job.id);
  };
  const model = job.kind === "train" && job.status === "succeeded" && job.progress?.about?.model;
  return [
    model && button({ icon: "refresh", text: t("jobs.switch", { model }), class: "primary", onclick: () => switchTo(app, model) }),
    job.status !== "succeeded" && button({ icon: "play", text: t("jobs.resume"), onclick: act("resume") }),
    button({ icon: "trash", text: t("common.delete"), class: "quiet", onclick: remove }),
  ];
}

async function switchTo(app, model) {
  const { t } = app;
  const actions = [
    { value: "", text: t("common.cancel"), class: "quiet" },
    { value: "yes", text: t("jobs.switch", { model }), class: "primary" },
  ];
  if ((await app.dialog(t("jobs.switchTitle"), h("p", {}, t("jobs.switchText", { model })), actions)) !== "yes") return;
  await app.api.json("POST", `/v1/admin/models/${encodeURIComponent(model)}/switch`, {});
  app.toast(t("jobs.switched", { model }));
  app.emit("voices");
}
