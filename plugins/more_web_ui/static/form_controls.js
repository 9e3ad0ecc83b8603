// Controls for values by their JSON Schema. Each is {element, read}; read raises RangeError for what is no number and
// SyntaxError for what is no JSON. isGroup: made of several controls. dress: called when its label is there.

import { button, h, put, select } from "./dom.js";

const MASK = "********"; // how the server shows a secret; sent back, it leaves the secret as it is
const SECRET = /secret|password|token/;
const SIMPLE = ["string", "integer", "number"];

/**
 * @param {any} app
 * @param {{schema: any, root: any, value: any, label: string, name: string, sliders?: boolean}} of
 *   schema: without references (`resolve`).
 */
export function controlFor(app, of) {
  const { schema, root } = of;
  if (schema.enum) return choice(app, of);
  if (schema.type === "boolean" && !schema.nullable) return tick(of);
  if (schema.type === "integer" || schema.type === "number") return number(of);
  if (schema.type === "string") return text(of);
  if (schema.type === "object" && schema.properties) return group(app, of);
  const inner = schema.type === "array" ? schema.items : schema.type === "object" ? schema.additionalProperties : null;
  const kind = inner && resolve(inner, root);
  if (kind && SIMPLE.includes(kind.type) && !schema.nullable) return rows(app, of, kind);
  return json(of);
}

function tick({ value }) {
  const element = h("input", { type: "checkbox", checked: value });
  return { element, read: () => element.checked };
}

function choice(app, { schema, value }) {
  const values = schema.nullable ? [null, ...schema.enum] : schema.enum;
  const pairs = values.map((one, index) => [String(index), one === null ? app.t("admin.form.nothing") : String(one)]);
  const element = select(pairs, String(values.indexOf(value)));
  return { element, read: () => values[Number(element.value)] };
}

function number({ schema, value, label, sliders }) {
  const least = schema.minimum ?? schema.exclusiveMinimum;
  const most = schema.maximum ?? schema.exclusiveMaximum;
  const isWhole = schema.type === "integer";
  const element = h("input", { type: "number", value, min: least, max: most, step: isWhole ? 1 : "any", inputmode: "decimal" });
  const read = () => {
    if (element.value === "" && !element.validity.badInput && schema.nullable) return null;
    if (element.value === "") throw new RangeError("no number");
    return Number(element.value);
  };
  const dress = () => sliders && least !== undefined && most !== undefined && slide(element, { schema, least, most, label });
  return { element, read, dress };
}

/** Put a slider before a number; the number may be finer than it. */
function slide(element, { schema, least, most, label }) {
  const step = schema.type === "integer" ? 1 : most - least <= 5 ? 0.05 : 0.1;
  const min = schema.exclusiveMinimum === undefined ? least : least + step;
  const slider = h("input", { type: "range", min, max: most, step, "aria-label": label });
  slider.value = element.value; // once its bounds are there
  slider.addEventListener("input", () => (element.value = slider.value));
  element.addEventListener("input", () => (slider.value = element.value));
  const both = h("div", { class: "slider" });
  element.replaceWith(both);
  both.append(slider, element);
}

function text({ schema, value, name }) {
  const isSecret = value === MASK || SECRET.test(name);
  const type = isSecret ? "password" : "text";
  const attributes = { autocomplete: isSecret ? "new-password" : "off", spellcheck: "false" };
  const element = h("input", { type, value, maxlength: schema.maxLength, ...attributes });
  if (isSecret) element.addEventListener("focus", () => element.select());
  return { element, read: () => (element.value === "" && schema.nullable ? null : element.value) };
}

function json({ value }) {
  const written = JSON.stringify(value ?? null, null, 2);
  const rowCount = Math.min(12, written.split("\n").length + 1);
  const element = h("textarea", { class: "mono", rows: rowCount, spellcheck: "false", value: written });
  return { element, read: () => JSON.parse(element.value) };
}

function group(app, { schema, root, value, sliders }) {
  const parts = Object.entries(schema.properties).map(([name, given]) => {
    const inner = { schema: resolve(given, root), root, value: value?.[name], label: name, name, sliders };
    const control = controlFor(app, inner);
    const place = control.isGroup
      ? h("fieldset", {}, h("legend", {}, name), control.element)
      : h("label", { class: "field" }, h("span", {}, name), control.element);
    return { name, control, place };
  });
  return {
    isGroup: true,
    element: h("div", { class: "stack" }, parts.map((one) => one.place)),
    read: () => Object.fromEntries(parts.map(({ name, control }) => [name, control.read()])),
  };
}

/** A list, or an object whose names are free: rows that come and go. */
function rows(app, { schema, root, value, label }, kind) {
  const { t } = app;
  const isList = schema.type === "array";
  const list = h("div", { class: "stack" });
  let all = [];

  function add(name, one) {
    const control = controlFor(app, { schema: kind, root, value: one, label, name: "" });
    control.element.setAttribute("aria-label", isList ? label : t("admin.form.value", { label }));
    const key = isList ? null : h("input", { value: name, "aria-label": t("admin.form.name", { label }), spellcheck: "false" });
    const line = h("div", { class: "row pair" }, key, control.element, button({ icon: "close", label: t("admin.form.remove"), class: "quiet", onclick: remove }));
    const row = { key, control };
    function remove() {
      all = all.filter((other) => other !== row);
      line.remove();
      more.focus();
    }
    all.push(row);
    list.append(line);
    return key ?? control.element;
  }
  const begin = kind.type === "string" ? "" : (kind.minimum ?? 0);
  const more = button({ icon: "plus", text: t("admin.form.add"), onclick: () => add("", begin).focus() });
  for (const [name, one] of Object.entries(value ?? {})) add(name, one);
  const element = put(h("div", { class: "stack" }), list, h("div", { class: "row" }, more));
  const read = () => {
    if (isList) return all.map(({ control }) => control.read());
    return Object.fromEntries(all.map(({ key, control }) => [key.value, control.read()]));
  };
  return { isGroup: true, element, read };
}

/** A schema without references; `nullable` where null is a value, too. */
export function resolve(schema, root) {
  if (schema.$ref) {
    const { $ref, ...rest } = schema;
    const target = $ref.slice(2).split("/").reduce((inside, part) => inside?.[part], root) ?? {};
    return resolve({ ...target, ...rest }, root);
  }
  if (!schema.anyOf) return schema;
  const { anyOf, ...rest } = schema;
  const kinds = anyOf.filter((one) => one.type !== "null");
  if (kinds.length !== 1) return rest; // what is left says nothing of its type: it becomes JSON
  return { ...resolve(kinds[0], root), ...rest, nullable: kinds.length < anyOf.length };
}
