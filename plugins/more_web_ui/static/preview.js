// How a text would be split and spoken, before hours go into it.

import { h } from "./dom.js";
import { clock, plain } from "./jobwords.js";

/**
 * A card.
 * @param {any} app
 * @param {any} found  As `POST /v1/jobs/preview` gives it; seconds.
 */
export function previewOf(app, found) {
  const { language, t } = app;
  const spoken = new Intl.DisplayNames([language], { type: "language" }).of(found.language);
  const pairs = [
    [t("jobs.preview.duration"), clock(found.seconds)],
    [t("jobs.preview.characters"), plain(language, found.characters)],
    [t("jobs.new.voice"), found.voice],
    [t("jobs.languageOf"), spoken],
    [t("jobs.preview.model"), found.model],
  ];
  const figures = h("dl", { class: "figures" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  const heading = [found.title, found.author].filter(Boolean).join(" · ") || t("jobs.new.preview");
  const isOne = found.chapters.length === 1;
  const chapters = found.chapters.map((one) => chapter(app, one, secondsOf(found, one), isOne));
  const cut = !found.complete && h("p", { class: "note" }, t("jobs.preview.cut"));
  return h("section", { class: "card preview" }, h("h2", {}, heading), figures, cut, h("div", {}, chapters));
}

/** Of a chapter that is not shown whole, by its share of all characters. */
function secondsOf(found, { characters, passages }) {
  if (!found.complete) return (found.seconds * characters) / found.characters;
  return passages.reduce((sum, one) => sum + one.seconds + one.pause_seconds, 0);
}

function chapter({ t }, { number, title, paragraphs, passages }, seconds, open) {
  const name = title || t("jobs.preview.chapter", { number });
  const about = `${clock(seconds)} · ${t("jobs.preview.paragraphs", { count: paragraphs })}`;
  const summary = h("summary", {}, `${name} `, h("span", { class: "soft" }, about));
  return h("details", { open }, summary, h("ol", { class: "passages" }, passages.map((one) => passage(t, one))));
}

/** What is written, and where it differs what is said. */
function passage(t, { text, spoken, seconds }) {
  const isOther = spoken.trim() !== text.trim();
  const said = isOther && h("div", { class: "soft" }, t("jobs.preview.spoken", { text: spoken }));
  return h("li", {}, h("span", {}, text), " ", h("span", { class: "soft" }, clock(Math.ceil(seconds))), said);
}
