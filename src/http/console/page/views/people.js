// Finds a person by an id, a vendor's id, a user name or a mail address.

import { get, query } from "../api.js";
import { h } from "../dom.js";
import { empty, heading, table } from "../parts.js";
import { to } from "../route.js";

// Found people are not asked for anew: a long directory is read once, page after page.
export const still = true;

const ANSWERS_MAX = 200;

export async function load({ parameters: { q } }, signal) {
  if (!q) return { q: "", people: [], whole: true };
  const people = [];
  let cursor;
  for (let answers = 0; answers < ANSWERS_MAX; answers += 1) {
    const answer = await get(query("/people", { q, cursor }), signal);
    for (const one of answer.items) {
      if (!people.some(({ directory, id }) => directory === one.directory && id === one.id)) people.push(one);
    }
    cursor = answer.next_cursor;
    // An id means somebody at once; names and addresses are read through.
    if (!cursor || people.length > 0) break;
  }
  return { q, people, whole: !cursor || people.length > 0 };
}

export function show({ q, people, whole }) {
  if (people.length === 1) {
    const [{ directory, id }] = people;
    location.replace(to(["people", directory, id]));
  }
  const field = h("input", {
    type: "search", id: "q", value: q, required: true, maxlength: "200", autocomplete: "off", spellcheck: "false",
  });
  const search = (event) => {
    event.preventDefault();
    const word = field.value.trim();
    if (word) location.hash = to(["people"], { q: word });
  };
  return [
    heading("People", { lead: "What came in about somebody, what was done at each vendor, and how they stand now." }),
    h("form.search", { role: "search", onsubmit: search },
      h("label", { for: "q" }, "User id, vendor’s id, user name or e-mail"),
      h("div.line", {}, field, h("button", { type: "submit", class: "primary", id: "find" }, "Find"))),
    q && people.length === 0 && empty(`Nobody is known as ${q}.`, whole
      ? "It is nobody’s id, user name or e-mail in any directory, and no vendor’s id that the relay knows."
      : "The directory is very long, and not all of it was read."),
    people.length > 1 && table("People", COLUMNS, people),
  ];
}

const BY = { id: "the source’s id", vendor_id: "the vendor’s id", user_name: "user name", email: "e-mail" };

const COLUMNS = [
  { name: "Who", kind: "head", cell: ({ directory, id }) => h("a.id", { href: to(["people", directory, id]) }, id) },
  { name: "Name", cell: ({ display_name, user_name }) => [display_name, user_name && h("span.note", {}, user_name)] },
  { name: "Directory", cell: ({ directory }) => directory },
  { name: "Found by", cell: ({ found_by, target }) => [BY[found_by] ?? found_by, target && ` at ${target}`] },
];
