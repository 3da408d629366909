// Who is signed in, and which models there are.
import * as server from "./server";
import type { Me, Model } from "./server";
import { onSignedOut } from "../api/client";
import { remember, remembered } from "../lib/storage";

const POLL_MILLISECONDS = 2000;

class Session {
  me = $state<Me | null>(null);
  isSignedOut = $state(false);
  models = $state<Model[]>([]);
  private polling: number | undefined;
  private chosen = remembered("model") ?? "";

  constructor() {
    onSignedOut(() => {
      this.isSignedOut = true;
      this.me = null;
    });
  }

  get chatModels(): Model[] {
    return this.models.filter((model) => model.capabilities.completion_chat);
  }

  model(name: string): Model | undefined {
    return this.models.find((model) => model.id === name);
  }

  /** The model of a new conversation: the one chosen last, if it is still there. */
  get preferred(): string {
    const able = this.chatModels;
    return (able.find((model) => model.id === this.chosen) ?? able[0])?.id ?? "";
  }

  prefer(model: string): void {
    this.chosen = model;
    remember("model", model);
  }

  async open(): Promise<void> {
    this.me = await server.me();
    await this.readModels();
  }

  async readModels(): Promise<void> {
    this.models = await server.models();
    window.clearTimeout(this.polling);
    if (this.models.some((model) => model.state === "loading")) {
      this.polling = window.setTimeout(() => void this.readModels().catch(() => this.pollLater()), POLL_MILLISECONDS);
    }
  }

  private pollLater(): void {
    this.polling = window.setTimeout(() => void this.readModels().catch(() => this.pollLater()), 2 * POLL_MILLISECONDS);
  }

  async signOut(): Promise<void> {
    await server.signOut();
    location.assign("/");
  }
}

export const session = new Session();
