// LaTeX to MathML, which browsers draw themselves: no fonts and no inline styles to load. Temml makes a tree; what of it
// is known here is built, node by node. Loaded when the first formula is shown.
const MATHML = "http://www.w3.org/1998/Math/MathML";

const ELEMENTS = new Set(
  ("math mrow mi mn mo ms mspace mtext mfrac msqrt mroot mstyle mpadded mphantom msub msup msubsup munder mover munderover " +
    "mmultiscripts mprescripts none mtable mtr mtd menclose").split(" "),
);
const ATTRIBUTES = new Set(
  ("display displaystyle scriptlevel mathvariant mathcolor mathbackground accent accentunder fence separator stretchy symmetric form " +
    "lspace rspace minsize maxsize movablelimits largeop width height depth voffset linethickness columnalign rowspacing " +
    "columnspacing notation columnspan rowspan").split(" "),
);
const STYLES = new Set(
  ("padding padding-top padding-right padding-bottom padding-left text-align math-depth font-weight font-style border border-top " +
    "border-right border-bottom border-left color background-color width margin-left").split(" "),
);
const HARMLESS = /^[\w\s.,%#+()-]*$/;
const PIECES = 20_000; // of one formula; macros can make many of few
const LIMITS = { trust: false, strict: false, maxExpand: 200, maxSize: [40, 400] as [number, number], throwOnError: true };

interface TreeNode {
  type?: string;
  text?: string;
  attributes?: Record<string, unknown>;
  classes?: string[];
  style?: Record<string, unknown>;
  children?: TreeNode[];
}

/** The formula as elements, or null for what is no LaTeX. */
export async function renderFormula(tex: string, display: boolean): Promise<Element | null> {
  const { default: temml } = await import("temml");
  let tree: TreeNode;
  try {
    tree = temml.__renderToMathMLTree(tex, { ...LIMITS, displayMode: display }) as TreeNode;
  } catch {
    return null;
  }
  const budget = { left: PIECES };
  const made = build(tree, budget);
  return made instanceof Element && budget.left > 0 ? made : null;
}

function build(node: TreeNode, budget: { left: number }): Node {
  budget.left -= 1;
  if (budget.left <= 0) return document.createDocumentFragment();
  if (node.type === undefined && node.text !== undefined) return document.createTextNode(node.text);
  const known = node.type !== undefined && ELEMENTS.has(node.type);
  const made = known ? document.createElementNS(MATHML, node.type ?? "mrow") : document.createDocumentFragment();
  if (made instanceof Element) dress(made as MathMLElement, node);
  made.append(...(node.children ?? []).map((child) => build(child, budget)));
  return made;
}

function dress(element: MathMLElement, node: TreeNode): void {
  for (const [name, value] of Object.entries(node.attributes ?? {})) {
    if (ATTRIBUTES.has(name) && HARMLESS.test(String(value))) element.setAttribute(name, String(value));
  }
  const classes = (node.classes ?? []).filter((name) => /^tml-[\w-]+$/.test(name));
  if (classes.length > 0) element.setAttribute("class", classes.join(" "));
  // By the object model, which the policy on styles allows; not by an attribute, which it does not.
  for (const [name, value] of Object.entries(node.style ?? {})) {
    const property = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    if (STYLES.has(property) && HARMLESS.test(String(value))) element.style.setProperty(property, String(value));
  }
}
