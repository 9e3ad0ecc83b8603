// Keys: who may do what, and what was changed by whom.

import { attempt, busy, button, field, h, problemBox, put } from "./dom.js";
import { copyText } from "./copy.js";
import { guarded } from "./guarded.js";

const SCOPES = { speech: "admin.keys.speech", voices: "admin.keys.voices", admin: "admin.keys.admin" };
const CHANGES_SHOWN = 50;

export default function (app, panel) {
  const { t } = app;
  const made = h("div", { class: "card", hidden: true });
  const list = h("ul", { class: "list" });
  const first = h("p", { class: "note" }, t("admin.keys.first"));
  const audit = h("tbody", {});
  const form = keyForm(app, async (key) => {
    showSecret(app, made, key);
    await load();
  });
  const names = [t("admin.keys.time"), t("admin.keys.who"), t("admin.keys.what"), t("admin.keys.changes")];
  const table = h("table", { class: "audit" }, h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name)))), audit);
  const content = h(
    "div",
    { class: "panel" },
    h("div", { class: "card" }, h("h2", {}, t("admin.keys.title")), first, list),
    form.element,
    h("div", { class: "card" }, h("h2", {}, t("admin.keys.audit")), h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": t("admin.keys.audit") }, table)),
  );

  async function fill() {
    const [keys, changes] = await Promise.all([
      app.api.get("/v1/admin/keys", { quiet: true }),
      app.api.get(`/v1/admin/audit?limit=${CHANGES_SHOWN}`, { quiet: true }),
    ]);
    first.hidden = keys.data.length > 0;
    list.hidden = !keys.data.length;
    put(list, keys.data.map((key) => keyItem(app, key, load)));
    put(audit, changes.data.reverse().map((entry) => auditRow(app.units, entry)));
    form.expect(keys.data.length === 0);
  }
  const { element, load } = guarded(app, content, fill);
  put(panel, made, element);
  return { shown: load };
}

function keyItem(app, key, load) {
  const { t, units } = app;
  const limits = [
    key.rate_per_minute && t("admin.keys.perMinute", { count: key.rate_per_minute }),
    key.concurrency && t("admin.keys.atATime", { count: key.concurrency }),
    t("admin.keys.created", { when: units.when(key.created) }),
    key.last_used ? t("admin.keys.used", { when: units.when(key.last_used) }) : t("admin.keys.unused"),
  ];
  const scopes = key.scopes.map((scope) => h("span", { class: "chip accent" }, t(SCOPES[scope])));
  const told = h("div", { class: "grow" }, h("div", { class: "row" }, h("span", { class: "title" }, key.name), scopes));
  told.append(h("p", { class: "soft" }, limits.filter(Boolean).join(" · ")));
  const forget = button({ icon: "trash", label: t("admin.keys.deleteOne", { name: key.name }), class: "quiet", onclick: deleted });
  const element = h("li", {}, told, forget, h("div", { class: "whole" }, problemBox()));

  async function deleted() {
    if (!(await app.sure(t("admin.keys.deleteOne", { name: key.name }), t("admin.keys.deleteText"), t("common.delete")))) return;
    const work = async () => {
      await app.api.json("DELETE", `/v1/admin/keys/${encodeURIComponent(key.id)}`);
      await load();
    };
    await busy(forget, () => attempt(element, work));
  }
  return element;
}

/** The secret, on the page until it is put away: a dialog could be closed by mistake. */
function showSecret(app, place, key) {
  const { t } = app;
  const copy = button({ icon: "copy", text: t("common.copy"), onclick: () => copyText(app, key.key) });
  const use = button({ icon: "key", text: t("admin.keys.useHere"), class: "primary", onclick: used });
  const away = button({ text: t("admin.keys.stored"), onclick: putAway });

  function used() {
    app.api.setKey(key.key, false);
    use.remove();
    needed.remove();
    app.emit("key");
  }
  function putAway() {
    put(place);
    place.hidden = true;
  }
  const title = h("h2", { tabindex: "-1" }, t("admin.keys.secret", { name: key.name }));
  const secret = h("code", { class: "secret" }, key.key);
  const needed = h("p", {}, t("admin.keys.needed"));
  put(place, title, h("p", {}, t("admin.keys.once")), secret, !app.api.key && needed, h("div", { class: "row" }, copy, !app.api.key && use, away));
  place.hidden = false;
  title.focus();
}

function keyForm(app, done) {
  const { t } = app;
  const name = h("input", { maxlength: "64", autocomplete: "off" });
  const limit = () => h("input", { type: "number", min: "1", step: "1", placeholder: t("admin.keys.noLimit") });
  const rate = limit();
  const concurrency = limit();
  const boxes = Object.keys(SCOPES).map((scope) => {
    return Object.assign(h("input", { type: "checkbox", value: scope }), { defaultChecked: scope === "speech" });
  });
  const ticks = boxes.map((box) => h("label", { class: "tick" }, box, t(SCOPES[box.value])));
  const wrong = h("p", { class: "wrong", role: "alert", hidden: true });
  const make = button({ icon: "plus", text: t("admin.keys.make"), class: "primary", type: "submit" });
  const element = h(
    "form",
    { class: "card", onsubmit: submitted }, // checked by the browser: what is no number would be no limit
    h("h2", {}, t("admin.keys.new")),
    field({ param: "name", label: t("admin.keys.name"), hint: t("admin.keys.nameHint"), control: name }),
    h("fieldset", { "data-param": "scopes" }, h("legend", {}, t("admin.keys.scopes")), h("div", { class: "stack" }, ticks), wrong),
    h(
      "div",
      { class: "columns" },
      field({ param: "rate_per_minute", label: t("admin.keys.rate"), control: rate }),
      field({ param: "concurrency", label: t("admin.keys.concurrency"), control: concurrency }),
    ),
    problemBox(),
    h("div", { class: "row end" }, make),
  );

  async function submitted(event) {
    event.preventDefault();
    const scopes = boxes.filter((box) => box.checked).map((box) => box.value);
    const number = (input) => (input.value ? Number(input.value) : null);
    const body = { name: name.value, scopes, rate_per_minute: number(rate), concurrency: number(concurrency) };
    let key = null;
    await busy(make, () => attempt(element, async () => (key = await app.api.json("POST", "/v1/admin/keys", body))));
    if (!key) return;
    element.reset();
    await done(key);
  }
  /** isFirst: it must be an administrator's. */
  function expect(isFirst) {
    const admin = boxes.find((box) => box.value === "admin");
    if (isFirst) admin.checked = true;
  }
  return { element, expect };
}

function auditRow(units, entry) {
  const { kind, name, id } = entry.actor;
  const failed = entry.outcome !== "allowed" && h("p", { class: "wrong" }, entry.outcome);
  const changes = Object.keys(entry.changes).length ? JSON.stringify(entry.changes) : "";
  return h(
    "tr",
    {},
    h("td", { class: "time" }, units.when(entry.time)),
    h("td", {}, name || id || kind),
    h("td", {}, h("span", { class: "mono" }, entry.action), " ", entry.target, failed),
    h("td", { class: "mono changes" }, changes),
  );
}
