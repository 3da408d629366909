// Which view the address asks for. A single page: moving between views loads nothing anew.

export type Place =
  | { view: "chat"; conversation: string | null }
  | { view: "library" }
  | { view: "models" }
  | { view: "shared"; token: string }
  | { view: "console"; page: string; item: string | null }
  | { view: "join"; token: string }
  | { view: "register" };

export function placeOf(path: string): Place {
  const [first, second, ...rest] = path.split("/").filter(Boolean);
  if (first === "c" && second) return { view: "chat", conversation: second };
  if (first === "library") return { view: "library" };
  if (first === "models") return { view: "models" };
  if (first === "shared" && second) return { view: "shared", token: second };
  if (first === "console") return { view: "console", page: second ?? "overview", item: rest.map(decoded).join("/") || null };
  if (first === "join" && second) return { view: "join", token: second };
  if (first === "register") return { view: "register" };
  return { view: "chat", conversation: null };
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray % in an address is a stray %
  }
}

class Router {
  place = $state<Place>(placeOf(location.pathname));
  /** What the address says behind its "?". */
  search = $state(location.search);

  constructor() {
    window.addEventListener("popstate", () => this.read());
  }

  go(path: string, { replace = false } = {}): void {
    if (path !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"](null, "", path);
    this.read();
  }

  private read(): void {
    this.place = placeOf(location.pathname);
    this.search = location.search;
  }
}

export const router = new Router();

/** For `onclick` of links: a plain click moves within the page, any other click is the browser's. */
export function within(event: MouseEvent): void {
  const link = event.currentTarget as HTMLAnchorElement;
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  router.go(link.pathname + link.search);
}
