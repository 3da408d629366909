// What the pages of usage and money ask of the server, each in one line; what it refuses is thrown as an ApiError.
import { client, ok, type Schemas } from "../api/client";

export type BillingOverview = Schemas["BillingOverview"];
export type Budget = Schemas["BudgetBody"];
export type Limit = Schemas["LimitBody"];
export type Lot = Schemas["Lot"];
export type LotDetail = Schemas["LotDetail"];
export type Statement = Schemas["Statement"];
export type Transfer = Schemas["TransferBody"];
export type UsageGroup = Schemas["UsageGroup"];
export type UsageReport = Schemas["UsageReport"];
export type UsageRequest = Schemas["UsageRequest"];
export type GroupedBy = UsageReport["by"];

/** Whose requests: of one model, key or workspace; of all where nothing is said. */
export interface UsageFilter {
  model?: string | null;
  key_id?: string | null;
  workspace_id?: string | null;
}

export const usage = (query: UsageFilter & { start: string; end: string; by: GroupedBy }) => ok(client.GET("/v1/usage", { params: { query } }));
export const usageRequests = (query: UsageFilter & { before?: string | null; limit?: number }) =>
  ok(client.GET("/v1/usage/requests", { params: { query } }));
export const usageExport = (start: string, end: string): string => `/v1/usage/export?start=${start}&end=${end}`;

const lotted = (lot_id: string) => ({ params: { path: { lot_id } } });

export const billing = () => ok(client.GET("/v1/billing"));
export const lots = async () => (await ok(client.GET("/v1/billing/lots"))).data;
export const lot = (id: string) => ok(client.GET("/v1/billing/lots/{lot_id}", lotted(id)));
export const createLot = (body: Schemas["LotDraft"]) => ok(client.POST("/v1/billing/lots", { body }));
export const cancelLot = (id: string) => ok(client.POST("/v1/billing/lots/{lot_id}/cancel", lotted(id)));
export const setPayAsYouGo = (organisation_id: string | null, monthly_cap: number | null) =>
  ok(client.PUT("/v1/billing/pay-as-you-go", { body: { organisation_id, monthly_cap } }));
export const transfers = (before: string | null) => ok(client.GET("/v1/billing/transfers", { params: { query: { before } } }));

export const statements = async () => (await ok(client.GET("/v1/billing/statements"))).data;
export const statement = (month: string) => ok(client.GET("/v1/billing/statements/{month}", { params: { path: { month } } }));
export const statementExport = (month: string, format: "csv" | "pdf"): string => `/v1/billing/statements/${encodeURIComponent(month)}/${format}`;

export const budgets = async () => (await ok(client.GET("/v1/billing/budgets"))).data;
export const createBudget = (body: Schemas["BudgetDraft"]) => ok(client.POST("/v1/billing/budgets", { body }));
export const deleteBudget = (budget_id: string) => ok(client.DELETE("/v1/billing/budgets/{budget_id}", { params: { path: { budget_id } } }));

export const limits = async () => (await ok(client.GET("/v1/limits"))).data;
export const setLimit = (limit: Limit, body: Schemas["LimitChange"]) =>
  ok(client.PUT("/v1/limits/{scope}/{scope_id}", { params: { path: { scope: limit.scope, scope_id: limit.scope_id } }, body }));
