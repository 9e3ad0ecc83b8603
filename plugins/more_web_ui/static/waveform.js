// A waveform that grows while audio comes, with the place that is heard; a click or the arrow keys go elsewhere.

import { h } from "./dom.js";
import { RATE } from "./player.js";

const STEP = 480; // samples of a peak, 20 ms
const BAR = 3; // CSS pixels of a bar, and 1 between two
const LEAST_SECONDS = 4; // shown at once while audio comes: shorter, and the bars would jump
const KEY_SECONDS = 2;

export class Waveform {
  #peaks = [];
  #open = { most: 0, count: 0 };

  /**
   * @param {string} label  For screen readers.
   * @param {(seconds: number) => void} onseek
   */
  constructor(label, onseek) {
    this.seconds = 0; // of audio that has come
    this.position = 0; // s that were heard
    this.growing = true;
    this.element = h("canvas", { class: "waveform", role: "slider", tabindex: "0", "aria-label": label });
    this.element.addEventListener("click", (event) => onseek((event.offsetX / this.element.clientWidth) * this.#shown()));
    this.element.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -KEY_SECONDS, ArrowRight: KEY_SECONDS, Home: -Infinity, End: Infinity }[event.key];
      if (by === undefined) return;
      event.preventDefault();
      onseek(Math.max(0, Math.min(this.seconds, this.position + by)));
    });
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  add(samples) {
    for (const sample of samples) {
      this.#open.most = Math.max(this.#open.most, Math.abs(sample));
      if (++this.#open.count < STEP) continue;
      this.#peaks.push(this.#open.most);
      this.#open = { most: 0, count: 0 };
    }
    this.seconds += samples.length / RATE;
    this.draw();
  }

  #shown() {
    return this.growing ? Math.max(LEAST_SECONDS, this.seconds) : this.seconds || 1;
  }

  draw() {
    const { element } = this;
    const [width, height] = [element.clientWidth, element.clientHeight];
    if (!width) return;
    const scale = devicePixelRatio;
    if (element.width !== Math.round(width * scale)) element.width = Math.round(width * scale);
    element.height = Math.round(height * scale);
    const style = getComputedStyle(element);
    const ink = element.getContext("2d");
    ink.scale(scale, scale);
    const bars = Math.floor(width / (BAR + 1));
    const each = (this.#shown() * RATE) / STEP / bars; // peaks of a bar
    const heard = (this.position / this.#shown()) * bars;
    for (let bar = 0; bar < bars && bar * each < this.#peaks.length; bar++) {
      const peak = Math.max(...this.#peaks.slice(Math.floor(bar * each), Math.floor((bar + 1) * each) + 1));
      const tall = Math.max(2, peak ** 0.75 * (height - 8));
      ink.fillStyle = style.getPropertyValue(bar < heard ? "--accent" : "--edge");
      ink.fillRect(bar * (BAR + 1), (height - tall) / 2, BAR, tall);
    }
    this.#tell();
  }

  #tell() {
    const about = { valuemin: 0, valuemax: this.seconds.toFixed(1), valuenow: this.position.toFixed(1) };
    about.valuetext = `${this.position.toFixed(1)} / ${this.seconds.toFixed(1)} s`;
    for (const [name, value] of Object.entries(about)) this.element.setAttribute(`aria-${name}`, value);
  }
}
