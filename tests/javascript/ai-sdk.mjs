// The Vercel AI SDK, with its provider for la Plateforme and the one for servers like OpenAI's.
import assert from "node:assert/strict";
import { createMistral } from "@ai-sdk/mistral";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embedMany, generateObject, generateText, streamText, tool } from "ai";
import { z } from "zod";
import { checkForecast, key, question, run, url } from "./common.mjs";

const providers = {
  mistral: createMistral({ apiKey: key, baseURL: `${url}/v1` }),
  compatible: createOpenAICompatible({
    name: "tramontane", apiKey: key, baseURL: `${url}/v1`, includeUsage: true, supportsStructuredOutputs: true,
  }),
};
const forecast = z.object({ wind: z.enum(["mistral", "marin"]), strong: z.boolean() });
const get_wind = tool({ description: "Asks.", inputSchema: forecast });
const quiet = { messages: question, maxRetries: 0 };

const checks = {};
for (const [name, provider] of Object.entries(providers)) {
  Object.assign(checks, {
    async [`${name}: text`]() {
      const { text, usage, finishReason } = await generateText({ ...quiet, model: provider("v13"), maxOutputTokens: 8 });
      assert.ok(text.length > 0);
      assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0);
      assert.ok(["length", "stop"].includes(finishReason));
    },

    async [`${name}: stream`]() {
      const asked = { ...quiet, model: provider("v13"), maxOutputTokens: 24, temperature: 0 };
      const whole = await generateText(asked);
      const stream = streamText({ ...asked, onError: ({ error }) => { throw error; } });
      let text = "";
      for await (const part of stream.textStream) text += part;
      assert.equal(text, whole.text);
      assert.equal((await stream.usage).outputTokens, whole.usage.outputTokens);
      assert.equal(await stream.finishReason, whole.finishReason);
    },

    async [`${name}: tools, streamed`]() {
      for (const model of ["small", "v11", "v13"]) {
        const parts = [];
        const stream = streamText({
          ...quiet, model: provider(model), tools: { get_wind }, toolChoice: "required",
          providerOptions: { mistral: { parallelToolCalls: false } }, onError: ({ error }) => { throw error; },
        });
        for await (const part of stream.fullStream) parts.push(part);
        const errors = parts.filter((part) => part.type.endsWith("error"));
        assert.deepEqual(errors, []);
        const calls = await stream.toolCalls;
        assert.ok(calls.length >= 1);
        for (const call of calls) {
          assert.equal(call.toolName, "get_wind");
          checkForecast(call.input);
        }
        assert.equal(await stream.finishReason, "tool-calls");
        const results = calls.map(({ toolCallId, toolName }) => (
          { type: "tool-result", toolCallId, toolName, output: { type: "text", value: "strong" } }));
        const { response } = await stream;
        const messages = [...question, ...(await response).messages, { role: "tool", content: results }];
        const { text } = await generateText({
          ...quiet, model: provider(model), messages, tools: { get_wind }, toolChoice: "none", maxOutputTokens: 8,
        });
        assert.ok(text.length > 0);
      }
    },

    async [`${name}: structured output`]() {
      const { object } = await generateObject({ ...quiet, model: provider("v13"), schema: forecast });
      checkForecast(object);
    },

    async [`${name}: embeddings`]() {
      const make = provider.textEmbeddingModel ?? provider.embeddingModel;
      const { embeddings } = await embedMany({ model: make("embedder"), values: ["one", "two"], maxRetries: 0 });
      assert.deepEqual(embeddings.map((vector) => vector.length), [64, 64]);
    },

    async [`${name}: errors`]() {
      const ask = (model, fields) => generateText({ ...quiet, model: provider(model), maxOutputTokens: 8, ...fields });
      const refused = (status, pattern) => (error) =>
        APICallError.isInstance(error) && error.statusCode === status && pattern.test(error.responseBody);
      await assert.rejects(ask("smal"), refused(404, /there is 'small'/));
      await assert.rejects(ask("v13", { temperature: 99 }), refused(422, /temperature/));
      // Its provider for la Plateforme shows our sentence; the other one knows only OpenAI's form, and shows the status.
      if (name === "mistral") await assert.rejects(ask("smal"), /there is 'small'/);
    },
  });
}
await run(checks);
