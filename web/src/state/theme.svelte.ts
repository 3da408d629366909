// Light or dark: as the system, or as chosen in this browser. `data-theme` decides in the style sheets.

export type Theme = "auto" | "light" | "dark";

const KEY = "tramontane.theme";

class ThemeChoice {
  chosen = $state<Theme>("auto");

  constructor() {
    const kept = read();
    if (kept === "light" || kept === "dark") this.choose(kept);
  }

  choose(theme: Theme): void {
    this.chosen = theme;
    document.documentElement.dataset["theme"] = theme;
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      return; // it holds until the page is closed
    }
  }
}

function read(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export const theme = new ThemeChoice();
