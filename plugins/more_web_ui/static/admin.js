// Administration, at #admin/… .

import { h, put } from "./dom.js";
import { tabbed } from "./tabs.js";

const TABS = {
  overview: ["live", "admin.tabs.overview"],
  plugins: ["plugins", "admin.tabs.plugins"],
  profiles: ["profiles", "admin.tabs.profiles"],
  models: ["models", "admin.tabs.models"],
  keys: ["keys", "admin.tabs.keys"],
  log: ["log", "admin.tabs.log"],
};

export default async function (app, section) {
  const label = app.t("shell.admin");
  document.head.append(h("link", { rel: "stylesheet", href: "ui/admin.css" }));
  const tabs = Object.entries(TABS).map(([name, [script, key]]) => {
    return [name, { text: app.t(key), make: async (place) => (await app.script(script))(app, place) }];
  });
  const { parts, ...panel } = tabbed(app, section, { panel: "admin", label, tabs: Object.fromEntries(tabs) });
  put(section, h("h1", {}, label), parts);
  return panel;
}
