// Principals: who may sign in, who may send, which domains are ours, lists and groups; and what each sent.

import { ask, get, may } from "./api.js";
import { confirm, toast } from "./dialog.js";
import { button, count, facts, field, fill, h, heading, problem, when } from "./dom.js";
import { tag } from "./page-queue.js";
import { go, link } from "./router.js";
import { pager, table } from "./table.js";

const LIMIT = 50;
const TYPES = [["individual", "Accounts"], ["domain", "Domains"], ["group", "Groups"], ["list", "Lists"], ["role", "Roles"], ["apiKey", "API keys"], ["oauthClient", "OAuth clients"], ["tenant", "Tenants"]];
const FAMILY = { list: "mailing-list", apiKey: "api-key", oauthClient: "oauth-client" };
const all = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);

export function show(main, { rest, query }) {
  return rest ? one(main, rest) : many(main, query);
}

function many(main, query) {
  const type = query.type || "individual", page = Number(query.page) || 1;
  const offered = TYPES.filter(([each]) => may(`${FAMILY[each] ?? each}-list`));
  const place = h("div", {}), said = h("div", {});
  const list = table("Principals", [
    { title: "Name", class: "said", cell: (each) => h("a", { href: link("accounts", each.name) }, each.name) },
    { title: "Description", cell: (each) => each.description ?? "" },
    { title: "Addresses", class: "said", cell: (each) => all(each.emails).join(", ") },
    { title: "Members", class: "right", cell: (each) => (typeof each.members === "number" ? count(each.members) : all(each.members).length || "") },
    { title: "Roles", cell: (each) => all(each.roles).map((role) => [tag(role, "off"), " "]) },
  ], { empty: "None yet." });
  const form = h("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); go("accounts", "", Object.fromEntries(new FormData(form))); } },
    field("What", h("select", { name: "type", onchange: () => form.requestSubmit() }, offered.map(([each, text]) => h("option", { value: each, selected: each === type }, text)))),
    field("Search", h("input", { name: "filter", value: query.filter ?? "", "data-search": true, autocomplete: "off" })),
    h("div", { class: "field actions" }, h("button", { type: "submit", class: "first" }, "Search")));
  const add = may(`${FAMILY[type] ?? type}-create`) && button("Add", () => create(type));
  fill(main, heading("Accounts", add), h("section", { class: "card" }, form), said, h("section", { class: "card" }, list.element, place));
  get("/principal", { types: type, filter: query.filter, page, limit: LIMIT }).then((found) => {
    list.show(found.items);
    fill(place, pager(page, LIMIT, found.total, (next) => go("accounts", "", { ...query, page: String(next) })));
  }, (error) => fill(said, problem(error)));
}

async function create(type) {
  const fields = [{ name: "name", label: "Name", required: true, value: "", hint: type === "domain" ? "example.org" : "" }, { name: "description", label: "Description" }];
  if (["individual", "group", "list"].includes(type)) fields.push({ name: "emails", label: "Addresses", hint: "With commas between them; their domains must exist." });
  if (["individual", "apiKey"].includes(type)) fields.push({ name: "secrets", label: "Password", type: "password" });
  const asked = await confirm(`Add: ${TYPES.find(([each]) => each === type)[1]}`, "", { act: "Add", fields });
  if (!asked) return;
  const body = { type, name: asked.name, description: asked.description };
  if (asked.emails) body.emails = asked.emails.split(",").map((each) => each.trim()).filter(Boolean);
  if (asked.secrets) body.secrets = asked.secrets;
  if (type === "individual") body.roles = ["user"];
  try {
    await ask("POST", "/principal", body);
    go("accounts", asked.name);
  } catch (error) {
    toast(error.message);
  }
}

function one(main, name) {
  const body = h("div", {}), buttons = h("span", { class: "actions" });
  fill(main, heading(name, buttons), body);

  async function load() {
    let found;
    try { found = await get(`/principal/${encodeURIComponent(name)}`); } catch (error) { fill(body, problem(error)); return; }
    const family = FAMILY[found.type] ?? found.type;
    fill(buttons,
      may(`${family}-update`) && button("Change", () => change(found)),
      may(`${family}-update`) && ["individual", "apiKey"].includes(found.type) && button("New password", password),
      may(`${family}-delete`) && button("Delete", remove));
    fill(body, h("section", { class: "card" }, facts([
      ["Type", found.type], ["Description", found.description], ["Addresses", all(found.emails).join(", ")], ["Roles", all(found.roles).join(", ")],
      ["Member of", [...all(found.memberOf), ...all(found.lists)].join(", ")], ["Members", typeof found.members === "number" ? count(found.members) : all(found.members).join(", ")],
      ["Outside members", all(found.externalMembers).join(", ")], ["Tenant", found.tenant], ["Next hop", found.nextHop], ["Allowances", all(found.allowances).join(", ")],
      ["Further senders", all(found.senders).join(", ")], ["Suspended", found.suspended],
    ])), ["individual", "domain", "tenant"].includes(found.type) && may("quota-get") && (await quota()));
  }

  async function quota() {
    const found = await get(`/quota/${encodeURIComponent(name)}`).catch(() => null);
    if (!found) return null;
    const sent = table("Sent", [
      { title: "In this", cell: ([period]) => period },
      { title: "Messages", class: "right", cell: ([, each]) => count(each.messages) },
      { title: "Recipients", class: "right", cell: ([, each]) => count(each.recipients) },
      { title: "Octets", class: "right", cell: ([, each]) => count(each.bytes) },
    ], { key: ([period]) => period });
    sent.show(Object.entries(found.sent));
    const limits = table("Limits", [
      { title: "Limit of", cell: (each) => each.name }, { title: "What", cell: (each) => `${count(each.most)} ${each.measure} a ${each.period}` },
      { title: "Used", class: "right", cell: (each) => count(each.used) }, { title: "Resets", cell: (each) => when(each.resets) },
    ], { empty: "Nothing limits it.", key: (each) => each.name + each.measure + each.period });
    limits.show(found.limits);
    return h("div", { class: "grid" }, h("section", { class: "card" }, h("h2", {}, "Sent"), sent.element), h("section", { class: "card" }, h("h2", {}, "Limits"), limits.element));
  }

  async function patch(changes) {
    try {
      await ask("PATCH", `/principal/${encodeURIComponent(name)}`, changes);
      toast("Changed");
      load();
    } catch (error) {
      toast(error.message);
    }
  }

  async function change(found) {
    const lists = [["emails", "Addresses"], ["members", "Members"], ["externalMembers", "Outside members"], ["roles", "Roles"], ["allowances", "Allowances"], ["senders", "Further senders"]]
      .filter(([each]) => (found[each] !== undefined && typeof found[each] !== "number") || (each === "emails" && ["individual", "group", "list"].includes(found.type)) || (each === "externalMembers" && ["group", "list"].includes(found.type)) || (each === "members" && ["group", "list"].includes(found.type)));
    const asked = await confirm(`Change ${name}`, "", { act: "Save", fields: [{ name: "description", label: "Description", value: found.description ?? "" },
      ...lists.map(([each, label]) => ({ name: each, label, value: all(found[each]).join(", ") })),
      ...(found.type === "domain" ? [{ name: "nextHop", label: "Next hop", value: found.nextHop ?? "", hint: "The id of a route, or mx; empty: as configured." }] : [])] });
    if (!asked) return;
    const changes = [];
    for (const [key, value] of Object.entries(asked)) {
      const isList = lists.some(([each]) => each === key);
      const next = isList ? value.split(",").map((each) => each.trim()).filter(Boolean) : value;
      const before = isList ? all(found[key]) : found[key] ?? "";
      if (JSON.stringify(next) !== JSON.stringify(before)) changes.push({ action: "set", field: key, value: next });
    }
    if (changes.length) await patch(changes);
  }

  async function password() {
    const asked = await confirm("New password", h("p", { class: "quiet" }, "Who is signed in with the old one is signed out."), { act: "Save", fields: [{ name: "secret", label: "Password", type: "password", required: true }] });
    if (asked) await patch([{ action: "removeItem", field: "secrets", value: "" }, { action: "addItem", field: "secrets", value: asked.secret }]);
  }

  async function remove() {
    if (!(await confirm(`Delete ${name}`, h("p", {}, "It cannot be undone."), { act: "Delete", bad: true }))) return;
    try {
      await ask("DELETE", `/principal/${encodeURIComponent(name)}`);
      go("accounts");
    } catch (error) {
      toast(error.message);
    }
  }
  load();
}
