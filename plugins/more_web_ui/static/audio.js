// Recordings and finished audio: one at a time in the whole page.

import { ApiError } from "./api.js";
import { button, icon } from "./dom.js";

/**
 * A button that plays a blob and stops it again; whatever else is being played on the page stops.
 * @param {any} app
 * @param {{label: string, load: () => Promise<Blob>, text?: string, class?: string, onerror?: (error: any) => void}} how
 *   label: what is played, for screen readers. load: gives the audio, asked for at each press.
 */
export function playButton(app, { label, load, text, class: kind = "quiet", onerror = (error) => app.toastError(error) }) {
  let audio = null;
  const shown = button({ icon: "play", label: text ? "" : label, text, class: kind, onclick: toggle });

  function stop() {
    if (!audio) return;
    audio.pause();
    URL.revokeObjectURL(audio.src);
    audio = null;
    look();
  }
  function look() {
    shown.querySelector(".icon").replaceWith(icon(audio ? "stop" : "play"));
    shown.setAttribute("aria-pressed", String(!!audio));
  }
  async function toggle() {
    if (audio) return stop();
    app.plays(stop);
    const mine = (audio = new Audio());
    look();
    try {
      const blob = await load();
      if (audio !== mine) return; // it was stopped meanwhile
      audio.onended = stop;
      audio.src = URL.createObjectURL(blob);
      await audio.play().catch((error) => {
        if (audio === mine) throw new ApiError(app.t("errors.unplayable", { reason: error.message }));
      });
    } catch (error) {
      if (audio === mine) stop();
      onerror(error);
    }
  }
  look();
  return shown;
}
