// Loss curves, drawn as SVG in the colours of the page.

import { h, put } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 200;
const EDGE = { left: 44, right: 12, top: 10, bottom: 24 };

/**
 * `element` and `draw({train, held_out})`, each a list of [step, loss].
 * @param {any} app
 */
export function lossChart({ t, units }) {
  const picture = s("svg", { role: "img", class: "curves", height: HEIGHT });
  const names = [["train", t("jobs.figure.train")], ["held", t("jobs.figure.held")]];
  const legend = h("div", { class: "row soft" }, names.map(([kind, name]) => [h("span", { class: `swatch ${kind}` }), name]));
  const element = h("figure", { class: "stack", hidden: true }, legend, picture);
  let shown = null;

  function draw(curves) {
    const points = [...curves.train, ...curves.held_out];
    if (!points.length) return;
    shown = curves;
    element.hidden = false;
    const width = picture.clientWidth || 600;
    const [x, steps] = scale([0, ...points.map(([step]) => step)], EDGE.left, width - EDGE.right, width / 90, { whole: true });
    const [y, losses] = scale(points.map(([, loss]) => loss), HEIGHT - EDGE.bottom, EDGE.top, 4);
    const lines = losses.map((loss) => s("path", { class: "grid", d: `M${EDGE.left} ${y(loss)}H${width - EDGE.right}` }));
    const rows = losses.map((loss) => label(units, loss, { x: EDGE.left - 6, y: y(loss) + 4, "text-anchor": "end" }));
    const columns = steps.map((step) => label(units, step, { x: x(step), y: HEIGHT - 6, "text-anchor": "middle" }));
    put(picture, lines, rows, columns, line(curves.train, "train", x, y), line(curves.held_out, "held", x, y));
    const [last, held] = [curves.train.at(-1), curves.held_out.at(-1)];
    const said = { train: last?.[1] ?? "–", held: held?.[1] ?? "–", step: (last ?? held)[0] };
    picture.setAttribute("aria-label", t("jobs.chart", said));
  }
  new ResizeObserver(() => shown && draw(shown)).observe(element);
  return { element, draw };
}

function s(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function label(units, value, attributes) {
  return s("text", attributes, units.number(value));
}

function line(points, kind, x, y) {
  const drawn = points.map(([step, loss]) => `${x(step).toFixed(1)} ${y(loss).toFixed(1)}`);
  const dots = points.map(([step, loss]) => s("circle", { class: kind, r: 2.5, cx: x(step), cy: y(loss) }));
  const path = drawn.length ? [s("path", { class: kind, d: `M${drawn.join("L")}` })] : [];
  return kind === "held" || dots.length === 1 ? [...path, ...dots] : path;
}

/** From values to pixels, and about so many round values in between; whole: those of a count, from 0. */
function scale(values, from, to, many, { whole = false } = {}) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = (most - least || Math.abs(most) || 1) * 0.04;
  const [low, high] = [whole ? 0 : least - room, most + room];
  const rough = (high - low) / Math.max(many, 2);
  const power = 10 ** Math.floor(Math.log10(rough));
  const wanted = power * [1, 2, 5, 10].find((one) => one * power >= rough);
  const step = whole ? Math.max(1, wanted) : wanted;
  const round = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) round.push(at * step);
  return [(value) => from + ((value - low) / (high - low)) * (to - from), round];
}
