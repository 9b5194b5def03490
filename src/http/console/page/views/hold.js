// One hold: what waits, and letting it through or leaving it undone.

import { get, path, post, query } from "../api.js";
import { h } from "../dom.js";
import { ask, button, empty, heading, named, notice, pages, table } from "../parts.js";
import { to } from "../route.js";
import { ago, ahead, capital, count, several } from "../words.js";
import { statePill } from "./holds.js";

export function load({ names: [, id], parameters: { cursor } }, signal) {
  return get(query(path`/holds/${id}`, { cursor, limit: 100 }), signal);
}

export function show({ hold, items, next_cursor }, context) {
  const chosen = (context.memory.chosen ??= new Set());
  for (const { id, state } of items) if (state !== "held") chosen.delete(id);
  return [
    heading(`${hold.target} #${hold.id}`, {
      above: { href: to(["holds"]), words: "Holds" },
      beside: [statePill(hold.state), context.mayAct && hold.items.held > 0 && levers(hold, chosen, context)],
    }),
    notice(hold.items.held > 0 ? "warn" : "calm", h("span.reason", {}, hold.reason)),
    facts(hold),
    items.length === 0 ? empty("It has no items.") : table("Items", columns(hold, chosen, context), items),
    pages(next_cursor),
  ];
}

// About those that were chosen; else about all that was there when it was looked at, and nothing later.
function levers(hold, chosen, { act, memory }) {
  const about = chosen.size > 0 ? several(chosen.size, "chosen item") : `all ${count(hold.items.held)}`;
  const decide = (verb, words, tone) => async () => {
    const picked = [...chosen];
    const reason = await ask({ title: `${capital(verb)} ${about}?`, action: capital(verb), words, tone, reason: true });
    if (reason === null) return;
    const body = picked.length > 0 ? { items: picked } : { through: hold.last_item };
    if (reason.trim()) body.reason = reason.trim();
    await act(() => {
      memory.chosen.clear();
      return post(path`/holds/${hold.id}/${verb}`, body);
    }, ({ decided }) => `${capital(verb === "approve" ? "approved" : "rejected")}: ${several(decided, "item")}, memberships included.`);
  };
  return [
    button(`Approve ${about} …`, decide("approve", `They are done at ${hold.target} as soon as it may be called. Access ends.`, "danger"), { id: "approve", tone: "primary" }),
    button(`Reject ${about} …`, decide("reject", `They stay undone at ${hold.target} until something newer is said. Access stays.`, "primary"), { id: "reject" }),
  ];
}

function facts({ items, created_at, expires_at, closed_at }) {
  const parts = [
    ["Waiting", count(items.held)], ["Approved", count(items.approved)], ["Rejected", count(items.rejected)],
    ["Withdrawn", count(items.withdrawn)], ["Opened", ago(created_at)],
    closed_at ? ["Closed", ago(closed_at)] : ["Expires", ahead(expires_at)],
  ];
  return h("dl.facts.row", {}, parts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function columns(hold, chosen, { mayAct, redraw }) {
  const box = ({ id, state }) => state === "held" && h("input", {
    type: "checkbox", id: `choose-${id}`, "aria-label": `Choose ${id}`, checked: chosen.has(id),
    onchange: ({ target }) => { chosen[target.checked ? "add" : "delete"](id); redraw(); },
  });
  const decided = ({ decided_at, decided_by }) =>
    (decided_at ? [ago(decided_at), decided_by ? ` by ${decided_by}` : ""] : h("span.zero", {}, "–"));
  const shown = [
    { name: "Who", kind: "head", cell: ({ id }) => named(id) },
    { name: "What would be done", cell: ({ operation }) => operation },
    { name: "State", cell: ({ state }) => h(`span.state.${state}`, {}, capital(state)) },
    { name: "Held", kind: "time", cell: ({ held_at }) => ago(held_at) },
    { name: "Decided", kind: "time", cell: decided },
  ];
  const choice = { name: "Choose", kind: "choice", hidden: true, cell: box };
  return mayAct && hold.items.held > 0 ? [choice, ...shown] : shown;
}
