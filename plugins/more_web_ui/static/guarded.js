// What only administrators are shown: the server's refusal stands in its place, with a way on.

import { ApiError, pause } from "./api.js";
import { button, h, put } from "./dom.js";

/**
 * A content that is filled from the server, or what kept it from that.
 * @param {any} app
 * @param {any} content  An element, hidden while there is nothing to show.
 * @param {() => Promise<void>} fill  Asks the server, quietly, and fills the content.
 * @param {() => void} [again]  What to do when another key is used; else it is filled anew.
 * @returns {{element: any, load: () => Promise<boolean>}}  load: false where another key is needed.
 */
export function guarded(app, content, fill, again) {
  const refusal = h("div", { class: "stack" }, h("p", { class: "note" }, app.t("common.loading")));
  const element = h("div", { class: "panel" }, refusal, content);
  content.hidden = true;

  async function load() {
    try {
      await fill();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return refuse(error);
    }
    content.hidden = false;
    refusal.hidden = true;
    return true;
  }
  function refuse(error) {
    const { needsKey } = error;
    const way = needsKey
      ? button({ icon: "key", text: app.t("admin.enterKey"), onclick: () => app.askKey("") })
      : button({ icon: "refresh", text: app.t("common.refresh"), onclick: load });
    if (refusal.hidden || refusal.textContent !== error.message + way.textContent) {
      put(refusal, h("p", { class: "problem", role: "alert" }, error.message), h("div", { class: "row" }, way));
    }
    refusal.hidden = false;
    content.hidden = needsKey || content.hidden; // what was seen stays where the server is only away
    return !needsKey;
  }
  app.on("key", () => element.offsetParent && (again ?? load)());
  return { element, load };
}

/**
 * Work done again and again while it is looked at.
 * @param {number} every  Milliseconds.
 * @param {() => Promise<boolean>} work  false ends it until the next start.
 */
export function polling(every, work) {
  let running = null;

  async function run(mine) {
    while (running === mine) {
      if (!document.hidden && !(await work()) && running === mine) running = null;
      await pause(every);
    }
  }
  return {
    start: () => running || run((running = {})),
    stop: () => (running = null),
  };
}
