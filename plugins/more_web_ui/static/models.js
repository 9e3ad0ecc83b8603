// Models on disk: which are in memory, and which one serves.

import { attempt, busy, button, field, figures, h, problemBox, put } from "./dom.js";
import { guarded } from "./guarded.js";

export default function (app, panel) {
  const list = h("ul", { class: "list" });
  const card = h("div", { class: "card" }, h("p", { class: "soft" }, app.t("admin.models.about")), list);

  function draw(models) {
    put(list, models.map((model) => modelItem(app, model, draw)));
  }
  async function fill() {
    draw((await app.api.get("/v1/admin/models", { quiet: true })).data);
  }
  const { element, load } = guarded(app, card, fill);
  put(panel, element);
  return { shown: load };
}

function modelItem(app, model, draw) {
  const { t } = app;
  const state = model.serving
    ? h("span", { class: "chip good" }, t("admin.models.serving"))
    : model.loaded && h("span", { class: "chip accent" }, t("admin.models.loaded"));
  const head = h("div", { class: "row" }, h("span", { class: "title mono" }, model.id), state, model.bundled && h("span", { class: "chip" }, t("admin.models.bundled")));
  const remark = model.remark && h("p", { class: "note" }, model.remark);
  const element = h("li", { "data-model": model.id });
  put(element, h("div", { class: "grow stack" }, head, facts(app, model), remark), h("div", { class: "row" }, actions()), h("div", { class: "whole" }, problemBox()));

  function actions() {
    if (model.serving) return [];
    const name = model.id;
    const serve = button({ text: t("admin.models.serve"), label: t("admin.models.serveOne", { name }), class: "primary", onclick: switched });
    if (model.loaded) return [button({ text: t("admin.models.unload"), label: t("admin.models.unloadOne", { name }), onclick: unloaded }), serve];
    return [button({ text: t("admin.models.load"), label: t("admin.models.loadOne", { name }), onclick: (event) => act(event.currentTarget, "load") }), serve];
  }
  async function unloaded({ currentTarget: pressed }) {
    const text = model.speaking + model.waiting ? t("admin.models.unloadBusy", { count: model.speaking + model.waiting }) : t("admin.models.unloadText");
    if (await app.sure(t("admin.models.unloadOne", { name: model.id }), text, t("admin.models.unload"))) await act(pressed, "unload");
  }
  async function switched({ currentTarget: pressed }) {
    const keep = h("input", { type: "checkbox" });
    const content = [h("p", {}, t("admin.models.serveText")), field({ label: t("admin.models.keep"), control: keep })];
    const actions = [
      { value: "", text: t("common.cancel"), class: "quiet" },
      { value: "yes", text: t("admin.models.serve"), class: "primary" },
    ];
    const answer = await app.dialog(t("admin.models.serveOne", { name: model.id }), content, actions);
    if (answer) await act(pressed, "switch", { keep: keep.checked });
  }
  function act(pressed, what, body) {
    const work = async () => {
      draw((await app.api.json("POST", `/v1/admin/models/${encodeURIComponent(model.id)}/${what}`, body)).data);
      app.emit("ready"); // other models, other voices
    };
    return busy(pressed, () => attempt(element, work));
  }
  return element;
}

function facts({ t, units }, model) {
  return figures([
    [t("admin.models.size"), units.bytes(model.size_bytes)],
    model.parameters > 0 && [t("admin.models.parameters"), t("admin.models.millions", { value: model.parameters / 1e6 })],
    [t("admin.models.languages"), model.languages.map(units.language).join(", ")],
    [t("admin.models.licence"), model.licence],
    model.device && [t("admin.live.device"), [model.device, model.precision].filter(Boolean).join(", ")],
    model.loaded && [t("admin.live.speaking"), units.number(model.speaking)],
    model.loaded && [t("admin.live.waiting"), units.number(model.waiting)],
  ]);
}
