// What the administration asks of the server, each in one line; what it refuses is thrown as an ApiError.
import { client, ok, type Schemas } from "../api/client";

export type ApiKey = Schemas["ApiKey"];
export type AuditEntry = Schemas["AuditEntry"];
export type BrowserSession = Schemas["BrowserSession"];
export type CatalogueModel = Schemas["CatalogueModel"];
export type Deployment = Schemas["Deployment"];
export type DeploymentList = Schemas["DeploymentList"];
export type Invitation = Schemas["Invitation"];
export type Lifecycle = Schemas["Lifecycle"];
export type Member = Schemas["Member"];
export type MemoryFit = Schemas["MemoryFit"];
export type Offering = Schemas["Offering"];
export type Organisation = Schemas["Organisation"];
export type Policy = Schemas["RoutingPolicy"];
export type Price = Schemas["Price"];
export type Provider = Schemas["Provider"];
export type ProviderCheck = Schemas["ProviderCheck"];
export type RouteExplanation = Schemas["RouteExplanation"];
export type Settings = Schemas["InstallationSettings"];
export type Workspace = Schemas["Workspace"];

// ── catalogue ─────────────────────────────────────────────────────────────────────────────────────────────────────

const named = (name: string) => ({ params: { path: { name } } });

export const catalogue = async () => (await ok(client.GET("/v1/catalogue"))).data;
export const setLifecycle = (name: string, body: Schemas["LifecycleChange"]) =>
  ok(client.PUT("/v1/catalogue/{name}/lifecycle", { ...named(name), body }));
export const acceptLicence = (name: string) => ok(client.POST("/v1/catalogue/{name}/licence", named(name)));
/** Where requests for a model would go, as if these were the workspace's rules. */
export const tryRoute = (model: string, policy: Policy) => ok(client.POST("/v1/route", { body: { model, policy } }));

// ── deployments ───────────────────────────────────────────────────────────────────────────────────────────────────

const deployed = (deployment_id: string) => ({ params: { path: { deployment_id } } });

export const deployments = () => ok(client.GET("/v1/deployments"));
export const deploy = (body: Schemas["DeploymentDraft"]) => ok(client.POST("/v1/deployments", { body }));
export const startDeployment = (id: string) => ok(client.POST("/v1/deployments/{deployment_id}/start", deployed(id)));
export const stopDeployment = (id: string) => ok(client.POST("/v1/deployments/{deployment_id}/stop", deployed(id)));
export const deleteDeployment = (id: string) => ok(client.DELETE("/v1/deployments/{deployment_id}", deployed(id)));

// ── providers, offerings, prices ──────────────────────────────────────────────────────────────────────────────────

const provided = (provider_id: string) => ({ params: { path: { provider_id } } });
const offered = (offering_id: string) => ({ params: { path: { offering_id } } });

export const providers = async () => (await ok(client.GET("/v1/providers"))).data;
export const addProvider = (body: Schemas["ProviderDraft"]) => ok(client.POST("/v1/providers", { body }));
export const changeProvider = (id: string, body: Schemas["ProviderChange"]) =>
  ok(client.PATCH("/v1/providers/{provider_id}", { ...provided(id), body }));
export const checkProvider = (id: string) => ok(client.POST("/v1/providers/{provider_id}/check", provided(id)));
export const offerings = async () => (await ok(client.GET("/v1/offerings"))).data;
export const addOffering = (body: Schemas["OfferingDraft"]) => ok(client.POST("/v1/offerings", { body }));
export const changeOffering = (id: string, body: Schemas["OfferingChange"]) =>
  ok(client.PATCH("/v1/offerings/{offering_id}", { ...offered(id), body }));
export const prices = async (id: string) => (await ok(client.GET("/v1/offerings/{offering_id}/prices", offered(id)))).data;
export const setPrice = (id: string, body: Schemas["PriceDraft"]) =>
  ok(client.POST("/v1/offerings/{offering_id}/prices", { ...offered(id), body }));
export const takeBackPrice = (price_id: string) =>
  ok(client.DELETE("/v1/prices/{price_id}", { params: { path: { price_id } } }));

// ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const keyed = (key_id: string) => ({ params: { path: { key_id } } });

export const keys = async () => (await ok(client.GET("/v1/keys"))).data;
export const createKey = (body: Schemas["ApiKeyDraft"]) => ok(client.POST("/v1/keys", { body }));
export const changeKey = (id: string, body: Schemas["ApiKeyChange"]) => ok(client.PATCH("/v1/keys/{key_id}", { ...keyed(id), body }));
export const rotateKey = (id: string, overlap_hours: number) =>
  ok(client.POST("/v1/keys/{key_id}/rotate", { ...keyed(id), body: { overlap_hours } }));
export const revokeKey = (id: string) => ok(client.DELETE("/v1/keys/{key_id}", keyed(id)));

// ── members, organisations, workspaces ────────────────────────────────────────────────────────────────────────────

const ofUser = (user_id: string) => ({ params: { path: { user_id } } });

export const members = async () => (await ok(client.GET("/v1/members"))).data;
export const changeRole = (id: string, role: Member["role"]) =>
  ok(client.PATCH("/v1/members/{user_id}", { ...ofUser(id), body: { role } }));
export const removeMember = (id: string) => ok(client.DELETE("/v1/members/{user_id}", ofUser(id)));
export const invitations = async () => (await ok(client.GET("/v1/invitations"))).data;
export const invite = (body: Schemas["InvitationDraft"]) => ok(client.POST("/v1/invitations", { body }));
export const revokeInvitation = (invitation_id: string) =>
  ok(client.DELETE("/v1/invitations/{invitation_id}", { params: { path: { invitation_id } } }));

export const renameOrganisation = (name: string) => ok(client.PATCH("/v1/organisation", { body: { name } }));
export const organisations = async () => (await ok(client.GET("/v1/organisations"))).data;
export const createOrganisation = (name: string) => ok(client.POST("/v1/organisations", { body: { name } }));

export const workspaces = async () => (await ok(client.GET("/v1/workspaces"))).data;
export const createWorkspace = (name: string) => ok(client.POST("/v1/workspaces", { body: { name } }));
export const changeWorkspace = (workspace_id: string, body: Schemas["WorkspaceChange"]) =>
  ok(client.PATCH("/v1/workspaces/{workspace_id}", { params: { path: { workspace_id } }, body }));

// ── audit, settings, oneself ──────────────────────────────────────────────────────────────────────────────────────

export const audit = (query: { before?: number | null; limit?: number; action?: string | null; actor?: string | null }) =>
  ok(client.GET("/v1/audit", { params: { query } }));
export const verifyAudit = () => ok(client.GET("/v1/audit/verification"));
export const settings = () => ok(client.GET("/v1/settings"));
export const changeSettings = (body: Schemas["InstallationSettingsChange"]) => ok(client.PATCH("/v1/settings", { body }));
export const changeMe = (body: Schemas["MeChange"]) => ok(client.PATCH("/v1/me", { body }));
export const changePassword = (body: Schemas["PasswordChange"]) => ok(client.PUT("/v1/me/password", { body }));
export const chooseWorkspace = (workspace_id: string) => ok(client.PUT("/v1/me/workspace", { body: { workspace_id } }));
export const browserSessions = async () => (await ok(client.GET("/v1/me/sessions"))).data;
export const endBrowserSession = (session_id: string) =>
  ok(client.DELETE("/v1/me/sessions/{session_id}", { params: { path: { session_id } } }));
