// Shows which models there are and how to call them. Whatever comes from the server is set as text, never as HTML.
"use strict";

const POLL_MILLISECONDS = 2000;
const show = (id, visible = true) => { document.getElementById(id).hidden = !visible; };

function problem(text) {
  const element = document.getElementById("problem");
  element.textContent = text;
  element.hidden = !text;
}

function signedOut() {
  const spent = new URLSearchParams(location.search).get("link") === "spent";
  if (spent) {
    document.getElementById("signed-out-reason").textContent =
      "This link was used before, or is older than a day. Start the server again: it prints a new one.";
  }
  show("signed-out"); show("models", false); show("calls", false); show("sign-out", false);
}

function number(value) {
  if (value >= 1e9) return `${(value / 1e9).toFixed(1)} billion`;
  return value >= 1e6 ? `${(value / 1e6).toFixed(1)} million` : `${Math.round(value / 1e3)} thousand`;
}

function abilities(card) {
  const can = [];
  if (card.capabilities.completion_chat) can.push("chat");
  if (card.capabilities.function_calling) can.push("call tools");
  if (card.capabilities.completion_fim) can.push("fill in the middle");
  if (card.capabilities.reasoning) can.push("think");
  can.push("embed");
  return can.join(", ");
}

const COLUMNS = ["Name", "State", "Parameters", "Weights", "Context", "It can"];

function row(card) {
  const line = document.createElement("tr");
  const cells = [
    card.id, card.state, number(card.parameters), card.quantization === "none" ? "as stored" : card.quantization,
    `${card.max_context_length.toLocaleString("en")} tokens`, abilities(card),
  ];
  cells.forEach((text, index) => {
    const cell = document.createElement(index === 0 ? "th" : "td");
    if (index === 0) cell.scope = "row"; else cell.dataset.label = COLUMNS[index];
    if (index === 1) cell.className = `state-${card.state}`;
    cell.textContent = text;
    line.append(cell);
  });
  if (card.description) line.title = card.description;
  return line;
}

function examples(model) {
  const url = location.origin;
  const name = JSON.stringify(model);
  return [
    ["curl", `curl ${url}/v1/chat/completions \\
  -H "Authorization: Bearer $TRAMONTANE_API_KEY" -H "Content-Type: application/json" \\
  -d '{"model": ${name}, "messages": [{"role": "user", "content": "Name three winds of Provence."}]}'`],
    ["Python, mistralai", `import os

from mistralai.client import Mistral

client = Mistral(api_key=os.environ["TRAMONTANE_API_KEY"], server_url="${url}")
reply = client.chat.complete(
    model=${name},
    messages=[{"role": "user", "content": "Name three winds of Provence."}],
    max_tokens=60,
)
print(reply.choices[0].message.content)`],
    ["Python, openai", `import os

from openai import OpenAI

client = OpenAI(api_key=os.environ["TRAMONTANE_API_KEY"], base_url="${url}/v1")
stream = client.chat.completions.create(
    model=${name},
    messages=[{"role": "user", "content": "Name three winds of Provence."}],
    max_tokens=60,
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)`],
  ];
}

function showExamples(model) {
  const place = document.getElementById("examples");
  if (place.dataset.model === model) return;
  place.dataset.model = model;
  place.replaceChildren(...examples(model).map(([title, code]) => {
    const box = document.createElement("div");
    box.className = "example";
    const head = document.createElement("div");
    const heading = document.createElement("h3");
    heading.textContent = title;
    const copy = document.createElement("button");
    copy.type = "button";
    copy.textContent = "Copy";
    copy.setAttribute("aria-label", `Copy the example for ${title}`);
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code);
      copy.textContent = "Copied";
      setTimeout(() => { copy.textContent = "Copy"; }, 1500);
    });
    head.append(heading, copy);
    const text = document.createElement("pre");
    text.tabIndex = 0;
    text.textContent = code;
    box.append(head, text);
    return box;
  }));
}

async function refresh() {
  let reply;
  try {
    reply = await fetch("/v1/models");
  } catch {
    problem("The server does not answer. It may have been stopped; this page tries again.");
    setTimeout(refresh, POLL_MILLISECONDS);
    return;
  }
  if (reply.status === 401) { signedOut(); return; }
  if (!reply.ok) { problem(`The server answered with an error (${reply.status}).`); return; }
  problem("");
  const cards = (await reply.json()).data;
  document.getElementById("model-rows").replaceChildren(...cards.map(row));
  show("models"); show("calls", cards.length > 0); show("sign-out");
  if (cards.length) showExamples(cards[0].id);
  if (cards.some((card) => card.state === "loading")) setTimeout(refresh, POLL_MILLISECONDS);
}

document.getElementById("sign-out").addEventListener("click", async () => {
  await fetch("/sign-out", { method: "POST" });
  signedOut();
});
refresh();
