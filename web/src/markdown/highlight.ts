// Colours for code: lowlight's tree, without HTML in between. Loaded when the first code with a known language is shown.
export interface Coloured {
  text: string;
  /** Names of classes, such as hljs-keyword. */
  classes: string;
}

const LONGEST = 100_000; // characters; more would make the page wait

interface TreeNode {
  type: string;
  value?: string;
  properties?: { className?: unknown };
  children?: TreeNode[];
}

/** The pieces of a code, each with its classes; null where the language is not known. */
export async function highlight(text: string, language: string): Promise<Coloured[] | null> {
  if (text.length > LONGEST || language === "") return null;
  const { lowlight } = await import("./languages");
  const name = language.toLowerCase();
  if (!lowlight.registered(name)) return null;
  return flatten(lowlight.highlight(name, text), "");
}

function flatten(node: TreeNode, classes: string): Coloured[] {
  if (node.type === "text") return [{ text: node.value ?? "", classes }];
  const names = node.properties?.className;
  const own = Array.isArray(names) ? names.filter((name) => typeof name === "string" && /^[\w-]+$/.test(name)).join(" ") : "";
  const all = own === "" ? classes : own; // the innermost alone says what a piece is
  return (node.children ?? []).flatMap((child) => flatten(child, all));
}
