// A small plot of the last minutes: one or two lines, a scale, and the same in words.

import { h, put } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 80;

/**
 * @param {any} app
 * @param {{title: string, span: number, shown: (value: number) => string, least?: number,
 *   lines: Array<{key: string, name: string, isOptional?: boolean}>}} of
 *   isOptional: not told where it has no value. span: seconds from left to right. shown: how a value is written. least: the scale ends no lower.
 * @returns {{element: any, draw: (points: Array<any>) => void}}  Points have `time` in seconds and values by key.
 */
export function plot(app, { title, span, shown, lines, least = 0 }) {
  const top = h("span", {});
  const middle = h("span", {});
  const figures = h("dl", { class: "figures" });
  const area = h("path", { class: "area" });
  const grid = h("path", { class: "grid", d: `M0 1H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M0 ${HEIGHT - 1}H${WIDTH}` });
  const paths = lines.map((_, number) => h("path", { class: `line line-${number}` }));
  const image = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" };
  const picture = h("svg", image, grid, area, paths);
  const scale = h("div", { class: "scale", "aria-hidden": "true" }, top, middle, h("span", {}, "0"));
  const ago = app.t("admin.live.ago", { count: Math.round(span / 60) });
  const times = h("div", { class: "times", "aria-hidden": "true" }, h("span", {}, ago), h("span", {}, app.t("admin.live.now")));
  const element = h("div", { class: "card plot" }, h("h3", {}, title), figures, h("div", { class: "drawn" }, picture, scale), times);

  function draw(points) {
    const values = points.flatMap((point) => lines.map(({ key }) => point[key])).filter((value) => value != null);
    const most = niceAbove(Math.max(least, ...values));
    top.textContent = shown(most);
    middle.textContent = shown(most / 2);
    const last = points.at(-1);
    const written = lines.map(({ key }) => (last?.[key] == null ? "–" : shown(last[key])));
    const told = lines.map(({ name, isOptional }, number) => (isOptional && written[number] === "–" ? null : figure(name, written[number], number)));
    put(figures, told);
    const highest = values.length ? app.t("admin.live.highest", { value: shown(Math.max(...values)) }) : "";
    const said = lines.map(({ name }, number) => `${name || title} ${written[number]}`).join(", ");
    picture.setAttribute("aria-label", `${said}. ${highest}`);
    const place = (point, key) => {
      const x = WIDTH * (1 - (last.time - point.time) / span);
      return `${x.toFixed(1)} ${(HEIGHT - 1 - (HEIGHT - 2) * (point[key] / most)).toFixed(1)}`;
    };
    lines.forEach(({ key }, number) => paths[number].setAttribute("d", trace(points, key, place)));
    area.setAttribute("d", filled(points, lines[0].key, place));
  }
  function figure(name, value, number) {
    const mark = lines.length > 1 && h("i", { class: `mark line-${number}` });
    return h("div", {}, name && h("dt", {}, mark, name), h("dd", {}, value));
  }
  draw([]);
  return { element, draw };
}

/** A line through points, broken where a value is missing. */
function trace(points, key, place) {
  let path = "";
  points.forEach((point, number) => {
    if (point[key] == null) return;
    const isAfter = points[number - 1]?.[key] != null;
    path += `${isAfter ? "L" : "M"}${place(point, key)}${isAfter ? "" : "h0.1"}`; // a lone point is seen, too
  });
  return path;
}

/** What lies below a line that is nowhere broken. */
function filled(points, key, place) {
  if (points.length < 2 || points.some((point) => point[key] == null)) return "";
  const [left, right] = [points[0], points.at(-1)].map((point) => place(point, key).split(" ")[0]);
  return `M${points.map((point) => place(point, key)).join("L")}L${right} ${HEIGHT}L${left} ${HEIGHT}z`;
}

/** 1, 2 or 5 times a power of ten, above a value. */
function niceAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value || 1));
  return [1, 2, 5, 10].map((one) => one * power).find((one) => one >= value);
}
