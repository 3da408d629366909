// What a page reads from the server: asked for when the page opens, and anew when what the question depends on changes.

/** What was asked for, and how it stands. While it is read again, the former answer stays. */
export class Resource<T> {
  data = $state.raw<T | null>(null);
  problem = $state.raw<unknown>(null);
  isLoading = $state(false);
  private asked = 0;

  constructor(private readonly read: () => Promise<T>) {}

  /** Asks again; once it has resolved, `data` is the new answer or `problem` says why there is none. */
  reload = async (): Promise<void> => {
    const turn = ++this.asked; // an answer to an earlier question must not replace a later one's
    this.isLoading = true;
    try {
      const data = await this.read();
      if (turn === this.asked) [this.data, this.problem] = [data, null];
    } catch (error) {
      if (turn === this.asked) this.problem = error;
    } finally {
      if (turn === this.asked) this.isLoading = false;
    }
  };
}

/**
 * For a component's script: reads at once, again when state that `read` uses before its first `await` changes, and,
 * with `every`, each so many milliseconds while the page can be seen; a pace that depends on state is a function.
 */
export function load<T>(read: () => Promise<T>, { every }: { every?: number | (() => number) } = {}): Resource<T> {
  const resource = new Resource(read);
  $effect(() => {
    void resource.reload();
  });
  if (every !== undefined) $effect(() => repeat(resource, typeof every === "function" ? every() : every));
  return resource;
}

/** Each pause begins with an answer: a slow server is not asked faster than it answers. */
function repeat(resource: Resource<unknown>, milliseconds: number): () => void {
  let timer: number | undefined;
  let isOver = false;
  const next = (): void => {
    window.clearTimeout(timer);
    if (!isOver && document.visibilityState === "visible") timer = window.setTimeout(ask, milliseconds);
  };
  const ask = (): void => void (resource.isLoading ? Promise.resolve() : resource.reload()).then(next);
  const onvisibility = (): void => {
    window.clearTimeout(timer);
    if (document.visibilityState === "visible") void resource.reload().then(next);
  };
  document.addEventListener("visibilitychange", onvisibility);
  next();
  return () => {
    isOver = true;
    window.clearTimeout(timer);
    document.removeEventListener("visibilitychange", onvisibility);
  };
}
