// The shell: what is around the panels, and what they share.

import { Api, ApiError } from "./api.js";
import { busy, button, field, h, icon, newId, put, select } from "./dom.js";
import { chosenLanguage, LANGUAGES, loadTexts, rememberLanguage } from "./texts.js";
import { units } from "./units.js";

const PANELS = ["speak", "voices", "jobs", "admin", "connect"];
const LOOK_EVERY = 5000; // ms between looks at whether the server takes requests
const TOAST_SECONDS = 6;
const THEME = "more.theme";

/** What every panel is given. */
class App {
  #toasts = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
  #listeners = {};
  #asking = null;
  #hush = null; // stops what is being played

  constructor(language, t) {
    this.language = language;
    this.t = t;
    this.units = units(language);
    this.api = new Api(t, (message) => this.askKey(message));
    document.body.append(this.#toasts);
  }

  /** Panels tell each other: "voices" and "profiles" when they changed, "key" when another key is used, "ready" when
   * another model serves, or one again, "theme" when colours changed. For as long as the page: there is no way back. */
  on(what, listener) {
    (this.#listeners[what] ??= []).push(listener);
  }

  emit(what, told) {
    for (const listener of this.#listeners[what] ?? []) listener(told);
  }

  /** Somebody plays, and is stopped by `hush` once somebody else does; null: it is to be quiet. */
  plays(hush) {
    if (this.#hush !== hush) this.#hush?.();
    this.#hush = hush;
  }

  /** What a script exports by default; it may be asked for again where that failed. */
  async script(name) {
    try {
      return (await import(`./${name}.js`)).default;
    } catch (cause) {
      if (cause instanceof TypeError) throw new ApiError(this.t("errors.noServer"), { code: "no_server" });
      throw cause;
    }
  }

  /**
   * A line that goes by itself.
   * @param {string} text
   * @param {{label?: string, action?: Function, seconds?: number}} [more]  A button in it, such as one that undoes.
   */
  toast(text, { label, action, seconds = TOAST_SECONDS } = {}) {
    const shown = h("div", { class: "toast" }, h("span", {}, text));
    const gone = setTimeout(() => shown.remove(), 1000 * seconds);
    if (action) {
      const act = () => {
        clearTimeout(gone);
        shown.remove();
        action();
      };
      shown.append(button({ text: label, class: "quiet", onclick: act }));
    }
    this.#toasts.append(shown);
  }

  /** What nobody waits for at a place of its own. */
  toastError(error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== 401) this.toast(error.message, { seconds: 10 });
  }

  /**
   * A dialog; the value is what closed it, "" when it was left.
   * @param {string} title
   * @param {any} content
   * @param {Array<{value: string, text: string, class?: string, check?: () => any}>} actions
   *   check: before it closes; it stays open where that is false.
   */
  dialog(title, content, actions) {
    return new Promise((resolve) => {
      const headingId = newId();
      const frame = h("dialog", { "aria-labelledby": headingId, onclose: () => end(frame.returnValue) });
      const end = (value) => {
        frame.remove();
        resolve(value);
      };
      const buttons = actions.map(({ value, text, class: kind = "", check }, index) => {
        const act = async ({ currentTarget: pressed }) => {
          if (!pressed.ariaBusy && (await busy(pressed, async () => check?.())) !== false) frame.close(value);
        };
        // The last one is pressed by Enter, too.
        return button({ text, class: kind, type: index === actions.length - 1 ? "submit" : "button", onclick: act });
      });
      const form = h("form", { novalidate: true, onsubmit: (event) => event.preventDefault() });
      put(form, h("h2", { id: headingId }, title), content, h("div", { class: "row end" }, buttons));
      frame.append(form);
      document.body.append(frame);
      frame.showModal();
    });
  }

  /** Whether somebody is sure. */
  async sure(title, text, action) {
    const actions = [
      { value: "", text: this.t("common.cancel"), class: "quiet" },
      { value: "yes", text: action, class: "danger" },
    ];
    return (await this.dialog(title, h("p", {}, text), actions)) === "yes";
  }

  /** Ask for a key; once, however many requests were refused. Gives whether there is another one now. */
  async askKey(message) {
    this.#asking ??= this.#asked(message).finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #asked(message) {
    const t = this.t;
    const key = h("input", { type: "password", value: this.api.key, autocomplete: "current-password", spellcheck: "false" });
    const remember = h("input", { type: "checkbox", checked: !!localStorage.getItem("more.key") });
    const content = [
      message && h("p", { class: "problem" }, message),
      field({ label: t("key.label"), hint: t("key.hint"), control: key }),
      field({ label: t("key.remember"), control: remember }),
    ];
    const actions = [
      { value: "", text: t("common.cancel"), class: "quiet" },
      { value: "use", text: t("key.use"), class: "primary" },
    ];
    if ((await this.dialog(t("key.title"), content, actions)) !== "use") return false;
    this.api.setKey(key.value.trim(), remember.checked);
    this.emit("key");
    return true;
  }
}

/** Whether the server takes requests, seen at the top. */
function condition(app) {
  const dot = h("span", { class: "dot" });
  const words = h("span", { class: "words" });
  const shown = h("span", { class: "condition", role: "status" }, dot, words);
  let before = "";

  async function look() {
    const { kind, text } = await ask();
    if (kind + text === before) return;
    if (kind === "good" && before) app.emit("ready");
    before = kind + text;
    dot.className = `dot ${kind}`;
    words.textContent = text;
  }
  async function ask() {
    try {
      const response = await fetch(app.api.url("/health/ready"));
      const told = await response.json();
      if (told.ready) return { kind: "good", text: told.model };
      return { kind: "waiting", text: told.reason };
    } catch {
      return { kind: "bad", text: app.t("errors.noServer") };
    }
  }
  look();
  setInterval(() => document.hidden || look(), LOOK_EVERY);
  return shown;
}

function themeButton(app) {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", () => app.emit("theme"));
  root.dataset.theme = localStorage.getItem(THEME) ?? "";
  const turn = () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    root.dataset.theme = isDark ? "light" : "dark";
    localStorage.setItem(THEME, root.dataset.theme);
    app.emit("theme");
  };
  return button({ icon: "sun", label: app.t("shell.theme"), class: "quiet", onclick: turn });
}

function languageChoice(app) {
  const choose = (event) => {
    rememberLanguage(event.target.value);
    location.reload();
  };
  return select(LANGUAGES, app.language, { "aria-label": app.t("shell.language"), class: "language", onchange: choose });
}

/** Panels are loaded when they are first looked at, and stay: what one is at goes on behind another. */
function panels(app, main, links) {
  const loading = {}; // promises of panels, by name
  const loaded = {};
  let current = "";

  function wanted() {
    const name = location.hash.slice(1).split("/")[0];
    return PANELS.includes(name) ? name : PANELS[0];
  }
  async function load(name) {
    try {
      const make = await app.script(name);
      const section = h("section", { class: "panel", id: `panel-${name}`, "aria-labelledby": `link-${name}`, hidden: true });
      loaded[name] = { section, ...(await make(app, section)) };
      main.append(section);
      return loaded[name];
    } catch (error) {
      delete loading[name];
      throw error;
    }
  }
  app.on("ready", () => current !== wanted() && follow());
  async function follow() {
    const name = wanted();
    const panel = await (loading[name] ??= load(name));
    if (name !== wanted()) return; // somebody went elsewhere while it was loaded
    if (current && current !== name) loaded[current].hidden?.();
    current = name;
    for (const [other, one] of Object.entries(loaded)) one.section.hidden = other !== name;
    for (const link of links) {
      if (link.id === `link-${name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `MORE · ${app.t(`shell.${name}`)}`;
    panel.shown?.(location.hash.slice(1).split("/").slice(1).join("/"));
  }
  return follow;
}

/** A file that is dropped beside its place would be opened, and the page with all that was typed gone. */
function keepPage(event) {
  const { dataTransfer, target } = event;
  if (event.defaultPrevented || !dataTransfer.types.includes("Files") || target.type === "file") return;
  event.preventDefault();
  dataTransfer.dropEffect = "none";
}

async function start() {
  const language = chosenLanguage();
  const app = new App(language, await loadTexts(language));
  document.documentElement.lang = language;
  const links = PANELS.map((name) => {
    return h("a", { href: `#${name}`, id: `link-${name}` }, icon(name), h("span", {}, app.t(`shell.${name}`)));
  });
  const main = h("main", { id: "main", tabindex: "-1" });
  const keyButton = button({ icon: "key", label: app.t("key.title"), class: "quiet", onclick: () => app.askKey("") });
  const tools = h("div", { class: "tools" }, condition(app), keyButton, themeButton(app), languageChoice(app));
  const skip = button({ text: app.t("shell.skip"), class: "skip", onclick: () => main.focus() });
  const brand = h("a", { href: "#speak", class: "brand" }, h("img", { src: "ui/icon.svg", alt: "" }), "MORE");
  const header = h("header", {}, brand, h("nav", { "aria-label": app.t("shell.panels") }, links), tools);
  document.body.prepend(skip, header, main);
  for (const type of ["dragover", "drop"]) addEventListener(type, keepPage);
  const follow = panels(app, main, links);
  addEventListener("hashchange", follow);
  addEventListener("unhandledrejection", (event) => {
    if (event.reason instanceof ApiError) {
      event.preventDefault();
      app.toastError(event.reason);
    }
  });
  await follow();
}

start();
