// The queue: filter as the API filters, look first (dry run), act, undo.

import { ask, get, may, search } from "./api.js";
import { confirm, toast } from "./dialog.js";
import { announce, button, count, digits, few, field, fill, h, heading, problem, size, when } from "./dom.js";
import { go, link } from "./router.js";
import { pager, table } from "./table.js";

const LIMIT = 50;
const COUNTED = 1000;
const FILTERS = [["text", "Address"], ["from", "From"], ["to", "To"], ["domain", "Domain"]];
const STATES = [["", "Any state"], ["held", "Held"], ["due", "Due now"], ["deferred", "Deferred"], ["deleted", "Deleted"]];

export function show(main, { query }) {
  const page = Number(query.page) || 1;
  const filter = Object.fromEntries([...FILTERS.map(([name]) => name), "state"].map((name) => [name, query[name] ?? ""]));
  const chosen = new Set();
  const place = h("div", {}), said = h("div", {}), status = h("span", {});
  const acts = actions(filter, chosen, () => load());
  const list = table("Queued messages", [
    { title: "Message", cell: (item) => h("a", { href: link("message", digits(item.id)), class: "mono" }, digits(item.id)) },
    { title: "From", class: "said", cell: (item) => item.return_path || "<>" },
    { title: "To", class: "said", cell: (item) => few(item.domains.flatMap((each) => each.recipients.map((one) => one.address))) },
    { title: "State", cell: state },
    { title: "Next attempt", cell: (item) => (item.hold || item.deleted ? "" : when(item.domains.map((each) => each.next_retry).filter(Boolean).sort()[0])) },
    { title: "Size", class: "right nowrap", cell: (item) => size(item.size) },
    { title: "Arrived", cell: (item) => when(item.created) },
  ], { empty: "No message matches.", chosen, key: (item) => digits(item.id) });
  list.element.addEventListener("chosen", () => acts.update());

  const form = h("form", { class: "filters", role: "search", onsubmit: (event) => {
    event.preventDefault();
    go("queue", "", Object.fromEntries(new FormData(form)));
  } },
  FILTERS.map(([name, label], number) => field(label, h("input", { name, value: filter[name], autocomplete: "off", "data-search": number === 0 }))),
  field("State", select("state", STATES, filter.state)),
  h("div", { class: "field actions" }, h("button", { type: "submit", class: "first" }, "Filter"), h("a", { class: "button", href: link("queue") }, "Clear")));

  async function load() {
    chosen.clear();
    acts.update();
    const most = (page - 1) * LIMIT + COUNTED; // counted, from this page on
    try {
      const found = await get("/queue/messages", { ...filter, values: 1, limit: LIMIT, page, "max-total": most });
      list.show(found.items);
      fill(place, pager(page, LIMIT, found.total, (next) => go("queue", "", { ...filter, page: String(next) }), found.total >= most));
      acts.total(found.total, found.total >= most);
      running(found.status);
      announce(`${count(found.total)} messages`);
    } catch (error) {
      fill(said, problem(error));
    }
  }

  function running(is) {
    fill(status, h("span", { class: `live ${is ? "on" : ""}` }, is ? "running" : "paused"),
      may("message-queue-update") && button(is ? "Pause the queue" : "Resume the queue", async () => {
        await ask("PATCH", `/queue/status/${is ? "stop" : "start"}`);
        load();
      }));
  }

  fill(main, heading("Queue", status, button("Refresh", load)), h("section", { class: "card" }, form), said, acts.element, h("section", { class: "card" }, list.element, place));
  load();
}

function select(name, options, value) {
  return h("select", { name }, options.map(([each, text]) => h("option", { value: each, selected: each === value }, text)));
}

/** What a status says: [word, text, class of its tag]. */
export function statusOf(status) {
  if (status === "scheduled") return ["scheduled", "", ""];
  const [kind, whole] = Object.entries(status)[0];
  const text = brief(whole);
  return { completed: ["delivered", text, ""], temp_fail: ["deferred", text, "warn"], perm_fail: ["failed", text, "bad"] }[kind] ?? [kind, text, ""];
}

/** A reply as it was sent, and by whom: "451 4.2.2 The mailbox is full (mx.example.org)". */
function brief(text) {
  const [, host, code, enhanced, words] = /^(?:Unexpected response from '([^']*)': )?Code: (\d+)(?:, Enhanced code: ([\d.]+))?, Message: (.*)$/s.exec(text) ?? [];
  return code ? [code, enhanced, words, host && `(${host})`].filter(Boolean).join(" ") : text;
}

function state(item) {
  if (item.deleted) return [tag("deleted", "off"), " until ", when(item.deleted.until)];
  if (item.hold) return [tag("held", "warn"), h("div", { class: "quiet clip", title: item.hold.reason }, item.hold.reason)];
  if (item.corrupt) return tag("corrupt", "bad");
  const [word, text, kind] = statusOf(item.domains[0]?.status ?? "scheduled");
  return [tag(word, kind), text && h("div", { class: "quiet clip", title: text }, text)];
}

export const tag = (text, kind = "") => h("span", { class: `tag ${kind}` }, text);

/** Buttons for what is chosen, or for all that the filter finds. */
function actions(filter, chosen, done) {
  let total = 0, capped = false;
  const label = h("span", { class: "quiet", "aria-live": "polite" });
  const buttons = [];
  const element = h("div", { class: "actions bar" }, label);

  const target = () => (chosen.size ? "the chosen messages" : `all ${count(total)}${capped ? "+" : ""} that match`);

  async function each(method, path, body, query) {
    if (!chosen.size) return (await ask(method, path + search({ ...filter, ...query }), body)).matched ?? total;
    let changed = 0;
    for (const id of chosen) changed += (await ask(method, path + search({ ...filter, ...query, "range-start": id, "range-end": id }), body)).matched ?? 1;
    return changed;
  }

  async function act(title, what, method, path, { reason = true, bad = false, query = {}, fields = [], undo = false } = {}) {
    try {
      const looked = await each("POST", path.startsWith("/queue/messages") ? "/queue/hold" : path, method === "POST" ? bodyOf(path, {}) : {}, { "dry-run": 1 }).catch(() => null);
      const asked = await confirm(title, [h("p", {}, what(target())), looked !== null && method === "POST" && h("p", { class: "quiet" }, `${count(looked)} of them can be changed so.`)],
        { act: title, bad, fields: [...fields, ...(reason ? [{ name: "reason", label: "Reason", hint: "Stands in the log and with the message." }] : [])] });
      if (!asked) return;
      const ids = [...chosen];
      const changed = await each(method, path, method === "POST" ? bodyOf(path, asked) : undefined, query);
      toast(`${title}: ${count(changed)} messages`, undo && (async () => {
        for (const id of ids.length ? ids : [null]) await ask("POST", "/queue/undo" + search(id === null ? filter : { "range-start": id, "range-end": id }), { reason: "undone in the console" });
        done();
      }));
      done();
    } catch (error) {
      toast(error.message);
    }
  }

  function bodyOf(path, asked) {
    return path === "/queue/reroute" ? { next_hop: asked["next-hop"] ?? "", reason: asked.reason ?? "" } : { reason: asked.reason ?? "" };
  }

  const add = (permission, text, run, attributes) => {
    if (!may(permission)) return;
    const made = button(text, run, attributes);
    buttons.push(made);
    element.append(made);
  };
  if (filter.state === "deleted") {
    add("message-queue-delete", "Undo the deletion", () => act("Undo", (who) => `Bring back ${who}.`, "POST", "/queue/undo"));
  } else {
    add("message-queue-update", "Retry now", () => act("Retry", (who) => `Try ${who} now.`, "PATCH", "/queue/messages", { reason: false }));
    add("message-queue-update", "Hold", () => act("Hold", (who) => `Keep ${who} until they are released.`, "POST", "/queue/hold"));
    add("message-queue-update", "Release", () => act("Release", (who) => `Let ${who} go, those that are held.`, "POST", "/queue/release"));
    add("message-queue-update", "Reroute", () => act("Reroute", (who) => `Send ${who} by another next hop.`, "POST", "/queue/reroute", { fields: [{ name: "next-hop", label: "Next hop", hint: "The id of a route, or mx; empty: as configured." }] }));
    add("message-queue-delete", "Bounce", () => act("Bounce", (who) => `Return ${who} to their senders, with a report.`, "POST", "/queue/bounce", { bad: true }));
    add("message-queue-delete", "Delete", () => act("Delete", (who) => `Delete ${who}. Nobody is told; it can be undone for a while.`, "DELETE", "/queue/messages", { bad: true, reason: false, undo: true }));
  }

  function update() {
    label.textContent = chosen.size ? `${chosen.size} chosen` : `Nothing chosen: the buttons mean all ${count(total)}${capped ? "+" : ""} that match`;
    for (const each of buttons) each.disabled = !chosen.size && !total;
  }
  update();
  return { element, update, total: (found, more) => { total = found; capped = more; update(); } };
}
