// Chooses the view for the place one is at, keeps it fresh while it is looked at, and says what went wrong.

import * as api from "./api.js";
import { h, replace } from "./dom.js";
import { button, heading, notice } from "./parts.js";
import { here, to } from "./route.js";
import * as drift from "./views/drift.js";
import * as hold from "./views/hold.js";
import * as holds from "./views/holds.js";
import * as parked from "./views/parked.js";
import * as people from "./views/people.js";
import * as report from "./views/report.js";
import * as signIn from "./views/sign_in.js";
import * as story from "./views/story.js";
import * as target from "./views/target.js";
import * as targets from "./views/targets.js";
import * as waiting from "./views/waiting.js";

const REFRESH_MS = 4000;
const TOLD_MS = 8000;
const PARTS = [["targets", "Targets"], ["drift", "Drift"], ["parked", "Parked"], ["holds", "Holds"], ["people", "People"]];

// Where places belong that no part is named after.
const WITHIN = { groups: "people", waiting: "targets" };

// A view has `load(place, signal, memory)`, which asks the relay, and `show(data, context)`, which makes elements of the
// answer. `still` marks one that is not asked anew by itself.
function viewOf({ names }) {
  const [part, ...rest] = names;
  if (part === "drift") return rest.length > 0 ? report : drift;
  if (part === "parked") return parked;
  if (part === "waiting" && rest.length > 0) return waiting;
  if (part === "holds") return rest.length > 0 ? hold : holds;
  if (part === "groups" && rest.length > 1) return story;
  if (part === "people") return rest.length > 1 ? story : people;
  return part === "targets" && rest.length > 0 ? target : targets;
}

const main = document.getElementById("main");
const page = (name) => document.getElementById(name);
let me = null;
let visit = null;

// One stay at one place. Answers that come after it has ended are not shown.
class Visit {
  constructor(place) {
    this.place = place;
    this.view = viewOf(place);
    this.ended = new AbortController();
    this.shown = null;
    this.memory = {};
  }

  async run() {
    while (!this.ended.signal.aborted) {
      await this.refresh();
      if (this.view.still) return;
      await this.pause();
    }
  }

  async refresh(asked = false) {
    try {
      const data = await this.view.load(this.place, this.ended.signal, this.memory);
      if (this.ended.signal.aborted || (this.shown !== null && !asked && isInHand())) return;
      this.draw(data);
      page("asof").textContent = `As of ${new Date(api.now()).toLocaleTimeString("en-GB")}`;
    } catch (error) {
      if (!this.ended.signal.aborted) this.fail(error);
    }
  }

  draw(data) {
    const first = this.shown === null;
    this.shown = data;
    replace(main, this.view.show(data, this.context()));
    main.removeAttribute("aria-busy");
    main.dataset.state = "shown";
    if (first) this.arrive();
  }

  // Whoever came by a link hears where they are.
  arrive() {
    const title = page("title");
    document.title = title ? `${title.textContent} · scim-relay` : "scim-relay";
    if (arrivals++ > 0 && !main.contains(document.activeElement)) title?.focus();
  }

  context() {
    return {
      me,
      mayAct: me.role !== "viewer",
      memory: this.memory,
      place: this.place,
      redraw: () => this.draw(this.shown),
      act: (doing, done) => this.act(doing, done),
    };
  }

  // Does something for the person, says what came of it, and looks again.
  async act(doing, done) {
    try {
      const answer = await doing();
      say(typeof done === "function" ? done(answer) : done);
    } catch (error) {
      if (error.kind === "key") return signOut(error.message);
      say(error.message, "bad");
    }
    await this.refresh(true);
  }

  fail(error) {
    if (error.kind === "key") return signOut(error.message);
    if (!(error instanceof api.Failure)) throw error;
    main.removeAttribute("aria-busy");
    main.dataset.state = "failed";
    page("asof").textContent = "";
    const since = this.shown === null ? "" : " Below is what was there before.";
    const again = button("Try again", () => this.refresh(true), { id: "again" });
    const told = h("div", { role: "alert" }, notice("bad", error.message, since, " ", again));
    if (this.shown === null) replace(main, heading("Nothing to show"), told);
    else replace(main, told, this.view.show(this.shown, this.context()));
  }

  // Until it is time to look again; while nobody looks, until somebody does.
  pause() {
    return new Promise((resolve) => {
      const due = setTimeout(() => { if (!document.hidden) wake(); }, REFRESH_MS);
      const wake = () => {
        clearTimeout(due);
        document.removeEventListener("visibilitychange", seen);
        this.ended.signal.removeEventListener("abort", wake);
        resolve();
      };
      const seen = () => { if (!document.hidden) wake(); };
      document.addEventListener("visibilitychange", seen);
      this.ended.signal.addEventListener("abort", wake);
    });
  }
}

// Whether somebody is pressing or has marked something in the view, which new elements would take away.
let isPressed = false;
function isInHand() {
  const marked = document.getSelection();
  return isPressed || (marked && !marked.isCollapsed && main.contains(marked.anchorNode));
}
for (const press of ["pointerdown", "keydown"]) document.addEventListener(press, () => { isPressed = true; }, true);
for (const end of ["pointerup", "pointercancel", "keyup", "blur"]) {
  window.addEventListener(end, () => setTimeout(() => { isPressed = false; }), true);
}

let arrivals = 0;
let toldUntil = null;

function say(text, tone = "good") {
  const said = page("said");
  said.className = `said ${tone}`;
  said.textContent = text;
  clearTimeout(toldUntil);
  toldUntil = setTimeout(() => { said.textContent = ""; }, TOLD_MS);
}

async function go() {
  visit?.ended.abort();
  if (api.key.get() === null) return askForKey("");
  try {
    me ??= await api.get("/me");
  } catch (error) {
    if (error.kind === "key") return signOut(error.message);
    return replace(main, heading("Nothing to show"),
      h("div", { role: "alert" }, notice("bad", error.message, " ", button("Try again", go, { id: "again" }))));
  }
  const place = here();
  frame(place);
  main.setAttribute("aria-busy", "true");
  main.dataset.state = "loading";
  replace(main, h("p.loading", {}, "Asking the relay …"));
  window.scrollTo(0, 0);
  visit = new Visit(place);
  visit.run();
}

// Navigation and whose key it is.
function frame({ names }) {
  const current = WITHIN[names[0]] ?? names[0] ?? "targets";
  const link = ([part, title]) =>
    h("a", { href: to([part]), id: `nav-${part}`, "aria-current": part === current ? "page" : null }, title);
  replace(page("nav"), PARTS.map(link));
  const role = { viewer: "looks", operator: "acts", admin: "does everything" }[me.role] ?? me.role;
  replace(page("who"), h("span", { title: `This key ${role}` }, me.name, h("span.quiet", {}, ` ${me.role}`)),
    button("Sign out", () => signOut(""), { id: "sign-out" }));
}

function askForKey(why) {
  replace(page("nav"));
  replace(page("who"));
  page("asof").textContent = "";
  main.removeAttribute("aria-busy");
  main.dataset.state = "key";
  document.title = "Sign in · scim-relay";
  replace(main, signIn.show(why, (text) => { api.key.keep(text); go(); }));
  page("key").focus();
}

function signOut(why) {
  visit?.ended.abort();
  api.key.forget();
  me = null;
  askForKey(why);
}

page("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
window.addEventListener("hashchange", go);
go();
