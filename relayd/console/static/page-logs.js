// The log, newest first.

import { get } from "./api.js";
import { field, fill, h, heading, problem, when } from "./dom.js";
import { tag } from "./page-queue.js";
import { go } from "./router.js";
import { pager, table } from "./table.js";

const LIMIT = 100;
const KINDS = { ERROR: "bad", WARN: "warn" };

export function show(main, { query }) {
  const page = Number(query.page) || 1;
  const place = h("div", {}), said = h("div", {});
  const list = table("Log lines", [
    { title: "Time", cell: (each) => when(each.timestamp) },
    { title: "Level", cell: (each) => tag(each.level, KINDS[each.level] ?? "off") },
    { title: "Event", cell: (each) => [each.event, h("div", { class: "quiet mono" }, each.event_id)] },
    { title: "Details", cell: (each) => h("span", { class: "mono" }, each.details) },
  ], { empty: "No line holds that.", key: (each) => each.timestamp });
  const form = h("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); go("logs", "", Object.fromEntries(new FormData(form))); } },
    field("Lines that hold", h("input", { name: "filter", value: query.filter ?? "", "data-search": true, autocomplete: "off", spellcheck: "false" }), "Upper and lower case count."),
    h("div", { class: "field actions" }, h("button", { type: "submit", class: "first" }, "Search")));
  fill(main, heading("Logs"), h("section", { class: "card" }, form), said, h("section", { class: "card" }, list.element, place));
  get("/logs", { filter: query.filter, page, limit: LIMIT }).then((found) => {
    list.show(found.items);
    const more = found.total > page * LIMIT;
    fill(place, pager(page, LIMIT, Math.min(found.total, page * LIMIT + (more ? 1 : 0)), (next) => go("logs", "", { ...query, page: String(next) }), more));
  }, (error) => fill(said, problem(error)));
}
