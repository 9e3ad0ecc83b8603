// The voices of the server: heard, made, mixed, changed and removed.

import { ApiError } from "./api.js";
import { button, h, put } from "./dom.js";
import { mixer } from "./mix.js";
import { newVoice } from "./newvoice.js";
import { listVoices } from "./voicebank.js";
import { importVoice } from "./voiceedit.js";
import { voiceRow } from "./voicerow.js";

/** The panel. What follows `#voices/` is `new`, `mix`, or the id of the voice to show. */
export default async function (app, section) {
  const t = app.t;
  document.head.append(h("link", { rel: "stylesheet", href: "ui/voices.css" }));
  const list = voiceList(app);
  const notices = h("div", { class: "stack" });
  const makers = makerButtons(app, { new: newVoice, mix: mixer });
  const bring = button({ text: t("voices.import.button"), onclick: () => importVoice(app) });
  const ways = h("div", { class: "row", hidden: true }, makers.buttons, bring); // until it is known what may be done
  const head = h("div", { class: "row apart" }, h("h1", {}, t("voices.title")), ways);
  put(section, head, makers.cards, notices, list.element);
  let wanted = "";
  let isKnown = false; // what there is, and what may be done

  async function load() {
    try {
      const bank = await listVoices(app);
      put(notices, bank.refusal && h("p", { class: "note" }, t("voices.limited"), " ", bank.refusal), problems(t, bank.problems));
      bring.hidden = !bank.admin;
      ways.hidden = !bank.makes;
      makers.offer(bank);
      list.show(bank);
      isKnown = true;
      go();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const again = button({ icon: "refresh", text: t("common.refresh"), onclick: load });
      put(notices, h("p", { class: "problem", role: "alert" }, error.message), h("div", { class: "row" }, again));
    }
  }
  function go() {
    if (!isKnown) return;
    const isMaking = ["new", "mix"].includes(wanted);
    if (isMaking && !ways.hidden) makers.open(wanted);
    else if (wanted && !isMaking) list.open(wanted);
    wanted = "";
  }
  app.on("voices", (id) => {
    if (id) wanted = id;
    load();
  });
  for (const what of ["key", "ready"]) app.on(what, load);
  const loading = load();
  return {
    async shown(rest) {
      wanted = rest || wanted;
      await loading;
      go();
    },
    hidden: () => makers.pause(),
  };
}

function problems(t, sentences) {
  if (!sentences.length) return null;
  return h("div", { class: "problem", role: "alert" }, h("p", {}, t("voices.problems", { count: sentences.length })), h("ul", {}, sentences.map((one) => h("li", {}, one))));
}

/** Buttons that open a card each, one at a time. */
function makerButtons(app, makers) {
  const t = app.t;
  const words = { new: { icon: "plus", text: t("voices.new.title"), class: "primary" }, mix: { text: t("voices.mix.title") } };
  const made = Object.entries(makers).map(([name, make]) => {
    const opener = button({ ...words[name], "aria-expanded": "false", onclick: () => toggle(name, card.element.hidden) });
    const card = make(app, () => {
      toggle(name, false);
      opener.focus();
    });
    card.element.hidden = true;
    return { name, card, opener };
  });

  function toggle(wanted, isOpen) {
    for (const { name, card, opener } of made) {
      const isShown = name === wanted && isOpen;
      if (!isShown) card.pause?.();
      card.element.hidden = !isShown;
      opener.setAttribute("aria-expanded", String(isShown));
      if (isShown) card.element.scrollIntoView({ block: "nearest" });
    }
  }
  return {
    buttons: made.map(({ opener }) => opener),
    cards: made.map(({ card }) => card.element),
    offer: (bank) => made.forEach(({ card }) => card.offer(bank)),
    open: (name) => toggle(name, true),
    pause: () => made.forEach(({ card }) => card.pause?.()),
  };
}

/** The list with its search. Lines of voices that are as they were stay, so that what one is at goes on. */
function voiceList(app) {
  const t = app.t;
  const search = h("input", { type: "search", "aria-label": t("voices.search"), placeholder: t("voices.search"), oninput: () => filter() });
  const count = h("p", { class: "soft", role: "status" });
  const list = h("ul", { class: "list" });
  const empty = h("p", { class: "empty", hidden: true });
  const opened = new Set();
  let rows = new Map(); // by what is told of a voice and of who looks

  function show(bank) {
    const { admin, spoken } = bank;
    const before = rows;
    rows = new Map();
    for (const voice of bank.voices) {
      const key = JSON.stringify([voice, admin, spoken]);
      rows.set(key, before.get(key) ?? { voice, text: searched(app, voice), ...voiceRow(app, voice, bank, opened) });
    }
    put(list, [...rows.values()].map((row) => row.element));
    filter();
  }
  function filter() {
    const wanted = plain(search.value).split(/\s+/);
    const all = [...rows.values()];
    for (const row of all) row.element.hidden = !wanted.every((word) => row.text.includes(word));
    const left = all.filter((row) => !row.element.hidden).length;
    count.textContent = t("voices.count", { count: left });
    empty.textContent = all.length ? t("voices.noneFound", { text: search.value }) : t("voices.none");
    empty.hidden = left > 0;
  }
  function open(id) {
    search.value = "";
    filter();
    [...rows.values()].find((row) => row.voice.id === id)?.open(true);
  }
  const head = h("div", { class: "row apart" }, h("div", { class: "grow" }, search), count);
  return { element: h("div", { class: "card" }, head, list, empty), show, open };
}

function searched(app, voice) {
  const languages = voice.languages.map((code) => app.units.language(code));
  return plain([voice.title, voice.id, voice.description, ...voice.aliases, ...voice.languages, ...languages].join(" "));
}

/** Small letters without accents. */
function plain(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().trim();
}
