// How jobs are put into words: kinds, states, stages.

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

/** Whether a job waits or runs. */
export function isLive(job) {
  return job.status === "queued" || job.status === "running";
}

/** What kind of job it is. */
export function kindWord(t, kind) {
  return kind in KINDS ? t(KINDS[kind]) : kind;
}

/** A state: the word, and the class of its chip. */
export function stateOf(t, status) {
  return { text: t(STATES[status]), kind: COLOURS[status] ?? "" };
}

/** What it does at the moment; what the page does not know stands as the server has it. */
export function stageWord(t, stage) {
  return stage in STAGES ? t(STAGES[stage]) : stage;
}
