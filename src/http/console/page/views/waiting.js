// Work that nobody can do yet: for what it waits. It goes on by itself.

import { get, path, query } from "../api.js";
import { empty, heading, named, pages, table } from "../parts.js";
import { to } from "../route.js";
import { ago } from "../words.js";

export async function load({ names: [, target], parameters }, signal) {
  const rows = await get(query(path`/targets/${target}/waiting`, { limit: 100, cursor: parameters.cursor }), signal);
  return { target, rows };
}

export function show({ target, rows }) {
  return [
    heading(`Waiting for ${target}`, {
      above: { href: to(["targets", target]), words: target },
      lead: "What lacks something that only somebody else can say or make. Nothing is lost: each goes on once it is there, and is looked at again every ten minutes.",
    }),
    rows.items.length === 0
      ? empty(`Nothing waits for ${target}.`, "What is still to be sent is in the backlog.")
      : table(`What waits for ${target}`, COLUMNS, rows.items),
    pages(rows.next_cursor),
  ];
}

const COLUMNS = [
  { name: "What", kind: "head", cell: (row) => named(row.id) },
  { name: "Why", kind: "wide reason", cell: (row) => row.reason },
  { name: "Since", kind: "time", cell: (row) => ago(row.since) },
];
