// Quality profiles: those of plugins to look at, and those that are made of them.

import { playButton } from "./audio.js";
import { chainControl } from "./chain.js";
import { attempt, busy, button, field, h, problemBox, put, select, tell } from "./dom.js";
import { schemaForm } from "./form.js";
import { guarded } from "./guarded.js";
import { passage } from "./sentences.js";

const PATH = "/v1/admin/profiles";
const LABELS = {
  temperature: "admin.profiles.temperature",
  top_p: "admin.profiles.topP",
  top_k: "admin.profiles.topK",
  repetition_penalty: "admin.profiles.repetitionPenalty",
  speed: "admin.profiles.speed",
  first_segment_tokens: "admin.profiles.firstSegmentTokens",
  retries: "admin.profiles.retries",
  self_check: "admin.profiles.selfCheck",
  post_processors: "admin.profiles.postProcessors",
};

export default function (app, panel) {
  const { t } = app;
  const list = h("ul", { class: "list" });
  const sentence = h("input", { value: "" });
  const make = button({ icon: "plus", text: t("admin.profiles.new"), class: "primary", onclick: () => edit(null) });
  const trying = field({ label: t("admin.profiles.sentenceLabel"), control: sentence, class: "grow" });
  const card = h("div", { class: "card" }, h("p", { class: "soft" }, t("admin.profiles.about")), h("div", { class: "row apart bottom" }, trying, make), list);
  const place = h("div", { hidden: true });
  const known = { profiles: [], steps: [], schemas: null };

  async function fill() {
    const quiet = { quiet: true };
    known.schemas ??= (await app.api.get("/openapi.json", quiet)).components.schemas;
    const [profiles, models] = await Promise.all([app.api.get(PATH, quiet), app.api.get("/v1/models", quiet)]);
    known.profiles = profiles.data;
    known.steps = profiles.post_processors;
    const spoken = models.data[0]?.language ?? [];
    sentence.value ||= passage(spoken.includes(app.language) ? app.language : spoken[0]);
    put(list, known.profiles.map((profile) => profileItem(app, profile, { sentence, edit, changed })));
  }
  function edit(profile, base) {
    const end = () => {
      put(place);
      place.hidden = true;
      make.focus();
    };
    const editor = profileEditor(app, { profile, base, known, changed, end });
    put(place, editor);
    place.hidden = false;
    editor.querySelector("h2").focus();
  }
  async function changed() {
    await load();
    app.emit("profiles");
  }
  const { element, load } = guarded(app, h("div", { class: "panel" }, place, card), fill);
  put(panel, element);
  return { shown: load };
}

function profileItem(app, profile, { sentence, edit, changed }) {
  const { t } = app;
  const { name } = profile;
  const isOwn = profile.base !== undefined;
  const chips = [
    profile.default && h("span", { class: "chip good" }, t("admin.profiles.default")),
    h("span", { class: "chip" }, isOwn ? t("admin.profiles.madeOf", { base: profile.base }) : t("admin.profiles.ofPlugin")),
  ];
  const told = profile.problem ? h("p", { class: "problem" }, profile.problem) : h("p", { class: "soft" }, summary(app, profile));
  const element = h("li", { "data-profile": name });
  const speak = () => app.api.spoken({ input: sentence.value, quality: name });
  const actions = [
    !profile.problem && playButton(app, { label: t("admin.profiles.tryOne", { name }), load: speak, onerror: (error) => tell(element, { message: error.message }) }),
    !profile.problem && button({ icon: "copy", label: t("admin.profiles.deriveOne", { name }), class: "quiet", onclick: () => edit(null, name) }),
    isOwn && !profile.problem && button({ icon: "edit", label: t("admin.profiles.changeOne", { name }), class: "quiet", onclick: () => edit(profile) }),
    isOwn && button({ icon: "trash", label: t("admin.profiles.deleteOne", { name }), class: "quiet", onclick: deleted }),
  ];
  async function deleted({ currentTarget: pressed }) {
    if (!(await app.sure(t("admin.profiles.deleteOne", { name }), t("admin.profiles.deleteText"), t("common.delete")))) return;
    const work = async () => {
      await app.api.json("DELETE", `${PATH}/${encodeURIComponent(name)}`);
      await changed();
    };
    await busy(pressed, () => attempt(element, work));
  }
  const head = h("div", { class: "row" }, h("span", { class: "title mono" }, name), chips);
  return put(element, h("div", { class: "grow" }, head, told), h("div", { class: "row" }, actions), h("div", { class: "whole" }, problemBox()));
}

function summary(app, profile) {
  const { t } = app;
  const steps = profile.post_processors.map((step) => (profile.inactive.includes(step) ? `${step} (${t("admin.chain.inactive")})` : step));
  const values = { temperature: profile.temperature, topP: profile.top_p, speed: profile.speed };
  return [t("admin.profiles.summary", values), profile.self_check && t("admin.profiles.checked"), steps.join(" → ")].filter(Boolean).join(" · ");
}

/** profile: the one that is changed; null: a new one. base: what a new one is made of. */
function profileEditor(app, { profile, base, known, changed, end }) {
  const { t } = app;
  const usable = known.profiles.filter((one) => !one.problem);
  const begun = profile ?? usable.find((one) => one.name === base) ?? usable.find((one) => one.default) ?? usable[0];
  const name = h("input", { maxlength: "64", autocomplete: "off", spellcheck: "false" });
  const bases = select(usable.map((one) => [one.name, one.name]), begun.name, { onchange: () => form.rebase(usable.find((one) => one.name === bases.value)) });
  const form = schemaForm(app, {
    schema: fieldsOf(known.schemas),
    root: { components: { schemas: known.schemas } },
    values: begun,
    changed: Object.keys(profile?.changes ?? {}),
    undo: (field) => takenBack(field),
    undoText: t("admin.profiles.undo"),
    labels: Object.fromEntries(Object.entries(LABELS).map(([field, key]) => [field, t(key)])),
    makers: { post_processors: (_, { value }) => chainControl(app, value, known.steps, begun.inactive) },
    sliders: true,
  });
  const save = button({ text: t("common.save"), class: "primary", type: "submit" });
  const frame = h("form", { class: "card", novalidate: true, onsubmit: submitted });
  const title = profile ? t("admin.profiles.changeOne", { name: profile.name }) : t("admin.profiles.new");
  const identity = [
    field({ param: "name", label: t("admin.profiles.name"), hint: t("admin.profiles.nameHint"), control: name }),
    field({ param: "base", label: t("admin.profiles.base"), hint: t("admin.profiles.baseHint"), control: bases }),
  ];
  const ends = h("div", { class: "row end" }, button({ text: t("common.cancel"), class: "quiet", onclick: end }), save);
  put(frame, h("h2", { tabindex: "-1" }, title), !profile && h("div", { class: "columns" }, identity), form.element, problemBox(), ends);

  const change = (body) => app.api.json("PATCH", `${PATH}/${encodeURIComponent(profile.name)}`, body);
  async function takenBack(field) {
    let now = null;
    await attempt(frame, async () => (now = await change({ [field]: null })));
    if (now) await changed();
    return now && { value: now[field] };
  }
  async function submitted(event) {
    event.preventDefault();
    const work = async () => {
      const changes = form.changes();
      if (profile) await change(changes);
      else await app.api.json("POST", PATH, { name: name.value.trim(), base: bases.value, ...changes });
      app.toast(t("common.saved"));
      end();
      await changed();
    };
    await busy(save, () => attempt(frame, work));
  }
  return frame;
}

/** Fields that may be changed, in the server's words. A value of them is never null: that takes a change back. */
function fieldsOf(schemas) {
  const properties = Object.entries(schemas.ChangedProfile.properties).map(([name, schema]) => {
    const own = schemas.ProfileItem?.properties?.[name];
    return [name, { ...(own ?? schema), description: schema.description ?? own?.description }];
  });
  return { properties: Object.fromEntries(properties) };
}
