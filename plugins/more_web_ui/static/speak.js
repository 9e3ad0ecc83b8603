// Text in, speech out: the first thing that people see.

import { ApiError } from "./api.js";
import { button, clear, field, h, icon, problemBox, put, tell } from "./dom.js";
import { openHistory } from "./history.js";
import { asPcm, openSound, PcmReader } from "./player.js";
import { passage } from "./sentences.js";
import { choices, qualityName, settingsForm } from "./settings.js";
import { Take } from "./take.js";

const REMEMBERED = "more.speak";

export default async function speak(app, section) {
  const studio = new Studio(app, section);
  await studio.begin();
  return { shown: (rest) => studio.fill(Object.fromEntries(new URLSearchParams(rest))) };
}

class Studio {
  #app;
  #sound = null;
  #takes = []; // those that are being made
  #shown = []; // those that are seen
  #history = null;
  #text = h("textarea", { rows: "4", spellcheck: "true" });
  #problem = problemBox();
  #results = h("div", { class: "halves results" });
  #kept = h("ul", { class: "list" });
  #first;
  #second;
  #compare;
  #go;
  #desk;

  constructor(app, section) {
    const t = app.t;
    this.#app = app;
    this.#first = settingsForm(app, t("speak.settings"));
    this.#second = settingsForm(app, t("speak.second"));
    this.#compare = h("input", { type: "checkbox", class: "switch", onchange: () => this.#look() });
    this.#go = button({ class: "primary go", onclick: () => this.#press() });
    this.#desk = this.#makeDesk();
    put(section, h("h1", {}, t("speak.title")), this.#desk, this.#results, this.#makeShelf());
  }

  #makeDesk() {
    const t = this.#app.t;
    const box = field({ param: "input", label: t("speak.text"), hint: t("speak.textHint"), control: this.#text, class: "text" });
    this.#text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#press();
    });
    const compare = field({ label: t("speak.compare"), control: this.#compare });
    box.querySelector(".hint").classList.add("for-keys");
    const actions = h("div", { class: "row apart" }, this.#go, compare);
    const settings = h("div", { class: "halves" }, this.#first.element, this.#second.element);
    return h("div", { class: "card desk" }, box, actions, this.#problem, settings);
  }

  #makeShelf() {
    const t = this.#app.t;
    const all = button({ icon: "trash", text: t("speak.forgetAll"), class: "quiet", onclick: () => this.#forgetAll() });
    return h("section", { class: "card history", hidden: true }, h("div", { class: "row apart" }, h("h2", {}, t("speak.history")), all), this.#kept);
  }

  async begin() {
    const app = this.#app;
    const before = JSON.parse(localStorage.getItem(REMEMBERED) ?? "{}");
    this.#text.value = before.text ?? app.t("speak.sample");
    this.#first.fill(before.first ?? {});
    this.#second.fill(before.second ?? { quality: "high_quality" });
    this.#look();
    for (const what of ["key", "ready", "voices", "profiles"]) app.on(what, () => this.#offer());
    app.on("theme", () => this.#shown.forEach((take) => take.wave.draw()));
    addEventListener("pagehide", () => this.#remember());
    const spoken = await this.#offer();
    if (before.text === undefined && spoken && !spoken.includes(app.language)) this.#text.value = passage(spoken[0]);
    try {
      this.#history = await openHistory();
      await this.#showHistory();
    } catch (error) {
      app.toast(app.t("speak.noHistory", { reason: error.message }));
    }
  }

  /** What another panel, or an address, wants to be spoken: text, voice, language, quality, speed, seed. */
  fill({ text, ...settings }) {
    if (text !== undefined) this.#text.value = text;
    if (Object.keys(settings).length) this.#first.fill({ ...this.#first.value(), ...settings });
  }

  /** Gives the languages that can be spoken; undefined where the server did not say. */
  async #offer() {
    try {
      const found = await choices(this.#app);
      for (const form of [this.#first, this.#second]) form.offer(found);
      clear(this.#desk);
      return found.spoken;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      tell(this.#desk, error);
    }
  }

  #remember() {
    const remembered = { text: this.#text.value, first: this.#first.value(), second: this.#second.value() };
    localStorage.setItem(REMEMBERED, JSON.stringify(remembered));
  }

  #look() {
    const t = this.#app.t;
    this.#second.element.hidden = !this.#compare.checked;
    const atWork = this.#takes.length > 0;
    put(this.#go, icon(atWork ? "stop" : "speak"), h("span", {}, t(atWork ? "common.stop" : "speak.go")));
  }

  #show(takes) {
    this.#shown = takes;
    put(this.#results, takes.map((take) => take.element));
  }

  #press() {
    if (this.#takes.length) return this.#stop();
    const forms = this.#compare.checked ? [this.#first, this.#second] : [this.#first];
    this.#speak(forms.map((form) => ({ input: this.#text.value, ...form.value() })));
  }

  #stop() {
    for (const take of this.#takes.splice(0)) take.stop();
    this.#look();
  }

  /** One after the other, so that neither slows the other down; the first is heard at once. */
  async #speak(requests) {
    const app = this.#app;
    this.#sound ??= openSound();
    this.#sound.resume();
    clear(this.#desk);
    app.plays(null);
    const titles = requests.length > 1 ? [app.t("speak.settings"), app.t("speak.second")] : [""];
    const how = { ondone: (take) => this.#keep(take), onagain: (request) => this.#speak([request]) };
    const takes = requests.map((request, index) => {
      return new Take(app, this.#sound, request, { ...how, title: titles[index], live: index === 0 });
    });
    this.#takes = [...takes];
    this.#show(takes);
    takes[0].element.scrollIntoView({ block: "nearest", behavior: "smooth" });
    this.#look();
    try {
      for (const take of takes) if (!this.#takes.includes(take) || !(await take.run())) break;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      for (const take of takes) if (!take.player.length) take.element.remove();
      const second = this.#second.element;
      const isOfSecond = takes[0].player.length > 0 && second.querySelector(`[data-param="${error.param}"]`);
      tell(isOfSecond ? second : this.#desk, error);
    } finally {
      this.#takes = this.#takes.filter((take) => !takes.includes(take));
      this.#look();
    }
  }

  async #keep(take) {
    if (!this.#history) return;
    const seconds = take.player.duration;
    try {
      await this.#history.add({ ...take.record, created: Date.now(), seconds, pcm: asPcm(take.player.samples()) });
      await this.#showHistory();
    } catch (error) {
      this.#app.toast(this.#app.t("speak.notKept", { reason: error.message }));
    }
  }

  async #showHistory() {
    const all = await this.#history.all();
    this.#kept.closest(".history").hidden = !all.length;
    put(this.#kept, all.map((one) => this.#line(one)));
  }

  #line(one) {
    const t = this.#app.t;
    const { input, voice, quality, speed = 1 } = one.request;
    const when = this.#app.units.moment(one.created / 1000);
    const length = t("speak.seconds", { seconds: Number(one.seconds.toFixed(1)) });
    const about = [voice, quality && qualityName(t, quality), t("speak.times", { speed }), length, when];
    const words = h("div", { class: "grow" }, h("div", { class: "title clip" }, input), h("div", { class: "soft" }, about.filter(Boolean).join(" · ")));
    const named = input.slice(0, 60);
    const open = button({ icon: "play", label: `${t("speak.openAgain")}: ${named}`, class: "quiet", onclick: () => this.#open(one) });
    const gone = button({ icon: "trash", label: `${t("speak.forget")}: ${named}`, class: "quiet", onclick: () => this.#forget(one.id) });
    return h("li", {}, open, words, gone);
  }

  /** Hear it again, and put its text and settings back. */
  #open(one) {
    const { input, ...settings } = one.request;
    this.#stop();
    this.#sound ??= openSound();
    this.#text.value = input;
    this.#first.fill(settings);
    const take = Take.kept(this.#app, this.#sound, { request: one.request, told: one.told, samples: new PcmReader().read(one.pcm) });
    this.#show([take]);
    take.element.scrollIntoView({ block: "nearest" });
    take.toggle();
  }

  async #forget(id) {
    await this.#history.remove(id);
    await this.#showHistory();
  }

  async #forgetAll() {
    const t = this.#app.t;
    if (!(await this.#app.sure(t("speak.forgetAll"), t("speak.forgetSure"), t("common.delete")))) return;
    await this.#history.clear();
    await this.#showHistory();
  }
}
