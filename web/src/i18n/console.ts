// The messages of the console: two groups, loaded with it.
import { addMessages } from "./i18n.svelte";

const MONEY = {
  en: () => import("../../messages/console-money/en.json"),
  fr: () => import("../../messages/console-money/fr.json"),
  de: () => import("../../messages/console-money/de.json"),
  es: () => import("../../messages/console-money/es.json"),
  it: () => import("../../messages/console-money/it.json"),
};

const ADMIN = {
  en: () => import("../../messages/console-admin/en.json"),
  fr: () => import("../../messages/console-admin/fr.json"),
  de: () => import("../../messages/console-admin/de.json"),
  es: () => import("../../messages/console-admin/es.json"),
  it: () => import("../../messages/console-admin/it.json"),
};

export async function addConsoleMessages(): Promise<void> {
  await Promise.all([addMessages<"console-money">(MONEY), addMessages<"console-admin">(ADMIN)]);
}
