// What the guard holds until somebody decides.

import { get, query } from "../api.js";
import { h } from "../dom.js";
import { empty, filtered, heading, pages, pill, table } from "../parts.js";
import { to } from "../route.js";
import { ago, ahead, capital, count } from "../words.js";

const STATES = ["open", "expired", "approved", "rejected", "withdrawn"];
const TONES = { open: "warn", expired: "bad", approved: "good", rejected: "calm", withdrawn: "calm" };

export const statePill = (state) => pill(TONES[state] ?? "calm", capital(state));

export function load({ parameters: { target, state, cursor } }, signal) {
  return get(query("/holds", { target, state, cursor, limit: 100 }), signal);
}

export function show({ items, next_cursor }, { place: { parameters } }) {
  const tab = (state, words) => h("a", {
    href: filtered({ state }), id: `state-${state || "all"}`, "aria-current": (parameters.state ?? "") === state ? "true" : null,
  }, words);
  return [
    heading("Holds", { lead: "More was to be taken away than the guard lets through at once. Nothing of it happens until somebody agrees." }),
    h("nav.tabs", { "aria-label": "States" }, tab("", "All"), STATES.map((state) => tab(state, capital(state)))),
    parameters.target && h("p", {}, `Of ${parameters.target} alone. `, h("a", { href: filtered({ target: "" }) }, "Of all targets")),
    items.length === 0
      ? empty("Nothing is held.", "When a source says that many have left at once, their accounts wait here.")
      : table("Holds", COLUMNS, items),
    pages(next_cursor),
  ];
}

const COLUMNS = [
  { name: "Hold", kind: "head", cell: ({ id, target }) => h("a.name", { href: to(["holds", String(id)]), id: `hold-${id}` }, `${target} #${id}`) },
  { name: "State", cell: ({ state }) => statePill(state) },
  { name: "Why", kind: "wide reason", cell: ({ reason }) => reason },
  { name: "Waiting", kind: "number", cell: ({ items }) => count(items.held) },
  { name: "Decided", kind: "number", cell: ({ items }) => count(items.approved + items.rejected + items.withdrawn) },
  { name: "Opened", kind: "time", cell: ({ created_at }) => ago(created_at) },
  { name: "Expires", kind: "time", cell: ({ closed_at, expires_at }) => (closed_at ? h("span.zero", {}, "–") : ahead(expires_at)) },
];
