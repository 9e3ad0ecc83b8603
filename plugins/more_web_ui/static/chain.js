// The ordered steps that finished audio goes through: added, removed, moved.

import { button, h, newId, put } from "./dom.js";

/**
 * A control for `schemaForm`.
 * @param {any} app
 * @param {string[]} value
 * @param {string[]} known  Steps to propose; others may be typed.
 * @param {string[]} inactive  Steps whose plugin is disabled or gone.
 */
export function chainControl(app, value, known, inactive) {
  const { t } = app;
  const list = h("ol", { class: "list chain" });
  const proposals = newId();
  const typed = h("input", { list: proposals, "aria-label": t("admin.chain.new"), placeholder: t("admin.chain.new"), spellcheck: "false" });
  const adding = h("div", { class: "row" }, h("div", { class: "grow" }, typed), button({ icon: "plus", text: t("admin.form.add"), onclick: add }));
  let steps = [...(value ?? [])];

  function step(name, index) {
    const move = (way, sign, text) => {
      const disabled = !(index + way in steps);
      return h("button", { type: "button", class: "quiet", disabled, "aria-label": text, title: text, onclick: () => moved(index, way, sign) }, sign);
    };
    return h(
      "li",
      {},
      h("span", { class: "grow mono" }, name),
      inactive.includes(name) && h("span", { class: "chip warn" }, t("admin.chain.inactive")),
      move(-1, "↑", t("admin.chain.up", { name })),
      move(1, "↓", t("admin.chain.down", { name })),
      button({ icon: "close", label: t("admin.chain.remove", { name }), class: "quiet", onclick: () => removed(index) }),
    );
  }
  function draw() {
    put(list, steps.map(step));
    if (!steps.length) list.append(h("li", { class: "soft" }, t("admin.chain.none")));
  }
  function moved(index, way, sign) {
    [steps[index], steps[index + way]] = [steps[index + way], steps[index]];
    draw();
    const buttons = [...list.children[index + way].querySelectorAll("button:not(:disabled)")];
    (buttons.find((one) => one.textContent === sign) ?? buttons[0]).focus(); // it goes on with the same key
  }
  function removed(index) {
    steps = steps.filter((_, other) => other !== index);
    draw();
    typed.focus();
  }
  function add() {
    if (!typed.value.trim()) return typed.focus();
    steps.push(typed.value.trim());
    typed.value = "";
    draw();
    typed.focus();
  }
  typed.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // it would send the form
    add();
  });
  draw();
  const options = h("datalist", { id: proposals }, known.map((name) => h("option", { value: name })));
  return { isGroup: true, element: h("div", { class: "stack" }, list, adding, options), read: () => [...steps] };
}
