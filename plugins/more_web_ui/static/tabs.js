// Tabs of a panel: each has an address, `#panel/name`, is made when it is first looked at, and walked to by arrow keys.

import { button, h } from "./dom.js";

/**
 * @param {any} app
 * @param {any} section  Of the panel.
 * @param {{panel: string, label: string, tabs: Record<string, {text: string, make: (place: any) => any}>}} of
 *   make: builds into a place and gives `shown()` and perhaps `hidden()`, or a promise of them.
 * @returns {{parts: any[], shown: (rest: string) => Promise<void>, hidden: () => void}}  parts: what is to be put there.
 */
export function tabbed(app, section, { panel, label, tabs }) {
  const names = Object.keys(tabs);
  const making = {}; // promises of tabs, by name
  const made = {};
  let current = "";
  const buttons = names.map((name) => {
    const ids = { id: `tab-${panel}-${name}`, "aria-controls": `place-${panel}-${name}` };
    return button({ text: tabs[name].text, role: "tab", ...ids, onclick: () => go(name) });
  });
  const places = names.map((name) => {
    return h("div", { role: "tabpanel", id: `place-${panel}-${name}`, "aria-labelledby": `tab-${panel}-${name}`, class: "panel", hidden: true });
  });
  const bar = h("div", { class: "tabs", role: "tablist", "aria-label": label, onkeydown: stepped }, buttons);

  /** The address tells where one is, so that a look can be shared and undone. */
  function go(name) {
    if (location.hash === `#${panel}/${name}`) select(name);
    else location.hash = `${panel}/${name}`;
  }
  function stepped(event) {
    const at = names.indexOf(current);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const index = (to + names.length) % names.length;
    buttons[index].focus();
    go(names[index]);
  }
  async function make(name) {
    try {
      made[name] = await tabs[name].make(places[names.indexOf(name)]);
    } catch (error) {
      delete making[name];
      throw error;
    }
  }
  async function select(name) {
    if (current !== name) made[current]?.hidden?.();
    current = name;
    names.forEach((other, index) => {
      buttons[index].setAttribute("aria-selected", String(other === name));
      buttons[index].tabIndex = other === name ? 0 : -1;
      places[index].hidden = other !== name;
    });
    await (making[name] ??= make(name));
    if (current === name && !section.hidden) made[name].shown();
  }
  return {
    parts: [bar, places],
    shown: (rest) => select(names.includes(rest) ? rest : current || names[0]),
    hidden: () => made[current]?.hidden?.(),
  };
}
