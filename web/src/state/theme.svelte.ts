// Light or dark: as the system, or as chosen in this browser. `data-theme` decides in the style sheets.
import { remember, remembered } from "../lib/storage";

export type Theme = "auto" | "light" | "dark";

class ThemeChoice {
  chosen = $state<Theme>("auto");

  constructor() {
    const kept = remembered("theme");
    if (kept === "light" || kept === "dark") this.choose(kept);
  }

  choose(theme: Theme): void {
    this.chosen = theme;
    document.documentElement.dataset["theme"] = theme;
    remember("theme", theme);
  }
}

export const theme = new ThemeChoice();
