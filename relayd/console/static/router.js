// Which page an address shows: "#/queue?to=example.org" is page "queue" with {to: "example.org"}, "#/queue/123" has rest "123".

/** The place that the address bar names. */
export function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  return { name: name || "overview", rest: rest.join("/"), query: Object.fromEntries(new URLSearchParams(query ?? "")) };
}

/** The address of a place. */
export function link(name, rest, query) {
  const given = Object.entries(query ?? {}).filter(([, value]) => value);
  const path = rest ? `${name}/${encodeURIComponent(rest)}` : name;
  return `#/${path}${given.length ? "?" + new URLSearchParams(given) : ""}`;
}

/** Go there; instead: without a step in the history. */
export function go(name, rest, query, { instead = false } = {}) {
  const address = link(name, rest, query);
  if (instead) history.replaceState(null, "", address);
  else location.hash = address;
}
