// The console's pages: their names in the address, who may see them, and where their code is.
import type { Component } from "svelte";

import type { IconName } from "../components/icons";
import { m } from "../i18n";
import type { Permission } from "./may";

export interface PageProps extends Record<string, unknown> {
  /** The button that shows the navigation on narrow screens, for the page's head. */
  menu: import("svelte").Snippet;
  /** What comes after the page in the address. */
  item: string | null;
}

export interface ConsolePage {
  name: string;
  title: () => string;
  icon: IconName;
  /** One of these; none: everybody. */
  needs: Permission[];
  load: () => Promise<{ default: Component<PageProps> }>;
}

export interface Section {
  title: (() => string) | null;
  pages: ConsolePage[];
}

export const SECTIONS: readonly Section[] = [
  {
    title: null,
    pages: [{ name: "overview", title: m.nav_overview, icon: "gauge", needs: [], load: () => import("./pages/Overview.svelte") }],
  },
  {
    title: m.nav_models,
    pages: [
      { name: "catalogue", title: m.nav_catalogue, icon: "cube", needs: [], load: () => import("./pages/Catalogue.svelte") },
      { name: "deployments", title: m.nav_deployments, icon: "server", needs: ["operate"], load: () => import("./pages/Deployments.svelte") },
      { name: "providers", title: m.nav_providers, icon: "building", needs: ["operate"], load: () => import("./pages/Providers.svelte") },
    ],
  },
  {
    title: m.nav_access,
    pages: [
      { name: "keys", title: m.nav_keys, icon: "key", needs: ["own_keys", "keys"], load: () => import("./pages/Keys.svelte") },
      { name: "members", title: m.nav_members, icon: "users", needs: ["members"], load: () => import("./pages/Members.svelte") },
      { name: "workspaces", title: m.nav_workspaces, icon: "columns", needs: ["workspaces"], load: () => import("./pages/Workspaces.svelte") },
    ],
  },
  {
    title: m.nav_money,
    pages: [
      { name: "usage", title: m.nav_usage, icon: "chart", needs: ["usage"], load: () => import("./pages/Usage.svelte") },
      { name: "billing", title: m.nav_billing, icon: "wallet", needs: ["billing"], load: () => import("./pages/Billing.svelte") },
      { name: "limits", title: m.nav_limits, icon: "sliders", needs: ["limits"], load: () => import("./pages/Limits.svelte") },
    ],
  },
  {
    title: m.nav_installation,
    pages: [
      { name: "audit", title: m.nav_audit, icon: "shield", needs: ["audit"], load: () => import("./pages/Audit.svelte") },
      { name: "settings", title: m.nav_settings, icon: "settings", needs: [], load: () => import("./pages/Settings.svelte") },
    ],
  },
];
