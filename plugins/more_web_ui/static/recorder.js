// A recording from the microphone as it is, without what browsers do to calls, as a WAV file of 16 bits.

const HEADER_BYTES = 44;
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
    return { blob: wav(pieces, count, rate), seconds: count / rate, clips };
  };
}

function wav(pieces, count, rate) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES + 2 * count));
  const text = (at, letters) => [...letters].forEach((letter, index) => view.setUint8(at + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, view.byteLength - 8, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * count, true);
  let at = HEADER_BYTES;
  for (const piece of pieces) {
    for (const sample of piece) {
      view.setInt16(at, Math.round(32767 * Math.min(Math.max(sample, -1), 1)), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}
