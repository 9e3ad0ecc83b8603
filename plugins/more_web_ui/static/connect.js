// What to type into the programs that speak through this server, with its address filled in.

import { copyText } from "./copy.js";
import { button, h, put } from "./dom.js";

const WYOMING = "more_wyoming";
const WYOMING_PORT = 10200; // unless its settings, which administrators see, say otherwise
const XTTS_API = "more_xtts_api";
const EVERYWHERE = ["0.0.0.0", "::"];
const OWN_NAMES = /^(localhost|127\..*|\[::1\])$/;

export default async function connect(app, section) {
  const body = h("div", { class: "halves" });
  const own = OWN_NAMES.test(location.hostname) && h("p", { class: "note" }, app.t("connect.own"));
  put(section, h("h1", {}, app.t("connect.title")), h("p", { class: "soft" }, app.t("connect.intro")), own, body);
  app.on("key", () => fill(app, body));
  return { shown: () => fill(app, body) };
}

async function fill(app, body) {
  const plugins = await app.api.get("/v1/admin/plugins", { quiet: true }).then(
    ({ data }) => data,
    (error) => {
      if (!error.needsKey) app.toastError(error); // the address is right all the same
      return [];
    },
  );
  const found = (name) => plugins.find((one) => one.name === name);
  const base = app.api.url("/v1");
  const isOwn = OWN_NAMES.test(location.hostname);
  const key = app.api.key ? app.t("connect.yourKey") : "unused";
  put(
    body,
    home(app, found(WYOMING), isOwn),
    openWebUi(app, base, key),
    sillyTavern(app, base, found(XTTS_API)),
    sdk(app, base),
    node(app, base),
    curl(app, base),
  );
}

/** A card: what it is for, what to type where, and code. */
function card(app, name, { steps, values = [], code, note }) {
  const rows = values.map(([label, value]) => {
    const copy = button({ icon: "copy", label: app.t("connect.copyValue", { label }), class: "quiet", onclick: () => copyText(app, value) });
    return h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, h("code", {}, value)), h("td", { class: "number" }, copy));
  });
  const shown = code && h("div", { class: "code" }, h("pre", { tabindex: "0", "aria-label": name }, code), button({ icon: "copy", label: app.t("connect.copyValue", { label: name }), class: "quiet", onclick: () => copyText(app, code) }));
  const table = rows.length > 0 && h("div", { class: "scroll" }, h("table", {}, h("tbody", {}, rows)));
  return h("article", { class: "card" }, h("h2", {}, name), steps && h("p", {}, steps), table, shown, note && h("p", { class: "note" }, note));
}

function sdk(app, base) {
  const key = app.api.key ? 'os.environ["MORE_API_KEY"]' : '"unused"';
  const code = `${app.api.key ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url="${base}", api_key=${key})
with client.audio.speech.with_streaming_response.create(
    model="tts-1", voice="alloy", input="Hello.", response_format="wav"
) as response:
    response.stream_to_file("hello.wav")
`;
  return card(app, app.t("connect.python"), { code });
}

function node(app, base) {
  const key = app.api.key ? "process.env.MORE_API_KEY" : "'unused'";
  const code = `import { writeFile } from 'node:fs/promises';
import OpenAI from 'openai';

const client = new OpenAI({ baseURL: '${base}', apiKey: ${key} });
const speech = await client.audio.speech.create({
  model: 'tts-1', voice: 'alloy', input: 'Hello.', response_format: 'mp3',
});
await writeFile('hello.mp3', Buffer.from(await speech.arrayBuffer()));
`;
  return card(app, app.t("connect.node"), { code });
}

function curl(app, base) {
  const key = app.api.key ? ' \\\n  -H "Authorization: Bearer $MORE_API_KEY"' : "";
  const code = `curl ${base}/audio/speech${key} \\
  -H "Content-Type: application/json" \\
  -d '{"input": "Hello.", "voice": "alloy"}' -o hello.mp3
`;
  return card(app, "curl", { code });
}

/** By Wyoming; whether its port can be reached from elsewhere is told to administrators. */
function home(app, plugin, isOwn) {
  const t = app.t;
  const port = plugin?.settings?.port || WYOMING_PORT;
  const values = [
    [t("connect.host"), location.hostname],
    [t("connect.port"), String(port)],
  ];
  const isShut = plugin && (!plugin.enabled || (!isOwn && !EVERYWHERE.includes(plugin.settings?.host)));
  const note = isShut ? t("connect.wyomingShut") : t("connect.wyomingOpen");
  return card(app, "Home Assistant", { steps: t("connect.home"), values, note });
}

function openWebUi(app, base, key) {
  const t = app.t;
  const values = [
    [t("connect.engine"), "OpenAI"],
    ["API Base URL", base],
    ["API Key", key],
    ["TTS Model", "tts-1"],
  ];
  return card(app, "Open WebUI", { steps: t("connect.openWebUi"), values });
}

function sillyTavern(app, base, plugin) {
  const t = app.t;
  const values = [
    ["OpenAI Compatible: Provider Endpoint", `${base}/audio/speech`],
    ["TTS WebUI: Provider Endpoint", base],
    ["XTTSv2: Provider Endpoint", app.api.url("/").replace(/\/$/, "")],
  ];
  const note = plugin && !plugin.enabled ? t("connect.sillyPluginOff") : t("connect.sillyPlugin");
  return card(app, "SillyTavern", { steps: t("connect.silly"), values, note });
}
