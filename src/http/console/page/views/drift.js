// Every target with what its newest report has found.

import { get, path, query } from "../api.js";
import { h } from "../dom.js";
import { empty, heading, pages, pill, table } from "../parts.js";
import { to } from "../route.js";
import { CLASSES, ago, capital, count } from "../words.js";

const TARGETS = 25;
const TONES = { complete: "good", incomplete: "warn", cancelled: "calm", running: "calm", waiting: "calm" };

export const reportPill = (state) => pill(TONES[state] ?? "calm", capital(state));

export async function load({ parameters: { cursor } }, signal) {
  const targets = await get(query("/targets", { limit: TARGETS, cursor }), signal);
  const reports = await Promise.all(targets.items.map(({ name }) => get(path`/targets/${name}/resyncs`, signal)));
  const rows = targets.items.map(({ name }, at) => ({ name, report: newest(reports[at]) }));
  return { rows, next_cursor: targets.next_cursor };
}

// The newest that has something to say: one that waits says nothing yet.
export const newest = (reports) => reports.find(({ state }) => state !== "waiting") ?? reports[0];

export function show({ rows, next_cursor }) {
  return [
    heading("Drift", { lead: "Where a vendor’s directory is not what it should be, by the newest comparison of each target." }),
    rows.length === 0 ? empty("No target is configured.") : table("Newest report of each target", COLUMNS, rows),
    pages(next_cursor),
  ];
}

const found = (report, name) => report?.summary?.drift?.[name] ?? 0;

const COLUMNS = [
  { name: "Target", kind: "head", cell: ({ name }) => h("a.name", { href: to(["drift", name]), id: `drift-${name}` }, name) },
  { name: "Compared", kind: "time", cell: ({ report }) => (report ? ago(report.requested_at) : h("span.quiet", {}, "never")) },
  { name: "Report", cell: ({ report }) => report && reportPill(report.state) },
  ...CLASSES.map(([word, name, hint]) => ({
    name, hint, kind: "number",
    cell: ({ name: target, report }) => {
      const number = found(report, word);
      return number === 0 ? h("span.zero", {}, report ? "0" : "–") : h("a", { href: to(["drift", target], { drift: word }) }, count(number));
    },
  })),
  { name: "In all", kind: "number", cell: ({ report }) => h("strong", {}, report ? count(report.summary.findings) : "–") },
];
