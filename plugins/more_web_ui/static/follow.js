// Jobs as they go on, by the server's events.

import { isStop } from "./api.js";
import { isLive } from "./jobwords.js";

const FOLLOWED = 3; // browsers open about six connections to a server, and one is needed for all else

/** Follows jobs by their events. */
export class Following {
  #api;
  #told;
  #streams = new Map(); // by the job's id, what stops its stream

  /** told: is given a job whenever it has changed. */
  constructor(api, told) {
    this.#api = api;
    this.#told = told;
  }

  has(id) {
    return this.#streams.has(id);
  }

  /** Follow the first of these jobs that wait or run, those that run before the others, and no other job. */
  choose(jobs) {
    const live = jobs.filter(isLive).sort((one, other) => (other.status === "running") - (one.status === "running"));
    const wanted = live.slice(0, FOLLOWED).map((job) => job.id);
    for (const [id, stopper] of this.#streams) {
      if (wanted.includes(id)) continue;
      this.#streams.delete(id);
      stopper.abort();
    }
    for (const id of wanted) if (!this.has(id)) this.#follow(id);
  }

  async #follow(id) {
    const stopper = new AbortController();
    this.#streams.set(id, stopper);
    try {
      for await (const { data } of this.#api.events(`/v1/jobs/${id}/events`, stopper.signal)) {
        if (stopper.signal.aborted) return;
        this.#told(data);
      }
    } catch (error) {
      if (!isStop(error) && !error.status) throw error; // what is refused, the next look at the list tells
    } finally {
      if (this.#streams.get(id) === stopper) this.#streams.delete(id);
    }
  }
}
