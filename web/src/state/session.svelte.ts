// Who is signed in, and which models there are.
import * as server from "./server";
import type { Me, Model } from "./server";
import { ApiError } from "../api/client";

const POLL_MILLISECONDS = 2000;

class Session {
  me = $state<Me | null>(null);
  isSignedOut = $state(false);
  models = $state<Model[]>([]);
  private polling: number | undefined;

  get chatModels(): Model[] {
    return this.models.filter((model) => model.capabilities.completion_chat);
  }

  model(name: string): Model | undefined {
    return this.models.find((model) => model.id === name);
  }

  /** The model of a new conversation: the one chosen last, if it is still there. */
  get preferred(): string {
    const last = localStorage.getItem("tramontane.model") ?? "";
    const able = this.chatModels;
    return (able.find((model) => model.id === last) ?? able[0])?.id ?? "";
  }

  prefer(model: string): void {
    localStorage.setItem("tramontane.model", model);
  }

  async open(): Promise<void> {
    try {
      this.me = await server.me();
      await this.readModels();
    } catch (error) {
      if (!this.noteSignedOut(error)) throw error;
    }
  }

  /** Whether the error says that nobody is signed in. */
  noteSignedOut(error: unknown): boolean {
    if (!(error instanceof ApiError) || error.status !== 401) return false;
    this.isSignedOut = true;
    this.me = null;
    return true;
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
