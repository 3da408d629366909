import "./styles/index.css";
import "./state/theme.svelte"; // before anything is drawn

import { mount } from "svelte";

import App from "./App.svelte";
import { startLanguage } from "./i18n";

const place = document.getElementById("app");
if (place === null) throw new Error("index.html has no #app");

await startLanguage();
mount(App, { target: place });
