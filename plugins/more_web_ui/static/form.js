// A form made from a JSON Schema, as the server describes settings: it knows what was changed, and what was no value.

import { ApiError } from "./api.js";
import { button, field, h, put } from "./dom.js";
import { controlFor, resolve } from "./form_controls.js";

/**
 * @param {any} app
 * @param {{schema: any, root?: any, values: Record<string, any>, changed: string[], prefix?: string, undo?: (name: string) => any,
 *   labels?: Record<string, string>, undoText?: string, makers?: Record<string, Function>, sliders?: boolean}} of
 *   schema: of an object. root: what `$ref` points into. changed: fields that can be taken back, by `undo`.
 *   prefix: before the names of fields in the server's errors. makers: controls of some fields, as `controlFor`.
 * @returns {{element: any, changes: () => Record<string, any>, renew: (values: any, changed: string[]) => void, rebase: Function}}
 *   changes: of what was edited; raises ApiError for what is no value. renew: show these values. rebase: the same where nothing was edited.
 */
export function schemaForm(app, { schema, root = schema, values, changed, undo, ...how }) {
  const fields = Object.entries(schema.properties ?? {}).map(([name, given]) => {
    return schemaField(app, name, resolve(given, root), root, { undo, ...how });
  });
  const element = h("div", { class: "schema" }, fields.map((one) => one.element));

  function renew(now, nowChanged, kept = []) {
    for (const one of fields) {
      if (!kept.includes(one)) one.build(now[one.name], nowChanged.includes(one.name));
    }
  }
  renew(values, changed);
  return {
    element,
    renew,
    rebase: (now) => renew(now, [], fields.filter((one) => one.isEdited())),
    changes: () => Object.fromEntries(fields.filter((one) => one.isEdited()).map((one) => [one.name, one.read()])),
  };
}

function schemaField(app, name, schema, root, { prefix = "", undo, undoText, labels = {}, makers = {}, sliders = false }) {
  const param = prefix + name;
  const element = h("div", { class: "setting" });
  const label = labels[name] ?? name;
  let control = null;
  let begun = ""; // as JSON, what the control made of the server's value

  function read() {
    try {
      return control.read();
    } catch (error) {
      if (error instanceof SyntaxError) throw new ApiError(app.t("admin.form.noJson", { reason: error.message }), { param });
      if (error instanceof RangeError) throw new ApiError(app.t("admin.form.noNumber"), { param });
      throw error;
    }
  }
  /** As JSON; null: it is no value, and `read` says why. */
  function typed() {
    try {
      return JSON.stringify(control.read());
    } catch {
      return null;
    }
  }
  function build(value, isChanged) {
    const make = makers[name] ?? controlFor;
    control = make(app, { schema, root, value, label, name, sliders });
    begun = JSON.stringify(control.read());
    const place = placed(param, label, schema.description, control);
    const back = isChanged && button({ text: undoText ?? app.t("admin.form.undo"), class: "quiet", onclick: takeBack });
    put(element, place, back && h("div", { class: "row" }, back));
  }
  async function takeBack() {
    const now = await undo(name);
    if (now) build(now.value, false);
  }
  return { name, element, read, build, isEdited: () => typed() !== begun };
}

/** A control with its label and hint; one that is made of several has a legend. */
function placed(param, label, hint, control) {
  let made;
  if (control.isGroup) {
    const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
    const legend = h("legend", {}, label);
    made = h("fieldset", { "data-param": param }, legend, control.element, hint && h("p", { class: "hint" }, hint), wrong);
  } else {
    made = field({ param, label, hint, control: control.element });
    control.dress?.();
  }
  dressed(made.querySelector(".hint"));
  return made;
}

/** The server's hints are English, and quote with backticks. */
function dressed(hint) {
  if (!hint) return;
  hint.lang = "en";
  put(hint, hint.textContent.split("`").map((part, number) => (number % 2 ? h("code", {}, part) : part)));
}
