// How a program calls a model of this server: with curl, and with both families' clients.

export interface CallExample {
  name: string;
  code: string;
}

const QUESTION = "Name three winds of Provence.";

export function examplesOf(model: string, url: string): CallExample[] {
  const name = JSON.stringify(model); // as JSON, and as Python, write a string
  const inShell = name.replaceAll("'", `'\\''`);
  return [
    {
      name: "curl",
      code: `curl ${url}/v1/chat/completions \\
  -H "Authorization: Bearer $TRAMONTANE_API_KEY" -H "Content-Type: application/json" \\
  -d '{"model": ${inShell}, "messages": [{"role": "user", "content": "${QUESTION}"}]}'`,
    },
    {
      name: "Python, mistralai",
      code: `import os

from mistralai.client import Mistral

client = Mistral(api_key=os.environ["TRAMONTANE_API_KEY"], server_url="${url}")
reply = client.chat.complete(
    model=${name},
    messages=[{"role": "user", "content": "${QUESTION}"}],
    max_tokens=60,
)
print(reply.choices[0].message.content)`,
    },
    {
      name: "Python, openai",
      code: `import os

from openai import OpenAI

client = OpenAI(api_key=os.environ["TRAMONTANE_API_KEY"], base_url="${url}/v1")
stream = client.chat.completions.create(
    model=${name},
    messages=[{"role": "user", "content": "${QUESTION}"}],
    max_tokens=60,
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)`,
    },
  ];
}
