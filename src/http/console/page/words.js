// Numbers, times and the relay's terms as people read them.

import { now } from "./api.js";
import { h } from "./dom.js";

const NUMBER = new Intl.NumberFormat("en");
const MOMENT = new Intl.DateTimeFormat("en-GB", {
  year: "numeric", month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit",
});

export const count = (number) => NUMBER.format(number ?? 0);

// "1 item", "2 items".
export const several = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// A length of time in its largest unit: 12 s, 4 min, 3 h, 2 d.
export function span(seconds) {
  if (seconds === null || seconds === undefined) return "";
  for (const [length, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
    if (seconds >= 2 * length || (unit !== "d" && seconds >= length)) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

// A moment as the API writes it: RFC 3339, or microseconds since the epoch inside of what is kept as it is.
const instant = (moment) => (typeof moment === "number" ? moment / 1000 : Date.parse(moment));

const machine = (moment) => new Date(instant(moment)).toISOString();

export const secondsSince = (moment) => (now() - instant(moment)) / 1000;

// How long ago, with the exact moment for whoever points at it.
export function ago(moment, suffix = " ago") {
  if (!moment) return null;
  return h("time", { datetime: machine(moment), title: exact(moment) }, `${span(secondsSince(moment))}${suffix}`);
}

// How long until, or that it is over.
export function ahead(moment) {
  const seconds = -secondsSince(moment);
  const words = seconds > 0 ? `in ${span(seconds)}` : `${span(-seconds)} ago`;
  return h("time", { datetime: machine(moment), title: exact(moment) }, words);
}

export const exact = (moment) => MOMENT.format(new Date(instant(moment)));

export function at(moment) {
  return h("time.at", { datetime: machine(moment), title: moment }, exact(moment));
}

// The lanes in the order in which they go, and what waits in them.
export const LANES = [
  ["deprovision", "Leavers", "Access that ends; goes before all else"],
  ["revoke", "Revocations", "Memberships that end"],
  ["change", "Changes", "Users and groups that changed"],
  ["membership", "Members", "Memberships that begin"],
  ["backfill", "Catching up", "What a new or drifted target lacks"],
];

export const CLASSES = [
  ["missing", "Missing", "should be at the vendor, and is not"],
  ["extra", "Extra", "is at the vendor, and the directory says that it is gone"],
  ["differs", "Differs", "is there, and some of what the relay owns differs"],
  ["unmanaged", "Unmanaged", "is at the vendor, and no source speaks of it; it stays"],
  ["duplicate", "Duplicate", "several at the vendor match one of the directory’s"],
  ["unlinked", "Unlinked", "is there, and would be linked"],
];

// The end of a long name of an extension's attribute says enough.
export function attribute(path) {
  const at = path.lastIndexOf(":");
  return path.startsWith("urn:") && at > 0 ? path.slice(at + 1) : path;
}

// `user:…`, `group:…` or `member:<bytes of group id>:<group id>:<user id>`.
export function item(id) {
  const [, kind, rest] = /^(user|group|member):([^]*)$/.exec(id) ?? [null, "", id];
  if (kind !== "member") return { kind, id: rest };
  const colon = rest.indexOf(":");
  const bytes = new TextEncoder().encode(rest.slice(colon + 1));
  const length = Number(rest.slice(0, colon));
  const text = (part) => new TextDecoder().decode(part);
  return { kind, group: text(bytes.slice(0, length)), id: text(bytes.slice(length + 1)) };
}
