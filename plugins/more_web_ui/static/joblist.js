// The list of jobs, kept as the server has it while somebody looks.

import { ApiError } from "./api.js";
import { busy, button, h, problemBox, put } from "./dom.js";
import { Following } from "./follow.js";
import { polling } from "./guarded.js";
import { jobCard } from "./jobcard.js";
import { isLive } from "./jobwords.js";

const PAGE = 20;
const POLL = 4000; // ms between looks at the list

/** The list: `element`, `show()` it, `hide()` it, after which nothing is asked for, `add(job)` that was just begun. */
export class JobList {
  #app;
  #cards = new Map(); // by the job's id, the latest first
  #problem = problemBox();
  #list = h("ul", { class: "jobs" });
  #empty;
  #more;
  #following;
  #isShown = false;
  #isFirst = true; // nobody is asked for a key every few seconds
  #poll = polling(POLL, () => this.#look());

  constructor(app) {
    const { api, t } = app;
    this.#app = app;
    this.#empty = h("div", { class: "card empty", hidden: true }, h("p", {}, t("jobs.empty")));
    this.#more = button({ text: t("jobs.more"), hidden: true, onclick: () => busy(this.#more, () => this.#older()) });
    this.#following = new Following(api, (job) => this.#take(job));
    this.element = h("div", { class: "stack" }, this.#problem, this.#empty, this.#list, h("div", { class: "row" }, this.#more));
    app.on("key", () => {
      this.#cards.clear();
      this.#place();
      this.#poll.stop();
      if (this.#isShown) this.show();
    });
  }

  show() {
    this.#isShown = this.#isFirst = true;
    this.#poll.start();
  }

  hide() {
    this.#isShown = false;
    this.#poll.stop();
    this.#following.choose([]);
  }

  add(job) {
    const before = [...this.#cards];
    this.#cards.clear();
    this.#take(job);
    for (const [id, card] of before) if (!this.#cards.has(id)) this.#cards.set(id, card);
    this.#place();
    this.#follow();
  }

  #jobs() {
    return [...this.#cards.values()].map((card) => card.job);
  }

  #take(job) {
    const known = this.#cards.get(job.id);
    if (known) return known.update(job);
    const onjob = (now) => {
      this.#take(now);
      this.#follow();
    };
    const ongone = (id) => {
      this.#cards.delete(id);
      this.#place();
      this.#follow();
    };
    this.#cards.set(job.id, jobCard(this.#app, job, { onjob, ongone }));
  }

  #follow() {
    if (this.#isShown) this.#following.choose(this.#jobs());
  }

  #place() {
    const wanted = [...this.#cards.values()].map((card) => card.element);
    const there = this.#list.children;
    // What stays where it is keeps the focus, and what it plays.
    const isSame = wanted.length === there.length && wanted.every((one, at) => one === there[at]);
    for (const gone of there) if (!wanted.includes(gone)) gone.querySelectorAll("audio").forEach(({ src }) => URL.revokeObjectURL(src));
    if (!isSame) put(this.#list, wanted);
    this.#empty.hidden = wanted.length > 0;
  }

  /** The latest jobs, as they stand now: new ones go before those that are known, and what is gone goes. */
  #merge({ data, has_more: hasMore }) {
    if (!this.#cards.size) this.#more.hidden = !hasMore;
    const ids = new Set(data.map((job) => job.id));
    const oldest = hasMore ? data.at(-1).created : -1;
    const older = [...this.#cards].filter(([id, { job }]) => !ids.has(id) && job.created <= oldest);
    data.forEach((job) => this.#take(job));
    const latest = data.map(({ id }) => [id, this.#cards.get(id)]);
    this.#cards = new Map([...latest, ...older]);
    this.#place();
  }

  async #refresh(how) {
    const { api } = this.#app;
    this.#merge(await api.get(`/v1/jobs?limit=${PAGE}`, how));
    for (const job of this.#jobs().slice(PAGE)) {
      if (isLive(job) && !this.#following.has(job.id)) this.#take(await api.get(`/v1/jobs/${job.id}`, how));
    }
    this.#follow();
  }

  async #older() {
    const page = await this.#app.api.get(`/v1/jobs?limit=${PAGE}&after=${this.#jobs().at(-1)?.id ?? ""}`);
    for (const job of page.data) this.#take(job);
    this.#more.hidden = !page.has_more;
    this.#place();
    this.#follow();
  }

  async #look() {
    const how = { quiet: !this.#isFirst };
    this.#isFirst = false;
    try {
      await this.#refresh(how);
      this.#problem.hidden = true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#problem.textContent = error.message;
      this.#problem.hidden = false;
    }
    return true;
  }
}
