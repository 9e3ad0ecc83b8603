// Runs on the browser's audio thread: hands over what a microphone gives, in pieces.

const PIECE = 1024; // samples, some 20 ms: the level is seen to follow the voice

class Capture extends AudioWorkletProcessor {
  #piece = new Float32Array(PIECE);
  #filled = 0;

  process([[samples]]) {
    if (!samples) return true; // the microphone has not begun
    this.#piece.set(samples, this.#filled); // 128 at a time, of which PIECE is a multiple
    this.#filled += samples.length;
    if (this.#filled === PIECE) {
      this.port.postMessage(this.#piece, [this.#piece.buffer]);
      this.#piece = new Float32Array(PIECE);
      this.#filled = 0;
    }
    return true;
  }
}

registerProcessor("capture", Capture);
