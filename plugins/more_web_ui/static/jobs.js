// The panel of jobs: the list, long text, training.

import { button, h } from "./dom.js";
import { JobList } from "./joblist.js";
import { newJob } from "./newjob.js";
import { training } from "./training.js";

export default async function (app, section) {
  const { t } = app;
  document.head.append(h("link", { rel: "stylesheet", href: "ui/jobs.css" }));
  const list = new JobList(app);
  const begun = (job) => {
    list.add(job);
    app.toast(t("jobs.begun"));
    location.hash = "jobs";
  };
  const tabs = {
    list: { name: t("jobs.tab.list"), element: list.element, show: () => list.show(), hide: () => list.hide() },
    new: tab(t("jobs.tab.new"), newJob(app, begun)),
    train: tab(t("jobs.tab.train"), training(app, begun)),
  };
  const buttons = Object.entries(tabs).map(([id, { name }]) => {
    const open = () => (location.hash = id === "list" ? "jobs" : `jobs/${id}`);
    return button({ text: name, role: "tab", id: `jobs-tab-${id}`, "aria-controls": `jobs-${id}`, onclick: open });
  });
  const places = Object.entries(tabs).map(([id, { element }]) => {
    return h("div", { role: "tabpanel", id: `jobs-${id}`, "aria-labelledby": `jobs-tab-${id}` }, element);
  });
  let current = "";

  function turn(id) {
    if (current && current !== id) tabs[current].hide?.();
    current = id;
    for (const [at, name] of Object.keys(tabs).entries()) {
      places[at].hidden = name !== id;
      buttons[at].setAttribute("aria-selected", String(name === id));
    }
    tabs[id]?.show();
  }
  app.on("playing", (who) => {
    for (const audio of section.querySelectorAll("audio")) if (audio !== who) audio.pause();
  });
  for (const what of ["key", "ready", "voices", "profiles"]) app.on(what, () => current === "new" && tabs.new.show());
  app.on("key", () => current === "train" && tabs.train.show());
  const heading = h("div", {}, h("h1", {}, t("shell.jobs")), h("p", { class: "soft" }, t("jobs.about")));
  section.append(heading, h("div", { class: "tabs", role: "tablist", "aria-label": t("shell.jobs") }, buttons), ...places);
  return {
    shown: (rest) => turn(Object.hasOwn(tabs, rest) ? rest : "list"),
    hidden: () => tabs[current]?.hide?.(),
  };
}

function tab(name, { element, load }) {
  return { name, element, show: load };
}
