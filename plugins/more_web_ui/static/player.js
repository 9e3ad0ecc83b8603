// Samples that are played while they arrive. Buffers are put one behind the other on the clock of the sound card, to
// the sample, rather than fed to an AudioWorklet or to MediaSource: the first is missing on plain http, which is how
// most homes open this page, and the second wants a container, whose encoder keeps the first audio back.

/** Hertz of what is asked for as `pcm`. */
export const RATE = 24_000;
const AHEAD = 0.06; // s from now to what is put on the clock anew; below it the first samples are lost on slow machines

/** The sound of the page; it must be opened by a click, as browsers have it. */
export function openSound() {
  return new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
}

export class StreamPlayer {
  #sound;
  #change;
  #pieces = []; // {start, samples}: Float32Arrays, and where each begins, in samples
  #nodes = new Set();
  #next = 0; // index of the first piece that is not on the clock
  #from = 0; // s into the audio, heard at #began on the clock
  #began = 0;
  playing = false;
  complete = false;
  length = 0; // samples that have come

  /** change: called whenever it begins, pauses or ends. */
  constructor(sound, change = () => {}) {
    this.#sound = sound;
    this.#change = change;
  }

  /** Seconds that have come. */
  get duration() {
    return this.length / RATE;
  }

  /** Seconds that were heard. */
  get position() {
    const heard = this.playing ? this.#from + Math.max(0, this.#sound.currentTime - this.#began) : this.#from;
    return Math.min(heard, this.duration);
  }

  /** Everything that has come, in one piece. */
  samples() {
    const all = new Float32Array(this.length);
    for (const { start, samples } of this.#pieces) all.set(samples, start);
    return all;
  }

  push(samples) {
    if (!samples.length) return;
    this.#pieces.push({ start: this.length, samples });
    this.length += samples.length;
    if (this.playing) this.#schedule();
  }

  /** Nothing more comes. */
  end() {
    this.complete = true;
    if (this.playing && !this.#nodes.size) this.#finish();
  }

  /** From where it is, or from the beginning where it had come to its end. */
  play() {
    const again = this.complete && this.position >= this.duration - 0.01;
    this.seek(again ? 0 : this.position, true);
  }

  pause() {
    this.seek(this.position, false);
  }

  seek(seconds, playing = this.playing) {
    this.#silence();
    this.#sound.resume();
    this.#from = Math.max(0, Math.min(seconds, this.duration));
    this.#began = this.#sound.currentTime + AHEAD;
    const at = this.#from * RATE;
    const index = this.#pieces.findIndex(({ start, samples }) => start + samples.length > at);
    this.#next = index < 0 ? this.#pieces.length : index;
    this.playing = playing;
    if (playing) this.#schedule();
    if (playing && this.complete && !this.#nodes.size) this.#finish();
    else this.#change();
  }

  #schedule() {
    for (; this.#next < this.#pieces.length; this.#next++) {
      const { start, samples } = this.#pieces[this.#next];
      const inside = Math.max(0, this.#from - start / RATE);
      let at = this.#began + start / RATE + inside - this.#from;
      const late = this.#sound.currentTime - at;
      if (late > 0) {
        // It ran dry: what comes now is heard a little later, and whole.
        this.#began += late + AHEAD;
        at += late + AHEAD;
      }
      this.#put(samples, at, inside);
    }
  }

  #put(samples, at, inside) {
    const buffer = this.#sound.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(samples, 0);
    const node = new AudioBufferSourceNode(this.#sound, { buffer });
    node.connect(this.#sound.destination);
    node.onended = () => {
      this.#nodes.delete(node);
      if (this.complete && !this.#nodes.size) this.#finish();
    };
    this.#nodes.add(node);
    node.start(at, inside);
  }

  #silence() {
    for (const node of this.#nodes) {
      node.onended = null;
      node.stop();
    }
    this.#nodes.clear();
  }

  #finish() {
    this.playing = false;
    this.#from = this.duration;
    this.#change();
  }
}

/** Samples of 16 bits, little-endian, as numbers from -1 to 1; a byte that is left over waits for the next piece. */
export class PcmReader {
  #rest = new Uint8Array(0);

  read(bytes) {
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    const count = all.length >> 1;
    this.#rest = all.slice(2 * count);
    const view = new DataView(all.buffer);
    return Float32Array.from({ length: count }, (_, index) => view.getInt16(2 * index, true) / 32768);
  }
}

/** Samples of 16 bits out of numbers from -1 to 1. */
export function asPcm(samples) {
  const view = new DataView(new ArrayBuffer(2 * samples.length));
  samples.forEach((sample, index) => view.setInt16(2 * index, Math.max(-1, Math.min(1, sample)) * 32767, true));
  return new Uint8Array(view.buffer);
}

/** A WAV file, 16 bits, mono (Microsoft's RIFF, format 1). */
export function asWav(samples, rate = RATE) {
  const head = new DataView(new ArrayBuffer(44));
  const text = (at, word) => [...word].forEach((letter, index) => head.setUint8(at + index, letter.charCodeAt(0)));
  const bytes = 2 * samples.length;
  text(0, "RIFF");
  head.setUint32(4, 36 + bytes, true);
  text(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, rate, true);
  head.setUint32(28, 2 * rate, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  text(36, "data");
  head.setUint32(40, bytes, true);
  return new Blob([head.buffer, asPcm(samples)], { type: "audio/wav" });
}
