import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vitest/config";

import { messages } from "./tools/messages.js";
import { precompress } from "./tools/precompress.js";

const server = process.env["TRAMONTANE_URL"] ?? "http://127.0.0.1:8000";

export default defineConfig(({ mode }) => ({
  plugins: [messages(), svelte(), precompress()],
  build: {
    outDir: "../src/tramontane/web/app",
    emptyOutDir: true,
    manifest: true, // tests measure the first load by it
    target: "es2022",
    assetsInlineLimit: 0, // data: URLs are not in the policy of what a page may load
    modulePreload: { polyfill: false }, // every browser that runs the rest has it
    rolldownOptions: { checks: { pluginTimings: false } },
    license: { fileName: "assets/licenses.md" }, // of what is bundled
  },
  // Tests mount components: without this, Node would be given Svelte's server half.
  resolve: mode === "test" ? { conditions: ["browser"] } : {},
  server: { proxy: Object.fromEntries(["/v1", "/sign-in", "/sign-out", "/docs", "/openapi.json", "/assets"].map((path) => [path, server])) },
  test: { environment: "jsdom", css: true, include: ["src/**/*.test.ts", "tools/**/*.test.ts"] },
}));
