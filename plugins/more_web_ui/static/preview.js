// How a text would be split and spoken, before hours go into it.

import { figures, h } from "./dom.js";

/**
 * A card.
 * @param {any} app
 * @param {any} found  As `POST /v1/jobs/preview` gives it; seconds.
 */
export function previewOf(app, found) {
  const { t, units } = app;
  const facts = figures([
    [t("jobs.preview.duration"), units.clock(found.seconds)],
    [t("jobs.preview.characters"), units.number(found.characters)],
    [t("jobs.new.voice"), found.voice],
    [t("jobs.languageOf"), units.language(found.language)],
    [t("jobs.preview.model"), found.model],
  ]);
  const heading = [found.title, found.author].filter(Boolean).join(" · ") || t("jobs.new.preview");
  const isOne = found.chapters.length === 1;
  const chapters = found.chapters.map((one) => chapter(app, one, secondsOf(found, one), isOne));
  const cut = !found.complete && h("p", { class: "note" }, t("jobs.preview.cut"));
  return h("section", { class: "card preview" }, h("h2", {}, heading), facts, cut, h("div", {}, chapters));
}

/** Of a chapter that is not shown whole, by its share of all characters. */
function secondsOf(found, { characters, passages }) {
  if (!found.complete) return (found.seconds * characters) / found.characters;
  return passages.reduce((sum, one) => sum + one.seconds + one.pause_seconds, 0);
}

function chapter({ t, units }, { number, title, paragraphs, passages }, seconds, open) {
  const name = title || t("jobs.preview.chapter", { number });
  const about = `${units.clock(seconds)} · ${t("jobs.preview.paragraphs", { count: paragraphs })}`;
  const summary = h("summary", {}, `${name} `, h("span", { class: "soft" }, about));
  return h("details", { open }, summary, h("ol", { class: "passages" }, passages.map((one) => passage(t, units, one))));
}

/** What is written, and where it differs what is said. */
function passage(t, units, { text, spoken, seconds }) {
  const isOther = spoken.trim() !== text.trim();
  const said = isOther && h("div", { class: "soft" }, t("jobs.preview.spoken", { text: spoken }));
  return h("li", {}, h("span", {}, text), " ", h("span", { class: "soft" }, units.clock(Math.ceil(seconds))), said);
}
