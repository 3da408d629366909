// Regions as the server has them: countries by their codes, and EU and EEA.
import { language, m } from "../i18n";

/** "France (FR)"; what is no country's code is shown as it is, and no region is said to be undeclared. */
export function regionOf(code: string | null | undefined): string {
  if (!code) return m.region_undeclared();
  if (code === "EU") return m.region_eu();
  if (code === "EEA") return m.region_eea();
  return `${countryOf(code)} (${code})`;
}

function countryOf(code: string): string {
  try {
    return new Intl.DisplayNames([language()], { type: "region" }).of(code) ?? code;
  } catch {
    return code; // no code at all
  }
}
