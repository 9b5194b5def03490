// Every target: its health, its backlog by lane, what is wrong and since when.

import { get, query } from "../api.js";
import { h } from "../dom.js";
import { empty, heading, notice, pages, pill, table } from "../parts.js";
import { to } from "../route.js";
import { LANES, ago, capital, count, several, span } from "../words.js";

export async function load({ parameters }, signal) {
  const [status, targets] = await Promise.all([
    get("/status", signal),
    get(query("/targets", { limit: 100, cursor: parameters.cursor }), signal),
  ]);
  return { status, targets };
}

export function show({ status, targets }) {
  const all = Object.values(status.targets);
  return [
    heading("Targets"),
    tiles(all, status.inbox),
    inbox(status),
    targets.items.length === 0
      ? empty("No target is configured.", "A target is one vendor’s SCIM API: a section [targets.NAME] of the configuration.")
      : table("Targets with their health and backlog", COLUMNS, targets.items.map((row) => ({ ...row, tone: health(row).tone }))),
    pages(targets.next_cursor),
  ];
}

// The state in one word, and how bad it is.
export function health(target) {
  if (target.state === "suspended") return { tone: "bad", word: "Suspended" };
  if (target.state === "paused") return { tone: "warn", word: "Paused" };
  if (target.breached) return { tone: "bad", word: "Late" };
  if (target.parked > 0 || target.held > 0) return { tone: "warn", word: "Needs a person" };
  return { tone: "good", word: target.pending + target.in_flight > 0 ? "Working" : "Healthy" };
}

// Sentences about what is wrong; none where all is well.
export function troubles(target) {
  const told = [];
  if (target.state === "suspended") told.push([capital(target.reason ?? "no reason is known"), " · since ", ago(target.since)]);
  if (target.state === "paused") told.push([`Paused by ${target.by ?? "somebody"} `, ago(target.since)]);
  for (const [lane, name] of LANES) {
    const age = target.ages[lane];
    if (age?.breached) told.push(`${name}: the oldest waits for ${span(age.oldest_seconds)}, and may wait ${span(age.objective_seconds)}`);
  }
  if (target.parked > 0) {
    told.push([h("a", { href: to(["parked"], { target: target.name }) }, several(target.parked, "row")), " parked: the vendor refused"]);
  }
  if (target.held > 0) {
    told.push([h("a", { href: to(["holds"], { target: target.name }) }, several(target.held, "change")), " held until somebody decides"]);
  }
  return told;
}

const COLUMNS = [
  { name: "Target", kind: "head", cell: (row) => h("a.name", { href: to(["targets", row.name]) }, row.name) },
  { name: "Health", cell: (row) => pill(health(row).tone, health(row).word) },
  {
    name: "What is wrong", kind: "wide",
    cell: (row) => {
      const told = troubles(row);
      return told.length === 0 ? h("span.quiet", {}, "Nothing") : h("ul.plain", {}, told.map((line) => h("li", {}, line)));
    },
  },
  ...LANES.map(([lane, name, hint]) => ({
    name, hint, kind: "number",
    cell: (row) => backlog(row.lanes[lane] ?? 0, row.ages[lane]),
  })),
  { name: "In flight", kind: "number", hint: "Being sent at this moment", cell: (row) => quietZero(row.in_flight) },
  { name: "Waiting", kind: "number", hint: "For something that the vendor does not know yet", cell: (row) => waiting(row) },
];

export function backlog(rows, age) {
  if (rows === 0) return quietZero(0);
  return h("span", {}, count(rows), age?.oldest_seconds > 0 && h("span.age", { title: "Age of the oldest" }, span(age.oldest_seconds)));
}

function waiting({ name, waiting, waiting_members: members }) {
  return waiting + members === 0 ? quietZero(0) : h("a", { href: to(["waiting", name]), "aria-label": `${count(waiting + members)} waiting for ${name}` }, count(waiting + members));
}

const quietZero = (number) => (number === 0 ? h("span.zero", {}, "0") : count(number));

function tiles(all, inbox) {
  const sum = (of) => all.reduce((whole, target) => whole + of(target), 0);
  const well = all.filter((target) => health(target).tone === "good").length;
  const tile = (number, words, href, tone = "") =>
    h("li", {}, h(href ? "a.tile" : "div.tile", { href, class: `tile ${tone}` }, h("strong", {}, number), h("span", {}, words)));
  const [parked, held] = [sum((target) => target.parked), sum((target) => target.held)];
  return h("ul.tiles", { "aria-label": "All targets together" },
    tile(`${count(well)} of ${count(all.length)}`, "healthy", null, well < all.length ? "warn" : ""),
    tile(count(sum((target) => target.pending + target.in_flight)), "to be sent"),
    tile(count(parked), "parked", to(["parked"]), parked > 0 ? "warn" : ""),
    tile(count(held), "held", to(["holds"]), held > 0 ? "warn" : ""),
    tile(count(inbox.unprojected), "events to merge"));
}

function inbox({ inbox, reads }) {
  const told = [];
  if (inbox.unreadable > 0) told.push(notice("bad", `${several(inbox.unreadable, "event")} cannot be read any more, and nothing of them was merged.`));
  for (const [source, read] of Object.entries(reads)) {
    if (read.failing > 0) {
      told.push(notice("warn", `Source ${source}: ${several(read.pending, "record")} to be read at the provider, `
        + `${count(read.failing)} failing${read.failure ? `: ${read.failure}` : ""}.`));
    }
  }
  return told;
}
