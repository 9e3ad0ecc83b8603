// Text onto the clipboard, also where the page was opened by plain http and has no clipboard API.

import { h } from "./dom.js";

/**
 * Copy a text and say so. Where the browser refuses, the text is shown in a dialog, selected.
 * @param {any} app
 * @param {string} text
 */
export async function copyText(app, text) {
  if ((await byApi(text)) || bySelection(text)) app.toast(app.t("common.copied"));
  else await app.dialog(app.t("common.copy"), area(text), [{ value: "", text: app.t("common.close") }]);
}

/** Whether the clipboard API took it; it is missing on plain http, and may be forbidden elsewhere. */
async function byApi(text) {
  if (!navigator.clipboard) return false;
  return navigator.clipboard.writeText(text).then(
    () => true,
    () => false,
  );
}

function bySelection(text) {
  const held = area(text);
  const focused = document.activeElement;
  // Inside an open dialog: what is outside it cannot be selected.
  (document.querySelector("dialog[open]") ?? document.body).append(held);
  held.select();
  const copied = document.execCommand("copy");
  held.remove();
  focused?.focus();
  return copied;
}

function area(text) {
  return h("textarea", { value: text, readonly: true, rows: 4, "aria-label": text.slice(0, 80) });
}
