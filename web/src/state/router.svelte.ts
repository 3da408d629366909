// Which view the address asks for. A single page: moving between views loads nothing anew.

export type Place =
  | { view: "chat"; conversation: string | null }
  | { view: "library" }
  | { view: "models" }
  | { view: "shared"; token: string };

export function placeOf(path: string): Place {
  const [first, second] = path.split("/").filter(Boolean);
  if (first === "c" && second) return { view: "chat", conversation: second };
  if (first === "library") return { view: "library" };
  if (first === "models") return { view: "models" };
  if (first === "shared" && second) return { view: "shared", token: second };
  return { view: "chat", conversation: null };
}

class Router {
  place = $state<Place>(placeOf(location.pathname));

  constructor() {
    window.addEventListener("popstate", () => (this.place = placeOf(location.pathname)));
  }

  go(path: string, { replace = false } = {}): void {
    if (path !== location.pathname) history[replace ? "replaceState" : "pushState"](null, "", path);
    this.place = placeOf(path);
  }
}

export const router = new Router();

/** For `onclick` of links: a plain click moves within the page, any other click is the browser's. */
export function within(event: MouseEvent): void {
  const link = event.currentTarget as HTMLAnchorElement;
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  router.go(link.pathname);
}
