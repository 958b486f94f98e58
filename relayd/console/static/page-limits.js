// What holds mail back: suspensions, the suppression list, bans, hosts whose TLS is broken; each can be lifted.

import { ask, get, may, search } from "./api.js";
import { confirm, toast } from "./dialog.js";
import { button, fill, h, heading, problem, when } from "./dom.js";
import { table } from "./table.js";

const LIMIT = 100;

export function show(main) {
  const parts = h("div", {});
  const suspend = may("message-queue-update") && button("Suspend", async () => {
    const asked = await confirm("Suspend", h("p", {}, "Nothing more is attempted for it until it is resumed, or its time is over."), { act: "Suspend", fields: [
      { name: "subject", label: "What", options: [["domain", "Domain"], ["route", "Route"], ["provider", "Provider"], ["account", "Account"], ["source", "Source"]], value: "domain" },
      { name: "name", label: "Name", required: true }, { name: "for", label: "For", hint: "30m, 2h, 1d; empty: until it is resumed." }, { name: "reason", label: "Reason" }] });
    if (!asked) return;
    await act(() => ask("POST", "/queue/suspensions", { [asked.subject]: asked.name, ...(asked.for && { for: asked.for }), reason: asked.reason }));
  });
  fill(main, heading("Limits", suspend), parts);

  async function act(work) {
    try { await work(); } catch (error) { toast(error.message); }
    load();
  }

  const lift = (path, text = "Lift") => button(text, () => act(() => ask("DELETE", path)), { class: "plain" });

  async function part(permission, title, path, columns, items, key, empty) {
    if (!may(permission)) return null;
    const list = table(title, columns, { empty, key });
    try { list.show(items(await get(path))); } catch (error) { return h("section", { class: "card" }, h("h2", {}, title), problem(error)); }
    return h("section", { class: "card" }, h("h2", {}, title), list.element);
  }

  async function load() {
    fill(parts, await Promise.all([
      part("message-queue-list", "Suspended", "/queue/suspensions", [
        { title: "What", cell: (each) => each.destination }, { title: "Until", cell: (each) => (each.until ? when(each.until) : "resumed by hand") },
        { title: "By", cell: (each) => each.by }, { title: "Reason", class: "said", cell: (each) => each.reason },
        { title: "", cell: (each) => may("message-queue-update") && lift(`/queue/suspensions/${encodeURIComponent(each.destination)}`, "Resume") },
      ], (found) => found, (each) => each.destination, "Nothing is suspended."),
      part("suppression-list", "Suppressed recipients", "/suppression" + search({ limit: LIMIT }), [
        { title: "Recipient", class: "said", cell: (each) => each.address }, { title: "Scope", cell: (each) => each.scope }, { title: "Cause", cell: (each) => each.cause },
        { title: "Since", cell: (each) => when(each.since) }, { title: "Until", cell: (each) => when(each.until) },
        { title: "", cell: (each) => may("suppression-delete") && lift(`/suppression/${each.id}`) },
      ], (found) => found.items, (each) => each.id, "Nobody is on the list."),
      part("ban-list", "Banned addresses", "/bans" + search({ limit: LIMIT }), [
        { title: "Address", class: "said", cell: (each) => each.address }, { title: "Until", cell: (each) => when(each.until) }, { title: "Reason", class: "said", cell: (each) => each.reason }, { title: "Times", class: "right", cell: (each) => each.times },
        { title: "", cell: (each) => may("ban-delete") && lift(`/bans/${encodeURIComponent(each.address)}`) },
      ], (found) => found.items, (each) => each.address, "Nobody is banned."),
    ]));
  }
  load();
}
