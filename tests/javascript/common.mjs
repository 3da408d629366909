// What the scripts share. They are told where the server is by the environment, and end with status 0 if all is well.
import assert from "node:assert/strict";

export const url = process.env.TRAMONTANE_URL;
export const key = process.env.TRAMONTANE_API_KEY;
export const question = [{ role: "user", content: "Which wind blows today?" }];

// Random weights write its arguments to their end: there is no free text in them.
export const parameters = {
  type: "object",
  properties: { wind: { type: "string", enum: ["mistral", "marin"] }, strong: { type: "boolean" } },
  required: ["wind", "strong"],
  additionalProperties: false,
};

export function checkForecast(value) {
  assert.ok(["mistral", "marin"].includes(value.wind), JSON.stringify(value));
  assert.equal(typeof value.strong, "boolean");
  assert.deepEqual(Object.keys(value).sort(), ["strong", "wind"]);
}

/** Runs each check, says which one failed, and why. */
export async function run(checks) {
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check();
      console.log(`ok ${name}`);
    } catch (error) {
      console.error(`failed ${name}`);
      console.error(error);
      process.exitCode = 1;
    }
  }
}
