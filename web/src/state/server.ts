// What the app asks of the server, each in one line; what it refuses is thrown as an ApiError.
import { ApiError, client, ok, type Schemas } from "../api/client";
import { eventsPath, followAnswer, type AnswerHandlers } from "../api/events";

export type { AnswerDelta, Message } from "../api/events";
export type Me = Schemas["Me"];
export type Model = Schemas["Card"];
export type ConversationHead = Schemas["ConversationHead"];
export type Conversation = Schemas["ConversationBody"];
export type DocumentHead = Schemas["DocumentHead"];
export type DocumentText = Schemas["DocumentText"];
export type GivenDocument = Schemas["GivenDocument"];
export type Quote = Schemas["QuoteBody"];
export type Span = Schemas["Span"];
export type ToolCall = Schemas["ToolCallBody"];
export type Preset = Schemas["PresetBody"];

/** How answers of a conversation are made; null is the server's default. */
export interface Settings {
  model: string;
  system_prompt: string;
  temperature: number | null;
  max_tokens: number | null;
  quotes: boolean;
  tools: Conversation["tools"];
}

type Message = Schemas["MessageBody"];

export const me = () => ok(client.GET("/v1/me"));
export const models = async (): Promise<Model[]> => (await ok(client.GET("/v1/models"))).data;

export async function signOut(): Promise<void> {
  await fetch("/sign-out", { method: "POST" });
}

// ── coming in ─────────────────────────────────────────────────────────────────────────────────────────────────────

export const signInOptions = () => ok(client.GET("/v1/sign-in/options"));
export const signIn = (body: Schemas["SignIn"]) => ok(client.POST("/v1/sign-in", { body }));
export const register = (body: Schemas["Registration"]) => ok(client.POST("/v1/register", { body }));
export const invitation = (token: string) => ok(client.GET("/v1/join/{token}", { params: { path: { token } } }));
export const join = (token: string, body: Schemas["InvitationAcceptance"]) =>
  ok(client.POST("/v1/join/{token}", { params: { path: { token } }, body }));

// ── conversations ─────────────────────────────────────────────────────────────────────────────────────────────────

const at = (conversation_id: string) => ({ params: { path: { conversation_id } } });

export const conversations = (query = "", before: string | null = null) =>
  ok(client.GET("/v1/conversations", { params: { query: { query, before } } }));
export const create = (body: Schemas["ConversationDraft"]) => ok(client.POST("/v1/conversations", { body }));
export const conversation = (id: string) => ok(client.GET("/v1/conversations/{conversation_id}", at(id)));
export const change = (id: string, body: Schemas["ConversationChange"]) =>
  ok(client.PATCH("/v1/conversations/{conversation_id}", { ...at(id), body }));
export const remove = (id: string) => ok(client.DELETE("/v1/conversations/{conversation_id}", at(id)));
export const messages = (conversation_id: string, before: string | null = null) =>
  ok(
    client.GET("/v1/conversations/{conversation_id}/messages", {
      params: { path: { conversation_id }, query: { before } },
    }),
  );
export const ask = (id: string, body: Schemas["Question"]) =>
  ok(client.POST("/v1/conversations/{conversation_id}/questions", { ...at(id), body }));
export const answerAnew = (id: string, question_id: string, model?: string): Promise<Message> =>
  ok(client.POST("/v1/conversations/{conversation_id}/answers", { ...at(id), body: { question_id, model: model ?? null } }));
export const goOn = (conversation_id: string, answer_id: string): Promise<Message> =>
  ok(
    client.POST("/v1/conversations/{conversation_id}/answers/{answer_id}/continue", {
      params: { path: { conversation_id, answer_id } },
    }),
  );
export const stop = (conversation_id: string, answer_id: string): Promise<Message> =>
  ok(
    client.POST("/v1/conversations/{conversation_id}/answers/{answer_id}/stop", {
      params: { path: { conversation_id, answer_id } },
    }),
  );

export const follow = (id: string, answer: string, handlers: AnswerHandlers, signal: AbortSignal): Promise<void> =>
  followAnswer(eventsPath(id, answer), handlers, signal);

export const exportPath = (id: string, format: "json" | "markdown"): string =>
  `/v1/conversations/${encodeURIComponent(id)}/export?format=${format}`;

// ── sharing ───────────────────────────────────────────────────────────────────────────────────────────────────────

export const share = (id: string) => ok(client.POST("/v1/conversations/{conversation_id}/shares", at(id)));
export const revoke = (conversation_id: string, share_id: string) =>
  ok(
    client.DELETE("/v1/conversations/{conversation_id}/shares/{share_id}", {
      params: { path: { conversation_id, share_id } },
    }),
  );
export const shared = (token: string) => ok(client.GET("/v1/shared/{token}", { params: { path: { token } } }));

// ── documents ─────────────────────────────────────────────────────────────────────────────────────────────────────

export async function upload(file: File): Promise<DocumentHead> {
  let response: Response;
  try {
    response = await fetch(`/v1/documents?name=${encodeURIComponent(file.name)}`, {
      method: "POST",
      body: file,
      headers: { "content-type": "application/octet-stream" },
    });
  } catch {
    throw ApiError.unreachable();
  }
  if (!response.ok) throw await ApiError.of(response);
  return (await response.json()) as DocumentHead;
}

export const documents = (query = "", before: string | null = null) =>
  ok(client.GET("/v1/documents", { params: { query: { query, before } } }));
export const document = (document_id: string) =>
  ok(client.GET("/v1/documents/{document_id}", { params: { path: { document_id } } }));
export const removeDocument = (document_id: string) =>
  ok(client.DELETE("/v1/documents/{document_id}", { params: { path: { document_id } } }));

// ── presets ───────────────────────────────────────────────────────────────────────────────────────────────────────

export const presets = async (): Promise<Preset[]> => (await ok(client.GET("/v1/presets"))).data;
export const keepPreset = (body: Schemas["PresetDraft"]) => ok(client.POST("/v1/presets", { body }));
export const removePreset = (preset_id: string) =>
  ok(client.DELETE("/v1/presets/{preset_id}", { params: { path: { preset_id } } }));
