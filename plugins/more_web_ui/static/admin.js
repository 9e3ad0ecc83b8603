// Administration: tabs, each loaded when it is first looked at, at #admin/… .

import { h, put } from "./dom.js";

const TABS = {
  overview: ["./live.js", "admin.tabs.overview"],
  plugins: ["./plugins.js", "admin.tabs.plugins"],
  profiles: ["./profiles.js", "admin.tabs.profiles"],
  models: ["./models.js", "admin.tabs.models"],
  keys: ["./keys.js", "admin.tabs.keys"],
  log: ["./log.js", "admin.tabs.log"],
};
const NAMES = Object.keys(TABS);

export default async function (app, section) {
  document.head.append(h("link", { rel: "stylesheet", href: "ui/admin.css" }));
  const loaded = {};
  let current = "";
  const tabs = NAMES.map((name) => {
    const attributes = { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `tabpanel-${name}` };
    return h("button", { ...attributes, onclick: () => go(name) }, app.t(TABS[name][1]));
  });
  const panels = NAMES.map((name) => {
    return h("div", { role: "tabpanel", id: `tabpanel-${name}`, "aria-labelledby": `tab-${name}`, class: "panel", hidden: true });
  });
  const bar = h("div", { class: "tabs", role: "tablist", "aria-label": app.t("shell.admin"), onkeydown: stepped }, tabs);
  put(section, h("h1", {}, app.t("shell.admin")), bar, panels);

  /** The address tells where one is, so that a look can be shared and undone. */
  function go(name) {
    if (location.hash === `#admin/${name}`) select(name);
    else location.hash = `admin/${name}`;
  }
  function stepped(event) {
    const at = NAMES.indexOf(current);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: NAMES.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const index = (to + NAMES.length) % NAMES.length;
    tabs[index].focus();
    go(NAMES[index]);
  }
  async function select(name) {
    if (current !== name) loaded[current]?.hidden();
    current = name;
    NAMES.forEach((other, index) => {
      tabs[index].setAttribute("aria-selected", String(other === name));
      tabs[index].tabIndex = other === name ? 0 : -1;
      panels[index].hidden = other !== name;
    });
    loaded[name] ??= (await import(TABS[name][0])).default(app, panels[NAMES.indexOf(name)]);
    if (current === name && !section.hidden) loaded[name].shown();
  }
  return {
    shown: (rest) => select(NAMES.includes(rest) ? rest : current || NAMES[0]),
    hidden: () => loaded[current]?.hidden(),
  };
}
