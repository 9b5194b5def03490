// What several views are made of: headings, tables, pages, dialogs.

import { h } from "./dom.js";
import { here, to } from "./route.js";
import { capital, item } from "./words.js";

export function heading(title, { above, beside, lead } = {}) {
  return h("div.heading", {},
    above && h("p.above", {}, h("a", { href: above.href }, "← ", above.words)),
    h("div.title", {}, h("h1", { id: "title", tabindex: "-1" }, title), beside && h("div.actions", {}, beside)),
    lead && h("p.lead", {}, lead));
}

// Columns are { name, cell, kind }; the kind is a class, such as `number`. On a narrow screen each row becomes
// a card and each cell bears its column's name. The roles are said since layout takes them away.
export function table(caption, columns, rows) {
  const head = columns.map(({ name, kind = "", hint, hidden }) =>
    h("th", { role: "columnheader", scope: "col", class: kind || null, title: hint },
      hidden ? h("span.unseen", {}, name) : name));
  const line = (row) => h("tr", { role: "row", class: row.tone ? `tone-${row.tone}` : null },
    columns.map(({ name, cell, kind = "", hidden }) =>
      h("td", { role: "cell", class: kind || null, "data-name": hidden ? null : name }, cell(row))));
  return h("div.scroll", {},
    h("table", { role: "table" },
      h("caption.unseen", {}, caption),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
      h("tbody", { role: "rowgroup" }, rows.map(line))));
}

export const pill = (tone, words) => h(`span.pill.${tone}`, {}, words);

export function empty(words, more) {
  return h("div.empty", {}, h("p", {}, words), more && h("p.quiet", {}, more));
}

export const notice = (tone, ...words) => h(`div.notice.${tone}`, {}, words);

// Links to the first and to the next page; nothing where all is on one.
export function pages(next) {
  const { names, parameters } = here();
  if (!next && !parameters.cursor) return null;
  return h("nav.pages", { "aria-label": "Pages" },
    parameters.cursor ? h("a", { href: to(names, { ...parameters, cursor: "" }) }, "← First page") : h("span", {}),
    next && h("a", { href: to(names, { ...parameters, cursor: next }), rel: "next" }, "Next page →"));
}

// The same place with other parameters, from its first page.
export function filtered(changes) {
  const { names, parameters } = here();
  return to(names, { ...parameters, cursor: "", ...changes });
}

// Somebody or something that an id names, with the way to a person's story.
export function named(id) {
  const { kind, id: name, group } = item(id);
  if (kind === "member") return [kindOf("Member"), person(name), h("span.quiet", {}, " in group "), h("span.id", {}, group)];
  return [kindOf(capital(kind || "Item")), kind === "user" ? person(name) : h("span.id", {}, name)];
}

export const kindOf = (word) => h("span.kind", {}, word);
export const person = (id) => h("a.id", { href: to(["people"], { q: id }) }, id);

export function button(words, onclick, { id, tone = "", label } = {}) {
  return h("button", { type: "button", class: tone || null, id, "aria-label": label, onclick }, words);
}

// Asks before something is done. Resolves to what was typed as a reason (perhaps nothing), or to null.
export function ask({ title, words, action, tone = "", reason = false }) {
  return new Promise((resolve) => {
    const text = h("input", { type: "text", id: "reason", maxlength: "300", autocomplete: "off" });
    const dialog = h("dialog", { "aria-labelledby": "asked" },
      h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); close(text.value); } },
        h("h2", { id: "asked" }, title),
        h("p", {}, words),
        reason && h("label", { for: "reason" }, "Why, for the ledger"),
        reason && text,
        h("div.actions", {},
          h("button", { type: "button", onclick: () => close(null) }, "Leave it"),
          h("button", { type: "submit", class: tone || "primary", id: "confirm" }, action))));
    function close(answer) {
      dialog.close();
      dialog.remove();
      resolve(answer);
    }
    dialog.addEventListener("cancel", (event) => { event.preventDefault(); close(null); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

// Hands a file to the person. It was fetched with the key, which a plain link could not bear.
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
