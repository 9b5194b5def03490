// Asks for a key.

import { h } from "../dom.js";
import { notice } from "../parts.js";

export function show(why, sign) {
  const field = h("input", {
    type: "password", id: "key", name: "key", required: true, autocomplete: "current-password",
    spellcheck: "false", "aria-describedby": why ? "why" : null, "aria-invalid": why ? "true" : null,
  });
  // What no header can bear is no key of the relay's.
  const submit = (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (text) sign(text.replace(/[^\x21-\x7e ]/g, "?"));
  };
  return h("section.sign-in", { "aria-labelledby": "title" },
    h("h1", { id: "title", tabindex: "-1" }, "Sign in"),
    h("p.lead", {}, "With an admin key of this relay. It stays in this tab, and goes when the tab is closed."),
    why && h("div", { role: "alert", id: "why" }, notice("bad", why)),
    h("form", { onsubmit: submit },
      h("label", { for: "key" }, "Admin key"),
      field,
      h("button", { type: "submit", class: "primary", id: "sign-in" }, "Sign in")));
}
