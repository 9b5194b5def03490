// One report: what was found, by class, kind and attribute; each finding; and the same as a file.

import { csv, get, path, post, query } from "../api.js";
import { bar, h } from "../dom.js";
import { ask, button, empty, filtered, heading, kindOf, notice, pages, person, pill, save, table } from "../parts.js";
import { to } from "../route.js";
import { CLASSES, ago, attribute, capital, count, several, span } from "../words.js";
import { newest, reportPill } from "./drift.js";
import { toneOf } from "./target.js";

const ATTRIBUTES = 12;
const KINDS = [["user", "Users"], ["group", "Groups"], ["member", "Members"]];
const TONES = { missing: "bad", extra: "bad", differs: "warn", duplicate: "warn", unmanaged: "calm", unlinked: "calm" };

export async function load({ names: [, target], parameters }, signal) {
  const reports = await get(path`/targets/${target}/resyncs`, signal);
  const report = parameters.report ? reports.find(({ id }) => id === parameters.report) : newest(reports);
  const { drift, kind, attribute, cursor } = parameters;
  const entries = report && report.state !== "waiting"
    ? await get(query(path`/resyncs/${report.id}/entries`, { drift, kind, attribute, cursor, limit: 100 }), signal)
    : { items: [], next_cursor: null };
  return { target, reports, report, entries };
}

export function show({ target, reports, report, entries }, { place: { parameters }, mayAct, act }) {
  return [
    heading(`Drift of ${target}`, {
      above: { href: to(["drift"]), words: "Drift" },
      beside: [
        report && button("Download CSV", () => act(() => download(target, report), "The report is downloaded."), { id: "csv" }),
        mayAct && levers(target, act),
      ],
    }),
    !report && empty(`${target} has not been compared yet.`, "A comparison reads the vendor’s directory when nothing else waits, and changes nothing."),
    report && [
      summary(report),
      classes(report, parameters),
      attributes(report, parameters),
      kinds(parameters),
      entries.items.length === 0 ? nothing(report, entries, parameters) : table(`Findings of ${target}`, COLUMNS, entries.items),
      pages(entries.next_cursor),
      earlier(reports, report),
    ],
  ];
}

async function download(target, report) {
  const day = report.requested_at.slice(0, 10);
  save(await csv(path`/resyncs/${report.id}/report`), `drift-${target}-${day}.csv`);
}

function levers(target, act) {
  const begin = (mode, words) => act(() => post(path`/targets/${target}/resyncs`, { mode }), words);
  const mend = async () => {
    const sure = await ask({
      title: `Compare and mend ${target}?`, action: "Compare and mend", tone: "danger",
      words: "What the relay owns and differs is sent once more, by the normal way and under the guard. What no source speaks of stays.",
    });
    if (sure !== null) await begin("apply", "The comparison begins, and what differs will be mended.");
  };
  return [
    button("Compare now", () => begin("report", "The comparison begins. It changes nothing."), { id: "compare", tone: "primary" }),
    button("Compare and mend …", mend, { id: "mend" }),
  ];
}

function summary(report) {
  const { progress, summary: { findings, new: fresh, same, gone, marked } } = report;
  const under_way = report.state === "running" || report.state === "waiting";
  const words = [
    findings === 0 ? "Nothing differs" : several(findings, "difference"),
    ` in ${several(progress.compared ?? 0, "resource")} compared and ${count(progress.read ?? 0)} read at the vendor. `,
    findings + gone > 0 && `${count(fresh)} new, ${count(same)} as before, ${count(gone)} gone. `,
    marked > 0 && `${count(marked)} marked as work. `,
    progress.read_again > 0 && `Lists changed while they were read, and were read again: ${count(progress.read_again)}. `,
  ];
  return [
    h("p.lead.summary", {}, reportPill(report.state), " ", words, h("span.quiet", {}, "Asked for by ", report.by, " ", ago(report.requested_at), report.mode === "apply" ? ", to be mended" : "", ".")),
    under_way && h("p.progress", {}, bar(progress.share ?? 0),
      `${Math.round((progress.share ?? 0) * 100)} % · ${String(progress.phase ?? "").replaceAll("_", " ")}`,
      progress.seconds_left ? ` · about ${span(progress.seconds_left)} left` : ""),
    report.incomplete.length > 0 && notice("warn", "It is incomplete, and proves nobody’s absence:", h("ul.plain", {}, report.incomplete.map((why) => h("li", {}, why)))),
  ];
}

function classes(report, { drift }) {
  return h("ul.tiles", { "aria-label": "Findings by class" }, CLASSES.map(([word, name, hint]) => {
    const number = report.summary.drift?.[word] ?? 0;
    const chosen = drift === word;
    return h("li", {}, h("a.tile", {
      href: filtered({ drift: chosen ? "" : word }), id: `class-${word}`, title: hint, "aria-label": `${name}: ${count(number)}`,
      class: `tile ${number > 0 ? TONES[word] : "none"}`, "aria-current": chosen ? "true" : null,
    }, h("strong", {}, count(number)), h("span", {}, name)));
  }));
}

function attributes(report, { attribute: chosen }) {
  const counted = Object.entries(report.summary.attributes ?? {}).sort(([, one], [, other]) => other - one);
  if (counted.length === 0) return null;
  const most = counted[0][1];
  const line = ([path, number]) => h("li", {}, h("a", {
    href: filtered({ attribute: chosen === path ? "" : path }), id: `attribute-${path}`, title: path, "aria-label": `${attribute(path)}: ${count(number)}`, "aria-current": chosen === path ? "true" : null,
  }, h("span.what", {}, attribute(path)), bar(number / most), h("span.number", {}, count(number))));
  return h("section", { "aria-labelledby": "by-attribute" },
    h("h2", { id: "by-attribute" }, "By attribute"),
    h("ul.bars", {}, counted.slice(0, ATTRIBUTES).map(line)),
    counted.length > ATTRIBUTES && h("p.quiet", {}, `and ${several(counted.length - ATTRIBUTES, "more attribute")}; the CSV has them all`));
}

function kinds(parameters) {
  const tab = (kind, words) => h("a", {
    href: filtered({ kind }), id: `kind-${kind || "all"}`, "aria-current": (parameters.kind ?? "") === kind ? "true" : null,
  }, words);
  const narrowed = ["drift", "attribute"].filter((name) => parameters[name]);
  return h("nav.tabs", { "aria-label": "Kinds" }, tab("", "Everything"), KINDS.map(([kind, words]) => tab(kind, words)),
    narrowed.length > 0 && h("span.narrowed", {}, narrowed.map((name) => attribute(parameters[name])).join(", "), " alone · ",
      h("a", { href: filtered({ drift: "", attribute: "" }), id: "all" }, "Show all")));
}

function nothing(report, entries, { drift, kind, attribute }) {
  if (entries.next_cursor) return empty("None on this page.", "There may be some on the next.");
  if (drift || kind || attribute) return empty("Nothing of the kind was found.");
  return report.state === "complete"
    ? empty("The vendor has exactly what it should.", "No user, group or membership differs in what the relay owns.")
    : empty("Nothing was found so far.");
}

function earlier(reports, report) {
  if (reports.length < 2) return null;
  return h("section", { "aria-labelledby": "earlier" }, h("h2", { id: "earlier" }, "Reports that are kept"),
    h("ul.reports", {}, reports.map(({ id, requested_at, state, mode, summary }) => h("li", {},
      h("a", { href: filtered({ report: id, drift: "", kind: "", attribute: "" }), id: `report-${id}`, "aria-current": id === report.id ? "true" : null },
        ago(requested_at)), ` ${state}, ${several(summary.findings ?? 0, "difference")}${mode === "apply" ? ", mended" : ""}`))));
}

function who({ kind, external_id, target_id, member, email }) {
  const own = external_id ?? target_id;
  const id = kind === "user" && external_id ? person(external_id) : h("span.id", {}, own ?? "unknown");
  if (kind === "member") return [kindOf("Member"), h("span.id", {}, member ?? "unknown"), h("span.quiet", {}, " in group "), id];
  return [kindOf(capital(kind)), id, email && email !== own && h("span.note", {}, email)];
}

const COLUMNS = [
  { name: "What", kind: "head", cell: who },
  { name: "Drift", cell: ({ drift }) => pill(TONES[drift] ?? "calm", capital(drift)) },
  {
    name: "Attributes", kind: "wide",
    cell: ({ attributes, matched_by }) => {
      if (attributes.length > 0) return attributes.map((path) => h("span.chip", { title: path }, attribute(path)));
      return matched_by ? h("span.quiet", {}, `known by ${matched_by}`) : h("span.zero", {}, "–");
    },
  },
  { name: "Department", cell: ({ department }) => department ?? h("span.zero", {}, "–") },
  { name: "Vendor’s id", cell: ({ target_id }) => (target_id ? h("span.id.faint", {}, target_id) : h("span.zero", {}, "–")) },
  {
    name: "What became of it",
    cell: ({ status, operation, http_status, error }) => [
      status === "drifted" ? h("span.quiet", {}, "Drifted") : pill(status === "pending" ? "calm" : toneOf(status), capital(status.replaceAll("_", " "))),
      operation && h("span.note", {}, operation, http_status ? `, ${http_status}` : ""),
      error && h("span.note.reason", {}, error),
    ],
  },
];
