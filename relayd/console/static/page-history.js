// What became of messages, in the queue or long out of it.

import { get } from "./api.js";
import { digits, few, field, fill, h, heading, problem, when } from "./dom.js";
import { tag } from "./page-queue.js";
import { go, link } from "./router.js";
import { pager, table } from "./table.js";

const LIMIT = 50;
const KINDS = { delivered: "", scheduled: "off", deferred: "warn", bounced: "bad", expired: "bad", removed: "off", discarded: "off", mixed: "warn" };

export function show(main, { query }) {
  const page = Number(query.page) || 1;
  const place = h("div", {}), said = h("div", {});
  const list = table("Messages", [
    { title: "Message", cell: (each) => h("a", { href: link("message", digits(each.id)), class: "mono" }, digits(each.id)) },
    { title: "From", class: "said", cell: (each) => each.from || "<>" },
    { title: "To", class: "said", cell: (each) => few(each.to) },
    { title: "Outcome", cell: (each) => tag(each.state, KINDS[each.state] ?? "off") },
    { title: "Came from", cell: (each) => [each.client, each.account && h("div", { class: "quiet" }, each.account)] },
    { title: "Arrived", cell: (each) => when(each.receivedAt) },
  ], { empty: query.filter ? "Nothing is kept of such a message." : "No message yet." });
  const form = h("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); go("history", "", Object.fromEntries(new FormData(form))); } },
    field("Search", h("input", { name: "filter", value: query.filter ?? "", "data-search": true, autocomplete: "off" }), "Addresses, domains, queue ids, Message-IDs, accounts; all words must fit."),
    h("div", { class: "field actions" }, h("button", { type: "submit", class: "first" }, "Search")));
  fill(main, heading("History"), h("section", { class: "card" }, form), said, h("section", { class: "card" }, list.element, place));
  get("/telemetry/messages", { filter: query.filter, page, limit: LIMIT }).then((found) => {
    list.show(found.items);
    fill(place, pager(page, LIMIT, found.total, (next) => go("history", "", { ...query, page: String(next) })));
  }, (error) => fill(said, problem(error)));
}
