// Elements from words. Whatever is not an element becomes a text node, so that a text of a vendor's is
// never more than text.

// h("td.number", { title: "…" }, children…). Functions under `on…` become listeners; false and null are left out.
export function h(what, attributes = {}, ...children) {
  const [name, ...classes] = what.split(".");
  const element = document.createElement(name);
  if (classes.length > 0) element.className = classes.join(" ");
  for (const [attribute, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (attribute.startsWith("on")) element.addEventListener(attribute.slice(2), value);
    else element.setAttribute(attribute, value === true ? "" : String(value));
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false && child !== "")
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

// Puts new content in place of the old, and the focus back where it was.
export function replace(element, ...children) {
  const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
  element.replaceChildren(...nodes(children));
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

// The width of a bar, from 0 to 1. Set by script: the policy lets no element bring a style of its own.
export function bar(share) {
  const filled = h("span.fill");
  filled.style.setProperty("--share", String(Math.max(0, Math.min(1, share))));
  return h("span.gauge", { "aria-hidden": "true" }, filled);
}
