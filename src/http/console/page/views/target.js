// One target: how it is, what limits it, and its last calls; pausing and resuming it.

import { get, path, post, query } from "../api.js";
import { h } from "../dom.js";
import { ask, button, empty, heading, notice, pill, table } from "../parts.js";
import { to } from "../route.js";
import { LANES, ago, ahead, at, capital, count, span } from "../words.js";
import { backlog, health, troubles } from "./targets.js";

const CALLS = 25;

export async function load({ names: [, name] }, signal) {
  const [target, ledger] = await Promise.all([
    get(path`/targets/${name}`, signal),
    get(query("/ledger", { target: name, limit: CALLS }), signal),
  ]);
  return { target, ledger: ledger.items };
}

export function show({ target, ledger }, { mayAct, act }) {
  const { tone, word } = health(target);
  const told = troubles(target);
  return [
    heading(target.name, {
      above: { href: to(["targets"]), words: "Targets" },
      beside: [pill(tone, word), mayAct && lever(target, act)],
    }),
    told.length > 0 && notice(tone, h("ul.plain", {}, told.map((line) => h("li", {}, line)))),
    h("div.columns", {},
      h("section", { "aria-labelledby": "backlog" },
        h("h2", { id: "backlog" }, "Backlog by lane"),
        table("Backlog by lane", LANE_COLUMNS, LANES.map(([lane, name, hint]) => ({ lane, name, hint, target })))),
      h("section", { "aria-labelledby": "standing" }, h("h2", { id: "standing" }, "How it stands"), standing(target))),
    h("section", { "aria-labelledby": "calls" },
      h("h2", { id: "calls" }, "Last calls and decisions"),
      ledger.length === 0 ? empty("Nothing has been sent yet.") : table("Last calls and decisions", CALL_COLUMNS, ledger)),
    h("p", {}, h("a", { href: to(["drift", target.name]) }, "Drift of this target →")),
  ];
}

function lever({ name, state }, act) {
  const resume = () => act(() => post(path`/targets/${name}/resume`), `${name} is sent to again.`);
  const pause = async () => {
    const sure = await ask({
      title: `Pause ${name}?`, action: "Pause",
      words: "Nothing is sent until somebody resumes it: leavers keep their access there. Work gathers, and is not lost.",
    });
    if (sure !== null) await act(() => post(path`/targets/${name}/pause`), `${name} is paused.`);
  };
  return state === "running" ? button("Pause …", pause, { id: "pause" }) : button("Resume", resume, { id: "resume", tone: "primary" });
}

const LANE_COLUMNS = [
  { name: "Lane", kind: "head", cell: ({ name, hint }) => [h("strong", {}, name), h("span.note", {}, hint)] },
  { name: "Waiting", kind: "number", cell: ({ lane, target }) => backlog(target.lanes[lane] ?? 0, null) },
  {
    name: "Oldest", kind: "number",
    cell: ({ lane, target: { ages } }) => {
      const age = ages[lane];
      if (!age || age.oldest_seconds === null) return h("span.zero", {}, "–");
      return h(age.breached ? "span.bad-text" : "span", {}, span(age.oldest_seconds));
    },
  },
  { name: "May wait", kind: "number", cell: ({ lane, target: { ages } }) => span(ages[lane]?.objective_seconds) || h("span.zero", {}, "–") },
];

function standing({ limits, breaker, bulk, capabilities, holder, held_here, in_flight, waiting, waiting_members }) {
  const rate = limits?.rate_per_second;
  const state = breaker?.state?.state ?? breaker?.state ?? "unknown";
  const facts = [
    ["Dispatched by", holder ? [h("span.id", {}, holder), held_here ? " (this replica)" : ""] : "nobody yet"],
    ["In flight", count(in_flight)],
    ["Waiting for others", `${count(waiting)} users and groups, ${count(waiting_members)} members`],
    ["Rate in force", rate ? `${count(Math.round(rate * 100) / 100)} calls a second` : "none known"],
    ["Circuit breaker", [String(state).replace("_", " "), breaker?.state?.until ? [", tries again ", ahead(breaker.state.until)] : ""]],
    ["Last success", breaker?.last_success ? ago(breaker.last_success) : "none yet"],
    ["Bulk requests", [bulk?.state ?? "unknown", bulk?.reason ? `: ${bulk.reason}` : ""]],
    ["Profile", capabilities?.profile ?? "–"],
    ["Vendor’s own word", capabilities?.read_at ? ["read ", ago(capabilities.read_at)] : "not read yet"],
  ];
  const differences = Array.isArray(capabilities?.differences) ? capabilities.differences : [];
  return [
    h("dl.facts", {}, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    differences.length > 0 && h("h3", {}, "Where the vendor’s word and its profile differ"),
    differences.length > 0 && h("ul", {}, differences.map((entry) => h("li", {}, plain(entry)))),
  ];
}

// Whatever shape it has, as words.
function plain(value) {
  if (typeof value !== "object" || value === null) return String(value);
  return Object.entries(value).map(([name, part]) => `${capital(name.replaceAll("_", " "))}: ${plain(part)}`).join("; ");
}

const GOOD = new Set(["applied", "already_in_place", "found", "approved"]);
const CALM = new Set([
  "stale", "throttled", "superseded", "waiting", "absent", "not_found", "ordered", "withdrawn", "retried", "out_of_scope", "protected",
]);

// How bad an outcome is.
export const toneOf = (outcome) => (GOOD.has(outcome) ? "good" : CALM.has(outcome) ? "calm" : "warn");

const CALL_COLUMNS = [
  { name: "When", kind: "head time", cell: (row) => at(row.at) },
  { name: "Who", kind: "subject", cell: (row) => [h("span.kind", {}, capital(row.kind)), row.kind === "user" ? h("a.id", { href: to(["people"], { q: row.id }) }, row.id) : h("span.id", {}, row.id)] },
  { name: "What", cell: (row) => row.operation },
  { name: "Call", cell: (row) => [h("code", {}, row.call ?? "none"), row.status ? h("span.status", {}, row.status) : ""] },
  { name: "Outcome", cell: (row) => pill(toneOf(row.outcome), capital(row.outcome.replaceAll("_", " "))) },
  { name: "Why", kind: "wide", cell: (row) => row.detail ?? h("span.zero", {}, "–") },
];
