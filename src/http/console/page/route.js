// Where one is: the part of the address after the #, as names and parameters.

export function here() {
  const [names, parameters = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return {
    names: names.split("/").filter(Boolean).map(decoded),
    parameters: Object.fromEntries(new URLSearchParams(parameters)),
  };
}

// The address of a place, for links: to(["drift", "acme"], { kind: "user" }).
export function to(names, parameters = {}) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  const end = given.length > 0 ? `?${new URLSearchParams(given)}` : "";
  return `#/${names.map(encodeURIComponent).join("/")}${end}`;
}

function decoded(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}
