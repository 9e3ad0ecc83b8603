// A request as somebody else would make it.

const OWN_TO_SDK = ["model", "voice", "input", "response_format", "speed", "instructions"]; // the rest is extra_body

/** As a command for a shell. The key is not put into it: commands are kept and shared. */
export function asCurl(api, request) {
  const lines = [
    `curl ${api.url("/v1/audio/speech")}`,
    ...(api.key ? ['-H "Authorization: Bearer $MORE_API_KEY"'] : []),
    '-H "Content-Type: application/json"',
    `-d '${JSON.stringify(request).replaceAll("'", "'\\''")}'`,
    `-o speech.${request.response_format}`,
  ];
  return lines.join(" \\\n  ");
}

/** For OpenAI's client for Python. */
export function asPython(api, request) {
  const asked = { model: "tts-1", ...request };
  const own = Object.entries(asked).filter(([name]) => OWN_TO_SDK.includes(name));
  const rest = Object.entries(asked).filter(([name]) => !OWN_TO_SDK.includes(name));
  const named = own.map(([name, value]) => `    ${name}=${literal(value)},`);
  const extra = rest.map(([name, value]) => `"${name}": ${literal(value)}`).join(", ");
  return [
    "import os",
    "",
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(api.url("/v1"))}, api_key=os.environ.get("MORE_API_KEY", "unused"))`,
    "with client.audio.speech.with_streaming_response.create(",
    ...named,
    ...(extra ? [`    extra_body={${extra}},`] : []),
    ") as response:",
    `    response.stream_to_file("speech.${request.response_format}")`,
    "",
  ].join("\n");
}

/** JSON's texts and numbers are Python's, too; a seed may have more digits than JavaScript's numbers. */
function literal(value) {
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}
