// la Plateforme's own JavaScript client.
import assert from "node:assert/strict";
import { Mistral } from "@mistralai/mistralai";
import { checkForecast, key, parameters, question, run, url } from "./common.mjs";

const client = new Mistral({ apiKey: key, serverURL: url });
const tools = [{ type: "function", function: { name: "get_wind", description: "Asks.", parameters } }];

function checkCall(call) {
  assert.equal(call.function.name, "get_wind");
  assert.match(call.id, /^[A-Za-z0-9]{9}$/);
  assert.equal(typeof call.function.arguments, "string");
  checkForecast(JSON.parse(call.function.arguments));
}

await run({
  async models() {
    const models = await client.models.list();
    assert.ok(models.data.some((card) => card.id === "v13"));
    assert.equal((await client.models.retrieve({ modelId: "org/slashed" })).id, "org/slashed");
  },

  async chat() {
    for (const model of ["small", "tekken", "v11", "v13", "v15"]) {
      const reply = await client.chat.complete({ model, messages: question, maxTokens: 8 });
      assert.equal(typeof reply.choices[0].message.content, "string");
      assert.ok(reply.usage.completionTokens <= 8);
      assert.equal(reply.usage.totalTokens, reply.usage.promptTokens + reply.usage.completionTokens);
    }
  },

  async stream() {
    const asked = { model: "v13", messages: question, maxTokens: 24, temperature: 0 };
    const whole = await client.chat.complete(asked);
    let text = "", last;
    for await (const event of await client.chat.stream(asked)) {
      last = event.data;
      text += last.choices[0].delta.content ?? "";
    }
    assert.equal(text, whole.choices[0].message.content);
    assert.equal(last.choices[0].finishReason, whole.choices[0].finishReason);
    assert.deepEqual(last.usage.completionTokens, whole.usage.completionTokens);
  },

  async toolsWhole() {
    for (const model of ["small", "v11", "v13"]) {
      const reply = await client.chat.complete({ model, messages: question, tools, toolChoice: "any", parallelToolCalls: false });
      assert.equal(reply.choices[0].finishReason, "tool_calls");
      reply.choices[0].message.toolCalls.forEach(checkCall);
    }
  },

  async toolsStreamed() {
    for (const model of ["small", "v11", "v13"]) {
      const calls = [];
      let last;
      const asked = { model, messages: question, tools, toolChoice: "any", parallelToolCalls: false };
      for await (const event of await client.chat.stream(asked)) {
        last = event.data.choices[0];
        calls.push(...(last.delta.toolCalls ?? []));
      }
      assert.equal(last.finishReason, "tool_calls");
      assert.equal(calls.length, 1);
      calls.forEach(checkCall);
      const messages = [
        ...question,
        { role: "assistant", content: "", toolCalls: calls },
        { role: "tool", toolCallId: calls[0].id, name: "get_wind", content: "strong" },
      ];
      const answer = await client.chat.complete({ model, messages, tools, toolChoice: "none", maxTokens: 8 });
      assert.equal(typeof answer.choices[0].message.content, "string");
    }
  },

  async structured() {
    const schema = { name: "forecast", strict: true, schemaDefinition: parameters };
    const reply = await client.chat.complete({
      model: "v13", messages: question, responseFormat: { type: "json_schema", jsonSchema: schema },
    });
    checkForecast(JSON.parse(reply.choices[0].message.content));
  },

  async fim() {
    const reply = await client.fim.complete({ model: "small", prompt: "def f(", suffix: "return a", maxTokens: 8 });
    assert.equal(typeof reply.choices[0].message.content, "string");
  },

  async embeddings() {
    const reply = await client.embeddings.create({ model: "embedder", inputs: ["one wind", "another"] });
    assert.equal(reply.data.length, 2);
    assert.equal(reply.data[0].embedding.length, 64);
  },

  async errors() {
    const wrong = (fields) => client.chat.complete({ model: "small", messages: question, ...fields });
    await assert.rejects(wrong({ model: "smal" }), /small/);
    await assert.rejects(wrong({ temperature: 99 }), /temperature/);
    const stranger = new Mistral({ apiKey: "wrong", serverURL: url });
    await assert.rejects(stranger.models.list(), (error) => error.statusCode === 401 && /Unauthorized/.test(error.body));
  },
});
