// How jobs are put into words: kinds, states, stages, times, sizes.

import { tell } from "./dom.js";

const KINDS = { speech: "jobs.kind.speech", dataset: "jobs.kind.dataset", train: "jobs.kind.train" };
const STATES = {
  queued: "jobs.state.queued",
  running: "jobs.state.running",
  succeeded: "jobs.state.succeeded",
  failed: "jobs.state.failed",
  cancelled: "jobs.state.cancelled",
};
const STAGES = {
  planning: "jobs.stage.planning",
  speaking: "jobs.stage.speaking",
  waiting: "jobs.stage.waiting",
  encoding: "jobs.stage.encoding",
  reading: "jobs.stage.reading",
  transcribing: "jobs.stage.transcribing",
  checking: "jobs.stage.checking",
  writing: "jobs.stage.writing",
  preparing: "jobs.stage.preparing",
  training: "jobs.stage.training",
  evaluating: "jobs.stage.evaluating",
  exporting: "jobs.stage.exporting",
  done: "jobs.stage.done",
};
const COLOURS = { running: "accent", succeeded: "good", failed: "bad", cancelled: "warn" };
const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte"];

/** Whether a job waits or runs. */
export function isLive(job) {
  return job.status === "queued" || job.status === "running";
}

/** What kind of job it is. */
export function kindWord(t, job) {
  return job.kind in KINDS ? t(KINDS[job.kind]) : job.kind;
}

/** Its state: the word, and the class of its chip. */
export function stateOf(t, job) {
  return { text: t(STATES[job.status]), kind: COLOURS[job.status] ?? "" };
}

/** What it does at the moment; what the page does not know stands as the server has it. */
export function stageWord(t, stage) {
  return stage in STAGES ? t(STAGES[stage]) : stage;
}

/** A number of bytes, such as "4.2 MB". */
export function size(language, bytes) {
  const step = bytes < 1 ? 0 : Math.min(Math.floor(Math.log10(bytes) / 3), UNITS.length - 1);
  const style = "unit";
  const how = { style, unit: UNITS[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: 1 };
  return new Intl.NumberFormat(language, how).format(bytes / 1000 ** step);
}

/** Seconds as 4:07 or 1:02:07. */
export function clock(seconds) {
  const all = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** A moment in Unix seconds: the time of today, else the day with it. */
export function moment(language, unix) {
  const then = new Date(1000 * unix);
  const time = { hour: "2-digit", minute: "2-digit" };
  const isToday = then.toDateString() === new Date().toDateString();
  return then.toLocaleString(language, isToday ? time : { day: "numeric", month: "short", ...time });
}

/** A number with at most three digits behind the point. */
export function plain(language, value) {
  return new Intl.NumberFormat(language, { maximumFractionDigits: 3 }).format(value);
}

/** A share from 0 to 1. */
export function percent(language, share) {
  const style = "percent";
  return new Intl.NumberFormat(language, { style }).format(share);
}

/** `tell` of dom.js, also where the field is in something folded. */
export function fail(root, error) {
  tell(root, error);
  root.querySelector(".wrong:not([hidden])")?.closest("details")?.setAttribute("open", "");
}
