// Elements, fields and what is told beside them. No state: whatever is made here belongs to who asked for it.

import { ApiError } from "./api.js";

const SVG = "http://www.w3.org/2000/svg";
const FOCUSED = "button:not(:disabled), a[href], input:not(:disabled), select, textarea, summary";
// Set as properties: as attributes they would only say what a control began with.
const PROPERTIES = new Set(["value", "checked", "disabled", "selected", "hidden", "indeterminate"]);

const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M7 5h4v14H7zM13 5h4v14h-4z",
  stop: "M6 6h12v12H6z",
  download: "M11 4h2v8l3-3 1.4 1.4L12 15.8l-5.4-5.4L8 9l3 3zM5 18h14v2H5z",
  copy: "M9 3h10v13h-2V5H9zM5 7h10v14H5zm2 2v10h6V9z",
  trash: "M9 3h6l1 2h4v2H4V5h4zM6 8h12l-1 13H7zm3 2 .5 9h1.5l-.5-9zm4.5 0-.5 9h1.5l.5-9z",
  mic: "M12 3a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM6 11h2a4 4 0 0 0 8 0h2a6 6 0 0 1-5 5.9V20h3v2H8v-2h3v-3.1A6 6 0 0 1 6 11z",
  plus: "M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z",
  close: "M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12l5.6 5.6-1.4 1.4-5.6-5.6L6.4 19 5 17.6l5.6-5.6L5 6.4z",
  edit: "M16.5 3.5l4 4L9 19l-5 1 1-5zM6.8 15.9l-.4 1.7 1.7-.4L17.7 7.5l-1.2-1.2z",
  key: "M7.5 6.5a5.5 5.5 0 0 1 5.200 3.700H22v4h-2v3h-4v-3h-3.300A5.5 5.5 0 1 1 7.5 6.5zm0 3.5a2 2 0 1 0 0 4 2 2 0 0 0 0-4z",
  sun: "M12 7a5 5 0 1 1 0 10 5 5 0 0 1 0-10zM11 1h2v4h-2zm0 18h2v4h-2zM1 11h4v2H1zm18 0h4v2h-4zM4 5.4 5.4 4l2.8 2.8-1.4 1.4zm11.8 11.8 1.4-1.4L20 18.6 18.6 20zM4 18.6l2.8-2.8 1.4 1.4L5.4 20zM15.8 6.8 18.6 4 20 5.4l-2.8 2.8z",
  refresh: "M12 4a8 8 0 0 1 6.9 4H16v2h6V4h-2v2.5A10 10 0 1 0 22 13h-2a8 8 0 1 1-8-9z",
  dice: "M5 3h14l2 2v14l-2 2H5l-2-2V5zm0 2v14h14V5zm3 2a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3zm8 0a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3zm-4 3.5a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3zM8 14a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3zm8 0a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3z",
  speak: "M4 9h4l5-4v14l-5-4H4zm11.5-1a6 6 0 0 1 0 8l-1.4-1.4a4 4 0 0 0 0-5.2zm2.8-2.8a10 10 0 0 1 0 13.6l-1.4-1.4a8 8 0 0 0 0-10.8z",
  voices: "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM4 20a8 8 0 0 1 16 0z",
  jobs: "M5 3h10l4 4v14H5zm2 2v14h10V8h-3V5zm2 6h6v2H9zm0 4h6v2H9z",
  admin: "M10 3h4l.5 2.6 2 1.1 2.4-.9 2 3.4-2 1.7v2.2l2 1.7-2 3.4-2.4-.9-2 1.1L14 21h-4l-.5-2.6-2-1.1-2.4.9-2-3.4 2-1.7v-2.2l-2-1.7 2-3.4 2.4.9 2-1.1zm2 6a3 3 0 1 0 0 6 3 3 0 0 0 0-6z",
  connect: "M7 3h2v5h6V3h2v5h2v4a7 7 0 0 1-6 6.9V22h-2v-3.1A7 7 0 0 1 5 12V8h2z",
};

/**
 * An element. Attributes that begin with "on" are listeners; null, undefined and false leave an attribute out.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...any} children  Elements, texts, lists of them; null, undefined and false are left out.
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  const isSvg = tag === "svg" || tag === "path";
  const element = isSvg ? document.createElementNS(SVG, tag) : document.createElement(tag);
  put(element, ...children); // first: the value of a select is one of its options
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  return element;
}

/**
 * Children of an element in place of those that it has. Who was at one of them stays there, or comes to what is in its
 * place now: the next line of a list where one was deleted.
 */
export function put(element, ...children) {
  const focused = element.contains(document.activeElement) ? document.activeElement : null;
  const index = [...element.children].findIndex((child) => child.contains(focused));
  element.replaceChildren(...children.flat(Infinity).filter((child) => child != null && child !== false));
  if (focused && document.activeElement !== focused) refocus(focused, element, index);
  return element;
}

function refocus(focused, element, index) {
  const near = element.isConnected ? (element.children[index] ?? element.lastElementChild) : null;
  const all = [...(near?.querySelectorAll(FOCUSED) ?? [])];
  const place = focused.isConnected ? focused : (all.find((one) => one.checkVisibility()) ?? element.closest("[tabindex]"));
  place?.focus({ preventScroll: true });
}

export function set(element, name, value) {
  if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
  else if (PROPERTIES.has(name)) element[name] = value ?? "";
  else if (value == null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** An icon, which says nothing: the words beside it or the label of its button do. */
export function icon(name) {
  return h("svg", { class: "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, h("path", { d: ICONS[name] }));
}

/**
 * A button. Without words to see, `label` is what a screen reader says and a mouse shows.
 * @param {{icon?: string, text?: string, label?: string, class?: string, onclick?: Function, [more: string]: any}} how
 */
export function button({ icon: name, text, label, ...attributes }) {
  const said = label ? { "aria-label": label, title: label } : {};
  const shown = name ? icon(name) : null;
  return h("button", { type: "button", ...said, ...attributes }, shown, text && h("span", {}, text));
}

/** An id that no other element has. */
export function newId() {
  return `id-${Math.random().toString(36).slice(2, 12)}`; // crypto.randomUUID is not there on plain http
}

/**
 * A control with its label, a hint, and room for what is wrong with it.
 * @param {{param?: string, label: string, hint?: string, control: any, around?: any, class?: string}} of
 *   param: what the server calls it in its errors, which are then told here. around: what the control lies in, where
 *   more belongs beside it.
 */
export function field({ param, label, hint, control, around = control, class: more = "" }) {
  const id = control.id || newId();
  control.id = id;
  const hinted = hint && h("p", { class: "hint", id: `${id}-hint` }, hint);
  const wrong = h("p", { class: "wrong", id: `${id}-wrong`, role: "alert", hidden: true });
  control.setAttribute("aria-describedby", `${hint ? `${id}-hint ` : ""}${id}-wrong`);
  const name = h("label", { for: id }, label);
  const parts = control.type === "checkbox" ? [h("div", { class: "tick" }, control, name)] : [name, around];
  return h("div", { class: `field ${more}`, "data-param": param }, parts, hinted, wrong);
}

/** A place for what is wrong with no field in particular; `tell` fills it. */
export function problemBox() {
  return h("p", { class: "problem", role: "alert", hidden: true });
}

/**
 * Tell an error where the person looks: at the field that it, or a part of it, is about, else in the problem box below
 * `root`.
 * @param {any} root
 * @param {{message: string, param?: string | null}} error  `param`: such as "recipe.epochs" or "chain[2]".
 */
export function tell(root, error) {
  clear(root);
  const param = error.param ?? "";
  const isAbout = ({ dataset }) => param === dataset.param || [".", "["].some((mark) => param.startsWith(dataset.param + mark));
  const about = [...root.querySelectorAll("[data-param]")].find(isAbout);
  const place = (about ?? root).querySelector(about ? ".wrong" : ".problem");
  place.textContent = error.message;
  place.hidden = false;
  about?.closest("details")?.setAttribute("open", "");
  const control = about?.querySelector("input, select, textarea");
  if (control) {
    control.setAttribute("aria-invalid", "true");
    control.focus({ preventScroll: true });
  }
  place.scrollIntoView({ block: "nearest" });
}

/** Do something, and tell below `root` what went wrong with it. Gives whether it went well. */
export async function attempt(root, work) {
  clear(root);
  try {
    await work();
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    tell(root, error);
    return false;
  }
}

/** Nothing is wrong any more below `root`. */
export function clear(root) {
  for (const place of root.querySelectorAll(".wrong, .problem")) place.hidden = true;
  for (const control of root.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
}

/**
 * A select.
 * @param {Array<[string, string]>} pairs  Values, and what is shown for them.
 */
export function select(pairs, chosen, attributes = {}) {
  return offer(h("select", attributes), pairs, chosen);
}

/** Options of a select in place of those that it has; what was chosen stays so where it can. */
export function offer(control, pairs, chosen = control.value) {
  put(control, pairs.map(([value, shown]) => h("option", { value }, shown)));
  control.value = pairs.some(([value]) => value === chosen) ? chosen : (pairs[0]?.[0] ?? "");
  return control;
}

/** Names and values, of which those that are null or empty are left out. */
export function figures(pairs, kind = "figures") {
  const told = pairs.filter((pair) => pair && pair[1] != null && pair[1] !== "");
  return h("dl", { class: kind }, told.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

/** Files that are dropped on an element. */
export function droppable(element, take) {
  const over = (event) => {
    if (!event.dataTransfer.types.includes("Files")) return; // words may be dropped into a text
    event.preventDefault();
    element.classList.toggle("over", event.type === "dragover");
    if (event.type === "drop") take([...event.dataTransfer.files]);
  };
  for (const type of ["dragover", "dragleave", "drop"]) element.addEventListener(type, over);
  return element;
}

/** Work that a button stands for. Meanwhile it cannot be pressed again, but keeps the focus, as `disabled` would not. */
export async function busy(pressed, work) {
  if (pressed.ariaBusy) return undefined;
  pressed.ariaBusy = "true";
  try {
    return await work();
  } finally {
    pressed.ariaBusy = null;
  }
}
