// Calls to the admin API with the person's key, and what is told when one fails.

const ROOT = "../admin/v1";
const KEY = "scim-relay-key";

// The key stays in this tab, and ends with it.
export const key = {
  get: () => sessionStorage.getItem(KEY),
  keep: (text) => sessionStorage.setItem(KEY, text),
  forget: () => sessionStorage.removeItem(KEY),
};

// Why a call was not done. `kind` is what the page does next: ask for a key (`key`), say that the role is
// too small (`role`), that the thing is gone (`gone`), that it was refused (`refused`), or that the relay does
// not answer as it should (`relay`).
export class Failure extends Error {
  constructor(kind, words) {
    super(words);
    this.kind = kind;
  }
}

// A path with every part escaped: path`/targets/${name}/parked`.
export function path(fixed, ...parts) {
  return fixed.reduce((whole, next, at) => whole + encodeURIComponent(parts[at - 1]) + next);
}

// A path with those parameters that have a value.
export function query(base, parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length === 0 ? base : `${base}?${new URLSearchParams(given)}`;
}

export async function get(address, signal) {
  const answer = await send("GET", address, { signal });
  return answer.json();
}

export async function post(address, body) {
  const answer = await send("POST", address, { body });
  return answer.status === 204 ? null : answer.json();
}

export async function csv(address) {
  const answer = await send("GET", address, { accept: "text/csv" });
  return answer.blob();
}

// How far the relay's clock is ahead of this machine's, so that ages are right on a machine whose clock is not.
let ahead = 0;
export const now = () => Date.now() + ahead;

async function send(method, address, { body, accept = "application/json", signal } = {}) {
  const headers = { authorization: `Bearer ${key.get() ?? ""}`, accept };
  if (body !== undefined) headers["content-type"] = "application/json";
  const options = { method, headers, signal, cache: "no-store", credentials: "omit", redirect: "error" };
  let answer;
  try {
    answer = await fetch(ROOT + address, { ...options, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("relay", "The relay does not answer.");
  }
  const date = Date.parse(answer.headers.get("date"));
  if (Number.isFinite(date)) ahead = Math.abs(date - Date.now()) > 5000 ? date - Date.now() : 0;
  if (!answer.ok) throw await failure(answer);
  return answer;
}

async function failure(answer) {
  const problem = await answer.json().catch(() => ({}));
  const detail = typeof problem.detail === "string" ? problem.detail : `the relay answered ${answer.status}`;
  switch (answer.status) {
    case 401:
      return new Failure("key", "The relay does not know this key.");
    case 403:
      return new Failure("role", "Your key may look, and this acts. It takes the key of an operator.");
    case 404:
      return new Failure("gone", sentence(detail));
    default:
      return new Failure(answer.status < 500 ? "refused" : "relay", sentence(detail));
  }
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}
