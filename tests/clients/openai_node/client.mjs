// OpenAI's client for Node: `node client.mjs SCENARIO '{"baseURL": …}'` prints what came of it as one line of JSON.

import * as buffer from 'node:buffer';
import { createReadStream } from 'node:fs';
import OpenAI, { toFile } from 'openai';

// The client wants Node 22; Debian 12 has 18, which lacks nothing of it but this.
globalThis.File ??= buffer.File;

const [name, given] = [process.argv[2], JSON.parse(process.argv[3])];
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const base64 = (bytes) => Buffer.from(bytes).toString('base64');

async function collected(items) {
  const found = [];
  for await (const item of items) found.push(item);
  return found;
}

const scenarios = {
  async speech(client, body) {
    const answer = await client.audio.speech.create(body);
    return { type: answer.headers.get('content-type'), audio: base64(await answer.arrayBuffer()) };
  },

  // Says when it has heard the beginning, so that whoever started it can let the rest be made.
  async stream(client, body) {
    const answer = await client.audio.speech.create(body);
    const chunks = [];
    for await (const chunk of answer.body) {
      if (!chunks.length) say({ heard: chunk.length });
      chunks.push(chunk);
    }
    return { chunks: chunks.length, audio: base64(Buffer.concat(chunks)) };
  },

  async lines(client, body) {
    const answer = await client.audio.speech.create({ ...body, stream_format: 'sse' });
    return { type: answer.headers.get('content-type'), text: await answer.text() };
  },

  async events(client, body) {
    return collected(await client.post('/audio/speech', { body: { ...body, stream_format: 'sse' }, stream: true }));
  },

  async models(client, { id }) {
    const listed = await collected(client.models.list());
    const { data, request_id } = await client.models.retrieve(id).withResponse();
    return { listed, retrieved: data, request_id, same_id: data._request_id };
  },

  async model(client, { id }) {
    return client.models.retrieve(id);
  },

  async voices(client, { clip, speech }) {
    const { voices, voiceConsents: consents } = client.audio;
    const made = [];
    for (const recording of [createReadStream(clip), await toFile(createReadStream(clip), 'yes.wav')]) {
      made.push(await consents.create({ name: 'Cleo', language: 'en-US', recording }));
    }
    const [first, second] = made.map((one) => one.id);
    const listed = await collected(consents.list({ limit: 1 }));
    await consents.update(first, { name: 'Cleo M.' });
    const renamed = await consents.retrieve(first);
    const voice = await voices.create({ name: 'Cleo', audio_sample: createReadStream(clip), consent: first });
    const spoken = [];
    for (const asked of [voice.id, { id: voice.id }]) {
      spoken.push(base64(await (await client.audio.speech.create({ ...speech, voice: asked })).arrayBuffer()));
    }
    const deleted = [await voices.delete(voice.id), await consents.delete(first), await consents.delete(second)];
    return { made, listed, renamed, voice, spoken, deleted, left: await collected(consents.list()) };
  },
};

const { baseURL, apiKey, maxRetries, ...asked } = given;
try {
  const client = new OpenAI({ baseURL, apiKey, maxRetries });
  say({ result: await scenarios[name](client, asked) });
} catch (error) {
  const { status, code, param, type, requestID, message, error: body } = error;
  say({ raised: error.constructor.name, status, code, param, type, requestID, message, body });
}
