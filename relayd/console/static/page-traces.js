// Events as they happen, those that fit the filter: words, and key=value for the keys of events (remote-ip=..., queue-id=...).

import { button, count, field, fill, h, heading, when } from "./dom.js";
import { details } from "./page-message.js";
import { go } from "./router.js";
import { open, TRACES } from "./stream.js";

const KEPT = 500;

/** "queue-id=12 from=example.org some words" as the query of the stream. */
export function parseFilter(textOfFilter) {
  const query = {}, words = [];
  for (const word of textOfFilter.match(/(?:[^\s"]|"[^"]*")+/g) ?? []) {
    const [, key, value] = /^([a-z][a-z-]*)=(.+)$/.exec(word) ?? [];
    if (key) query[key] = value.replaceAll('"', "");
    else words.push(word.replaceAll('"', ""));
  }
  if (words.length) query.filter = words.join(" ");
  return query;
}

export function show(main, { query }) {
  const light = h("span", { class: "live" }, "connecting");
  const rows = h("ol", { class: "trace", "aria-label": "Events, the newest first" });
  const missed = h("p", { class: "notice warn", hidden: true });
  let paused = false, waiting = [], lost = 0;

  const pause = button("Pause", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) { put(waiting); waiting = []; }
  }, { "aria-pressed": "false" });

  function put(events) {
    nothing.hidden = true;
    const made = events.slice(-KEPT).map((each) => h("li", { class: level(each) },
      h("div", {}, h("b", {}, each.text ?? each.type), " ", h("span", { class: "quiet" }, each.type, " ", when(each.createdAt))),
      h("div", { class: "quiet mono" }, details(each.data))));
    rows.prepend(...made.reverse());
    while (rows.childElementCount > KEPT) rows.lastChild.remove();
  }

  const form = h("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); go("traces", "", { q: form.elements.q.value }); } },
    field("Filter", h("input", { name: "q", value: query.q ?? "", "data-search": true, autocomplete: "off", spellcheck: "false" }),
      "Words that a value holds, and keys: remote-ip=192.0.2.7 queue-id=1234 from=example.org"),
    h("div", { class: "field actions" }, h("button", { type: "submit", class: "first" }, "Filter"), pause, button("Clear", () => fill(rows))));
  const nothing = h("p", { class: "empty" }, "Nothing has happened yet that fits.");
  fill(main, heading("Live traces", light), h("section", { class: "card" }, form), missed, h("section", { class: "card" }, nothing, rows));

  return open(TRACES, "/telemetry/traces/live", parseFilter(query.q ?? ""), {
    trace: (events) => {
      if (!paused) { put(events); return; }
      waiting = waiting.concat(events);
      lost += Math.max(0, waiting.length - KEPT);
      waiting = waiting.slice(-KEPT);
      pause.textContent = `Go on (${waiting.length} wait)`;
    },
    missed: (told) => {
      lost += told.events ?? 0;
      missed.hidden = false;
      missed.textContent = `${count(lost)} events were left out: more happened than can be shown.`;
    },
  }, { state: (state) => { light.textContent = state; light.classList.toggle("on", state === "live"); } });
}

function level(event) {
  const word = (event.level ?? "").toLowerCase();
  return word === "error" ? "bad" : word === "warn" ? "warn" : "";
}
