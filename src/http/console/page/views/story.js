// The story of one person or group: how they stand at each vendor now, and what happened, newest first.

import { get, path, query } from "../api.js";
import { h } from "../dom.js";
import { empty, filtered, heading, notice, pages, pill } from "../parts.js";
import { to } from "../route.js";
import { ago, at, capital, several } from "../words.js";
import { toneOf } from "./target.js";

export async function load({ names: [part, directory, id], parameters: { cursor, order } }, signal) {
  const page = { cursor, order, limit: 50 };
  if (part === "groups") return get(query(path`/directories/${directory}/groups/${id}/timeline`, page), signal);
  const [story, { items }] = await Promise.all([
    get(query(path`/directories/${directory}/users/${id}/timeline`, page), signal),
    get(query("/people", { q: id }), signal),
  ]);
  return { ...story, who: items.find((one) => one.directory === directory && one.id === id) };
}

export function show({ present, items, next_cursor, who }, { place: { names: [part, directory, id], parameters } }) {
  const isGroup = part === "groups";
  const told = isGroup ? "this group" : "this person";
  const oldest = parameters.order === "oldest";
  return [
    heading(who?.display_name ?? who?.user_name ?? id, {
      above: { href: to(["people"]), words: "People" },
      lead: [isGroup && "Group ", h("span.id", {}, id), who?.user_name && ` · ${who.user_name}`, ` · directory ${directory}`],
    }),
    present.unprojected > 0 && notice("calm", `${several(present.unprojected, "event")} came in and ${present.unprojected === 1 ? "is" : "are"} not merged yet; some may be about ${told}.`),
    h("section", { "aria-labelledby": "now" }, h("h2", { id: "now" }, "Now"), now(present, directory, isGroup)),
    h("section", { "aria-labelledby": "story" },
      h("div.title", {}, h("h2", { id: "story" }, "What happened"),
        h("a", { href: filtered({ order: oldest ? "" : "oldest" }), id: "order" }, oldest ? "Newest first" : "Oldest first")),
      items.length === 0 ? empty("Nothing is recorded.") : h("ol.story", {}, items.map(happening))),
    pages(next_cursor),
  ];
}

function now({ wanted, groups, targets }, directory, isGroup) {
  const cards = Object.entries(targets);
  const other = isGroup ? (id) => h("a.id", { href: to(["people", directory, id]) }, id) : (id) => h("a.id", { href: to(["groups", directory, id]) }, id);
  const belongs = groups.length > 0 ? [", and belongs to ", groups.map((group, at) => [at > 0 && ", ", other(group)])] : ", and belongs to no group";
  return [
    isGroup
      ? h("p", {}, wanted ? "Is to be there." : "Is not to be there.")
      : h("p", {}, wanted ? "Is to have access" : "Is to have no access", belongs, "."),
    cards.length === 0
      ? empty("No target follows this directory.")
      : h("ul.cards", {}, cards.map(([name, standing]) => h("li.card", {}, card(name, standing, isGroup ? "Member" : "Group", other)))),
  ];
}

const WORK = { pending: ["calm", "Waiting"], waiting: ["calm", "Waiting"], parked: ["warn", "Parked"], held: ["warn", "Held"] };

function card(name, standing, kind, other) {
  const [tone, word] = WORK[standing.work] ?? ["good", "Nothing to do"];
  const link = standing.work === "parked" ? to(["parked"], { target: name }) : standing.work === "held" ? to(["holds"], { target: name }) : standing.work === "waiting" ? to(["waiting", name]) : to(["targets", name]);
  return [
    h("h3", {}, h("a", { href: link }, name), " ", pill(tone, word)),
    h("p.reason", {}, capital(standing.words)),
    standing.memberships.length > 0 && h("ul.plain", {}, standing.memberships.map(({ id, state, reason }) =>
      h("li", {}, `${kind} `, other(id), ` ${state}`, reason && [": ", h("span.reason", {}, reason)]))),
    h("p.quiet.small", {},
      standing.linked ? ["Known there as ", h("span.id", {}, standing.vendor_id ?? "")] : "Not known there",
      standing.applied_at && [" · last applied ", ago(standing.applied_at)]),
  ];
}

function happening(one) {
  return one.what === "change" ? change(one) : action(one);
}

function change({ at: moment, source, operation, outcome, event_id, group, member }) {
  return h("li.change", {}, at(moment), h("div", {},
    h("p", {}, h("strong", {}, source), " said ", h("code", {}, operation),
      group && [member ? ", belongs to " : ", does not belong to ", h("span.id", {}, group)],
      " ", pill(outcome === "merged" ? "good" : "calm", capital(outcome))),
    h("p.quiet.small", {}, "Event ", h("span.id", {}, event_id))));
}

function action({ at: moment, target, operation, call, status, outcome, detail, elapsed_us, etag_before, etag_after }) {
  const facts = [
    call && h("code", {}, call), status && `answered ${status}`, elapsed_us !== null && elapsed_us !== undefined && `${(elapsed_us / 1000).toFixed(elapsed_us < 10_000 ? 1 : 0)} ms`,
    etag_before && ["If-Match ", h("code", {}, etag_before)], etag_after && ["now ", h("code", {}, etag_after)],
  ].filter(Boolean);
  return h("li.action", {}, at(moment), h("div", {},
    h("p", {}, h("strong", {}, target), " ", operation === "none" ? "no call" : operation, " ", pill(toneOf(outcome), capital(outcome.replaceAll("_", " ")))),
    detail && h("p.reason", {}, detail),
    facts.length > 0 && h("p.quiet.small", {}, facts.map((fact, at) => [at > 0 && " · ", fact]))));
}
