// Recordings from this device, sent to the server and made into a dataset.

import { ApiError, isStop } from "./api.js";
import { attempt, busy, button, field, h, problemBox } from "./dom.js";
import { Upload } from "./tus.js";

const KINDS = ".zip,.csv,audio/*,.mp4,.mov,.webm,.mkv";

/**
 * The form.
 * @param {any} app
 * @param {(job: any) => void} onjob
 */
export function datasetForm(app, onjob) {
  const { t } = app;
  const pick = h("input", { type: "file", multiple: true, accept: KINDS });
  const by = {
    name: h("input", { autocomplete: "off", spellcheck: "false" }),
    language: h("input", { value: app.language }),
    speaker: h("input", { maxlength: 100 }),
    whisper: h("input", { autocomplete: "off" }),
  };
  const sending = sendingRow(app);
  const start = button({ text: t("jobs.data.make"), class: "primary", onclick: () => busy(start, make) });
  const more = [
    field({ param: "speaker", label: t("jobs.data.speaker"), hint: t("jobs.data.speakerHint"), control: by.speaker }),
    field({ param: "whisper", label: t("jobs.data.whisper"), hint: t("jobs.data.whisperHint"), control: by.whisper }),
  ];
  const form = h("form", { class: "card", onsubmit: (event) => event.preventDefault() }, [
    h("h2", {}, t("jobs.data.new")),
    field({ param: "uploads", label: t("jobs.data.files"), hint: t("jobs.data.filesHint"), control: pick }),
    field({ param: "name", label: t("jobs.data.name"), hint: t("jobs.data.nameHint"), control: by.name }),
    field({ param: "language", label: t("jobs.languageOf"), hint: t("jobs.data.languageHint"), control: by.language }),
    h("details", {}, h("summary", {}, t("jobs.new.further")), h("div", { class: "columns" }, more)),
    problemBox(),
    sending.element,
    h("div", { class: "row end" }, start),
  ]);
  let uploads = []; // of the files that are picked; what came over stays for the next try

  pick.addEventListener("change", () => {
    discard(app, uploads);
    uploads = [...pick.files].map((file) => new Upload(app, file));
  });
  const make = () =>
    attempt(form, async () => {
      if (!uploads.length) throw new ApiError(t("jobs.data.noFiles"), { param: "uploads" });
      await sending.send(uploads);
      const words = Object.fromEntries(Object.entries(by).map(([name, { value }]) => [name, value.trim()]));
      const ids = uploads.map((one) => one.id);
      const job = await app.api.json("POST", "/v1/jobs", { kind: "dataset", uploads: ids, ...words });
      uploads = [];
      for (const control of [pick, by.name]) control.value = "";
      onjob(job);
    }).catch(stopped).finally(() => (sending.element.hidden = true));
  function stopped(error) {
    if (!isStop(error)) throw error;
    discard(app, uploads);
  }
  return form;
}

/** How far the files have come, and a button that stops them. `send` raises AbortError where that was pressed. */
function sendingRow(app) {
  const { t, units } = app;
  const bar = h("progress", { max: 1, "aria-label": t("jobs.data.sending") });
  const words = h("p", { class: "soft grow" });
  const stop = button({ icon: "stop", text: t("jobs.data.stop") });
  const element = h("div", { class: "stack", hidden: true }, bar, h("div", { class: "row" }, words, stop));

  async function send(uploads) {
    const total = uploads.reduce((sum, { file }) => sum + file.size, 0);
    const stopper = new AbortController();
    const look = () => {
      const done = uploads.reduce((sum, { offset }) => sum + offset, 0);
      bar.value = total ? done / total : 1;
      const values = { done: units.bytes(done), total: units.bytes(total) };
      words.textContent = done < total ? t("jobs.data.sent", values) : t("jobs.data.checked");
    };
    stop.onclick = () => stopper.abort();
    element.hidden = false;
    for (const one of uploads) {
      look();
      await one.send(stopper.signal, look).catch((error) => {
        throw isStop(error) ? error : new ApiError(error.message, { ...error, param: "uploads" });
      });
    }
    look();
  }
  return { element, send };
}

function discard(app, uploads) {
  for (const one of uploads) one.discard().catch((error) => error.status !== 404 && app.toastError(error));
}
