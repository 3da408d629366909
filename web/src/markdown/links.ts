// Which addresses a link in an answer may have.
const SCHEMES = ["http:", "https:", "mailto:"];

/** The address as the browser will read it, or null for one that is not followed: other schemes, and relative ones, which would lead into this server. */
export function safeHref(address: string): string | null {
  try {
    const url = new URL(address);
    return SCHEMES.includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
