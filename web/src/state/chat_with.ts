import { opened } from "./conversation.svelte";
import { router } from "./router.svelte";
import { session } from "./session.svelte";

/** Begins a new conversation with a model. */
export function chatWith(model: string): void {
  session.prefer(model);
  opened.startAnew();
  router.go("/");
}
