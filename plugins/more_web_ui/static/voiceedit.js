// Voices changed, brought in and removed.

import { ApiError, save } from "./api.js";
import { attempt, field, h, problemBox, tell } from "./dom.js";
import { voicePath } from "./voicebank.js";

const UNDO_SECONDS = 10;

/** Change what is told of a voice, or what it is called. */
export async function editVoice(app, voice) {
  const t = app.t;
  const input = (value) => h("input", { value, autocomplete: "off" });
  const area = (value) => h("textarea", { value, rows: 2 });
  const controls = {
    name: h("input", { value: voice.id, autocomplete: "off", autocapitalize: "none", spellcheck: "false" }),
    title: input(voice.title),
    languages: input(voice.languages.join(", ")),
    aliases: input(voice.aliases.join(", ")),
    description: area(voice.description),
    consent: area(voice.consent),
    licence: area(voice.licence),
    source: area(voice.source),
  };
  const words = {
    name: { label: t("voices.field.id"), hint: t("voices.edit.idHint") },
    title: { label: t("voices.field.title") },
    languages: { label: t("voices.field.languages"), hint: t("voices.edit.languagesHint") },
    aliases: { label: t("voices.field.aliases"), hint: t("voices.edit.aliasesHint") },
    description: { label: t("voices.field.description") },
    consent: { label: t("voices.field.consent") },
    licence: { label: t("voices.field.licence") },
    source: { label: t("voices.field.source") },
  };
  const fields = Object.entries(controls).map(([param, control]) => field({ param, control, ...words[param] }));
  const content = h("div", { class: "stack roomy" }, fields, problemBox());
  const before = Object.fromEntries(Object.entries(controls).map(([name, control]) => [name, control.value]));

  const check = () =>
    attempt(content, async () => {
      const changed = Object.entries(controls).filter(([name, { value }]) => value !== before[name]);
      if (!changed.length) return;
      const body = Object.fromEntries(changed.map(([name, { value }]) => [name, told(name, value)]));
      const made = await app.api.json("PATCH", voicePath(voice.id), body);
      app.emit("voices", made.id);
    });
  const actions = [
    { value: "", text: t("common.cancel"), class: "quiet" },
    { value: "save", text: t("common.save"), class: "primary", check },
  ];
  await app.dialog(t("voices.edit.title", { name: voice.title }), content, actions);
}

function told(name, value) {
  if (!["languages", "aliases"].includes(name)) return name === "name" ? value.trim() : value;
  const parts = value.split(",").map((part) => part.trim());
  return parts.filter(Boolean);
}

/** A voice out of a zip archive, as one is exported. */
export async function importVoice(app) {
  const t = app.t;
  const file = h("input", { type: "file", accept: ".zip,application/zip" });
  const name = h("input", { autocomplete: "off", autocapitalize: "none", spellcheck: "false" });
  const content = h(
    "div",
    { class: "stack roomy" },
    field({ param: "file", label: t("voices.import.file"), hint: t("voices.import.fileHint"), control: file }),
    field({ param: "name", label: t("voices.import.name"), hint: t("voices.import.nameHint"), control: name }),
    problemBox(),
  );
  const check = () =>
    attempt(content, async () => {
      const picked = file.files[0];
      if (!picked) throw new ApiError(t("voices.import.noFile"), { param: "file" });
      const archive = await picked.arrayBuffer().catch((error) => {
        throw new ApiError(t("voices.new.unreadable", { name: picked.name, reason: error.message }), { param: "file" });
      });
      const made = await bring(app, archive, { name: name.value.trim() });
      app.toast(t("voices.import.done", { name: made.title }));
    });
  const actions = [
    { value: "", text: t("common.cancel"), class: "quiet" },
    { value: "import", text: t("voices.import.action"), class: "primary", check },
  ];
  await app.dialog(t("voices.import.title"), content, actions);
}

async function bring(app, archive, query) {
  const path = `/v1/admin/voices/import?${new URLSearchParams(query)}`;
  const headers = { "content-type": "application/zip" };
  const made = await app.api.json("POST", path, archive, { headers });
  app.emit("voices", made.id);
  return made;
}

/**
 * Remove a voice. For some seconds it can be had back: the page keeps it meanwhile.
 * @param {any} root  Below which an error is told.
 */
export function removeVoice(app, voice, admin, root) {
  return attempt(root, async () => {
    const archive = admin ? await exported(app, voice, root) : null;
    if (!archive && !(await app.sure(app.t("voices.remove.title", { name: voice.title }), app.t("voices.remove.forGood"), app.t("common.delete")))) return;
    await app.api.json("DELETE", admin ? voicePath(voice.id) : `/v1/audio/voices/${encodeURIComponent(voice.id)}`);
    app.emit("voices");
    if (archive) offerUndo(app, voice, archive);
    else app.toast(app.t("voices.remove.done", { name: voice.title }));
  });
}

/** The voice as an archive; null where it cannot be exported, as when a recording of it has gone, which is told. */
async function exported(app, voice, root) {
  try {
    return await app.api.blob(`${voicePath(voice.id)}/export`);
  } catch (error) {
    if (!(error.status >= 400)) throw error;
    tell(root, error);
    return null;
  }
}

function offerUndo(app, voice, archive) {
  const t = app.t;
  const undo = async () => {
    try {
      await bring(app, archive, { name: voice.id, store: voice.store });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      // The page alone has it now.
      const keep = () => save(archive, `${voice.id}.zip`);
      app.toast(error.message, { label: t("common.download"), action: keep, seconds: 60 });
    }
  };
  app.toast(t("voices.remove.done", { name: voice.title }), { label: t("common.undo"), action: undo, seconds: UNDO_SECONDS });
}
