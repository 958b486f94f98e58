// Held mail: why it is held, and letting it go or not.

import { ask, get, may, search } from "./api.js";
import { confirm, toast } from "./dialog.js";
import { button, count, fill, h, heading, problem, when } from "./dom.js";
import { go, link } from "./router.js";
import { pager, table } from "./table.js";

const LIMIT = 50;

export function show(main, { query }) {
  const page = Number(query.page) || 1;
  const place = h("div", {}), said = h("div", {});
  const list = table("Held messages", [
    { title: "Message", cell: (each) => h("a", { href: link("message", each.id), class: "mono" }, each.id) },
    { title: "From", cell: (each) => each.return_path || "<>" },
    { title: "To", cell: (each) => each.domains.flatMap((domain) => domain.recipients.map((one) => one.address)).join(", ") },
    { title: "Held because", cell: (each) => [each.hold?.reason, h("div", { class: "quiet" }, each.hold?.by)] },
    { title: "Since", cell: (each) => when(each.hold?.since) },
    { title: "", cell: (each) => h("span", { class: "actions" },
      may("message-queue-update") && button("Release", () => act("Release", "POST", "/queue/release" + search(range(each)), each), { class: "plain", "aria-label": `Release ${each.id}` }),
      may("message-queue-delete") && button("Delete", () => act("Delete", "DELETE", "/queue/messages" + search(range(each)), each), { class: "plain", "aria-label": `Delete ${each.id}` })) },
  ], { empty: "Nothing is held." });
  const range = (each) => ({ "range-start": each.id, "range-end": each.id });

  async function act(title, method, path, each) {
    const asked = await confirm(title, h("p", {}, `${title} the message from ${each.return_path || "<>"}.`), { act: title, bad: title === "Delete" });
    if (!asked) return;
    try {
      await ask(method, path, method === "POST" ? { reason: "" } : undefined);
      toast(`${title}: done`, title === "Delete" && (async () => { await ask("POST", "/queue/undo" + search(range(each)), { reason: "undone in the console" }); load(); }));
    } catch (error) {
      toast(error.message);
    }
    load();
  }

  async function load() {
    try {
      const found = await get("/queue/messages", { state: "held", values: 1, page, limit: LIMIT, "max-total": 1000 });
      list.show(found.items);
      fill(place, pager(page, LIMIT, found.total, (next) => go("quarantine", "", { page: String(next) }), found.total >= 1000));
      fill(said, found.total > 0 && h("p", { class: "quiet" }, found.total === 1 ? "One message waits for a decision." : `${count(found.total)} messages wait for a decision.`));
    } catch (error) {
      fill(said, problem(error));
    }
  }
  fill(main, heading("Held mail"), said, h("section", { class: "card" }, list.element, place));
  load();
}
