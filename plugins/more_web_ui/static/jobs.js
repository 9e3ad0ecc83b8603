// The panel of jobs: the list, long text, training.

import { h, put } from "./dom.js";
import { JobList } from "./joblist.js";
import { newJob } from "./newjob.js";
import { tabbed } from "./tabs.js";
import { training } from "./training.js";

export default async function (app, section) {
  const { t } = app;
  document.head.append(h("link", { rel: "stylesheet", href: "ui/jobs.css" }));
  const list = new JobList(app);
  const begun = (job) => {
    list.add(job);
    app.toast(t("jobs.begun"));
    if (!section.hidden) location.hash = "jobs/list"; // who went elsewhere while recordings were uploaded stays there
  };
  const tab = (text, { element, ...more }) => ({ text, make: (place) => put(place, element) && more });
  const tabs = {
    list: tab(t("jobs.tab.list"), { element: list.element, shown: () => list.show(), hidden: () => list.hide() }),
    new: tab(t("jobs.tab.new"), newJob(app, begun)),
    train: tab(t("jobs.tab.train"), training(app, begun)),
  };
  const { parts, ...panel } = tabbed(app, section, { panel: "jobs", label: t("shell.jobs"), tabs });
  const heading = h("div", {}, h("h1", {}, t("shell.jobs")), h("p", { class: "soft" }, t("jobs.about")));
  put(section, heading, parts);
  return panel;
}
