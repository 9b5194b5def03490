// Rows that a vendor refused: why, and trying them again or dropping them.

import { get, path, post, query } from "../api.js";
import { h } from "../dom.js";
import { ask, button, empty, heading, named, pages, table } from "../parts.js";
import { to } from "../route.js";
import { ago, count, item, several } from "../words.js";

// The target that was chosen for the person stays so while they stay: its last row may be retried away.
export async function load({ parameters }, signal, memory) {
  const status = await get("/status", signal);
  const counts = Object.entries(status.targets).map(([name, target]) => ({ name, parked: target.parked }));
  const target = parameters.target ?? memory.target ?? (counts.find(({ parked }) => parked > 0) ?? counts[0])?.name;
  memory.target = target;
  const rows = target === undefined
    ? { items: [], next_cursor: null }
    : await get(query(path`/targets/${target}/parked`, { limit: 100, cursor: parameters.cursor }), signal);
  return { counts, target, rows };
}

export function show({ counts, target, rows }, context) {
  const chosen = counts.filter(({ name, parked }) => parked > 0 || name === target);
  return [
    heading("Parked", {
      lead: "What the vendor refused, with its reason. Mend the cause, then retry; a row is also tried again when the user or group changes.",
    }),
    h("nav.tabs", { "aria-label": "Targets" }, chosen.map(({ name, parked }) =>
      h("a", { href: to(["parked"], { target: name }), id: `target-${name}`, "aria-current": name === target ? "true" : null },
        name, h("span.count", {}, count(parked))))),
    rows.items.length === 0
      ? empty(target === undefined ? "No target is configured." : `Nothing is parked for ${target}.`, "Everything that was accepted is applied, or on its way.")
      : table(`Parked rows of ${target}`, columns(target, context), rows.items),
    pages(rows.next_cursor),
  ];
}

function columns(target, { mayAct, act }) {
  const shown = [
    { name: "What", kind: "head", cell: (row) => named(row.id) },
    { name: "The vendor’s reason", kind: "wide reason", cell: (row) => row.reason },
    { name: "Attempts", kind: "number", cell: (row) => count(row.attempts) },
    { name: "Since", kind: "time", cell: (row) => ago(row.parked_at) },
  ];
  const actions = { name: "Actions", kind: "buttons", hidden: true, cell: (row) => levers(target, row, act) };
  return mayAct ? [...shown, actions] : shown;
}

function levers(target, { id, attempts }, act) {
  const { id: name } = item(id);
  const retry = () => act(() => post(path`/targets/${target}/parked/${id}/retry`), `${name} will be tried again.`);
  const discard = async () => {
    const sure = await ask({
      title: `Drop ${name}?`, action: "Drop it", tone: "danger",
      words: `After ${several(attempts, "attempt")} it is not tried again until the user or group changes. The ledger says who dropped it.`,
    });
    if (sure !== null) await act(() => post(path`/targets/${target}/parked/${id}/discard`), `${name} is dropped.`);
  };
  return [
    button("Retry", retry, { id: `retry-${id}`, label: `Retry ${name}` }),
    button("Discard …", discard, { id: `discard-${id}`, label: `Discard ${name}` }),
  ];
}
