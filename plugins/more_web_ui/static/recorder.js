// A recording from the microphone as it is, without what browsers do to calls, as a WAV file of 16 bits.

import { asWav } from "./player.js";

const FULL = 0.999; // of full scale; from here on the top of a wave is cut off
const CONSTRAINTS = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/** Why nothing can be recorded here, as a sentence; "" where it can be tried. */
export function whyNoRecording(t) {
  if (navigator.mediaDevices?.getUserMedia && globalThis.AudioWorkletNode) return "";
  return isSecureContext ? t("voices.mic.missing") : t("voices.mic.insecure");
}

/** What kept the microphone from being opened, as a sentence. */
export function whyNoMicrophone(t, error) {
  if (error.name === "NotAllowedError") return t("voices.mic.denied");
  if (error.name === "NotFoundError") return t("voices.mic.none");
  if (error.name === "NotReadableError") return t("voices.mic.busy");
  return t("voices.mic.failed", { reason: error.message });
}

/**
 * Begin to record. Raises what getUserMedia does.
 * @param {{onlevel: (level: {peak: number, clips: boolean, seconds: number}) => void, onend: () => void}} tell
 *   onlevel: called some 50 times a second; peak 0 to 1, seconds so far. onend: the microphone was taken away.
 * @returns {Promise<() => {blob: Blob, seconds: number, clips: boolean}>}  Ends it and gives what was recorded.
 */
export async function record({ onlevel, onend }) {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: CONSTRAINTS });
  const context = new AudioContext();
  const pieces = [];
  let clips = false;
  let count = 0;

  function release() {
    for (const track of stream.getTracks()) track.stop();
    context.close();
  }
  function take({ data }) {
    const peak = data.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    clips ||= peak >= FULL;
    count += data.length;
    pieces.push(data);
    onlevel({ peak, clips: peak >= FULL, seconds: count / context.sampleRate });
  }
  try {
    await context.audioWorklet.addModule(new URL("capture.js", import.meta.url));
    await context.resume();
    const node = new AudioWorkletNode(context, "capture", { channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = take;
    context.createMediaStreamSource(stream).connect(node).connect(context.destination); // silence, which keeps it going
  } catch (error) {
    release();
    throw error;
  }
  stream.getAudioTracks()[0].addEventListener("ended", onend);
  return () => {
    const rate = context.sampleRate;
    release();
    const all = new Float32Array(count);
    pieces.forEach((piece, index) => all.set(piece, index * piece.length)); // all of one length
    return { blob: asWav(all, rate), seconds: count / rate, clips };
  };
}
