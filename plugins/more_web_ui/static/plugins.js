// Plugins: what is there, what failed, on and off, and their settings.

import { ApiError } from "./api.js";
import { attempt, button, busy, clear, h, problemBox, put, tell } from "./dom.js";
import { schemaForm } from "./form.js";
import { resolve } from "./form_controls.js";
import { guarded } from "./guarded.js";

const SELF = "more_web_ui"; // this page
const STATES = {
  active: ["good", "admin.plugins.active"],
  disabled: ["", "admin.plugins.disabled"],
  failed: ["bad", "admin.plugins.failed"],
};

export default function (app, panel) {
  const list = h("ul", { class: "list" });
  const waiting = h("p", { class: "note", role: "status", hidden: true });
  const card = h("div", { class: "card" });
  const reload = button({ icon: "refresh", text: app.t("admin.plugins.reload"), onclick: (event) => reloaded(event.currentTarget) });
  put(
    card,
    h("div", { class: "row apart" }, h("p", { class: "soft grow" }, app.t("admin.plugins.about")), reload),
    problemBox(),
    waiting,
    list,
  );

  function draw(rows) {
    put(list, rows.map((row) => pluginItem(app, row)));
  }
  async function reloaded(pressed) {
    const work = async () => {
      const told = await app.api.json("POST", "/v1/admin/reload");
      draw(told.data);
      const { t } = app;
      waiting.textContent = told.waiting.length ? t("admin.plugins.waiting", { settings: told.waiting.join(", ") }) : t("admin.plugins.reloaded");
      waiting.hidden = false;
      changed(app);
    };
    await busy(pressed, () => attempt(card, work));
  }
  async function fill() {
    draw((await app.api.get("/v1/admin/plugins", { quiet: true })).data);
  }
  const { element, load } = guarded(app, card, fill);
  put(panel, element);
  // What is being edited is not thrown away by a look at another tab.
  return { shown: () => list.querySelector("details[open]") || load() };
}

/** Plugins offer profiles and voices. */
function changed(app) {
  app.emit("profiles");
  app.emit("voices");
}

function pluginItem(app, first) {
  const path = `/v1/admin/plugins/${encodeURIComponent(first.name)}`;
  const head = h("div", { class: "grow" });
  const toggle = h("input", { type: "checkbox", class: "switch", role: "switch", "aria-label": app.t("admin.plugins.on", { name: first.name }), onchange: turn });
  const failure = problemBox();
  const settings = first.schema && pluginSettings(app, first, path, draw);
  const element = h("li", { "data-plugin": first.name }, head, toggle, h("div", { class: "whole stack" }, failure, settings));

  function draw(row) {
    const [kind, key] = STATES[row.state];
    const version = row.version && h("span", { class: "soft" }, row.version);
    const title = h("span", { class: "title mono" }, row.name);
    put(head, h("div", { class: "row" }, title, version, h("span", { class: `chip ${kind}` }, app.t(key))));
    const hooks = row.hooks.length ? app.t("admin.plugins.hooks", { hooks: row.hooks.join(", ") }) : "";
    head.append(h("p", { class: "soft" }, [row.origin, hooks].filter(Boolean).join(" · ")));
    toggle.checked = row.enabled;
    failure.hidden = !row.error;
    failure.textContent = row.error ?? "";
  }
  async function turn() {
    const isOn = toggle.checked;
    const { t } = app;
    clear(element);
    try {
      const isMeant = isOn || first.name !== SELF || (await app.sure(t("admin.plugins.selfTitle"), t("admin.plugins.self"), t("admin.plugins.off")));
      if (!isMeant) return void (toggle.checked = true);
      draw(await busy(toggle, () => app.api.json("POST", `${path}/${isOn ? "enable" : "disable"}`)));
      toggle.focus();
      changed(app);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toggle.checked = !isOn;
      tell(element, { message: error.message });
    }
  }
  draw(first);
  return element;
}

function pluginSettings(app, first, path, draw) {
  const box = h("details", {}, h("summary", {}, app.t("admin.plugins.settings")));
  const change = (settings) => app.api.json("PATCH", path, { settings });
  let form = null;

  async function undo(name) {
    let row = null;
    await attempt(box, async () => done((row = await change({ [name]: null }))));
    return row && { value: row.settings[name] };
  }
  function done(row) {
    draw(row);
    app.toast(app.t("common.saved"));
    changed(app);
  }
  function build() {
    if (form || !box.open) return;
    const of = { schema: resolve(first.schema, first.schema), root: first.schema, prefix: "settings.", undo };
    form = schemaForm(app, { ...of, values: first.settings ?? {}, changed: first.changed });
    const save = button({ text: app.t("common.save"), class: "primary", type: "submit" });
    const frame = h("form", { class: "panel", novalidate: true, onsubmit: saved });
    box.append(put(frame, form.element, problemBox(), h("div", { class: "row end" }, save)));

    async function saved(event) {
      event.preventDefault();
      const work = async () => {
        const settings = form.changes();
        if (!Object.keys(settings).length) return app.toast(app.t("admin.form.unchanged"));
        const row = await change(settings);
        form.renew(row.settings, row.changed);
        done(row);
      };
      await busy(save, () => attempt(frame, work));
    }
  }
  box.addEventListener("toggle", build);
  return box;
}
