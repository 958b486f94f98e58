// Held mail: why it is held, what is in it, and what becomes of it; the statistical filter learns from the decision.

import { ask, get, may, search } from "./api.js";
import { confirm, toast } from "./dialog.js";
import { button, count, digits, facts, few, fill, h, heading, problem, size, when } from "./dom.js";
import { go, link } from "./router.js";
import { pager, table } from "./table.js";

const LIMIT = 50;
const LEARN = [["", "as decided"], ["ham", "wanted"], ["spam", "spam"], ["none", "nothing"]];

export function show(main, { rest, query }) {
  if (rest) one(main, rest);
  else many(main, Number(query.page) || 1);
}

function many(main, page) {
  const place = h("div", {}), said = h("div", {});
  const list = table("Held messages", [
    { title: "Message", cell: (each) => h("a", { href: link("quarantine", digits(each.id)), class: "mono" }, digits(each.id)) },
    { title: "From", class: "said", cell: (each) => each.sender || "<>" },
    { title: "To", class: "said", cell: (each) => few(each.recipients) },
    { title: "Held because", class: "said", cell: (each) => [each.reason, h("div", { class: "quiet" }, `by ${each.by}`)] },
    { title: "Since", cell: (each) => when(each.since) },
    { title: "", cell: (each) => h("span", { class: "actions" }, decisions(each, load, { class: "plain" })) },
  ], { empty: "Nothing is held." });

  async function load() {
    try {
      const found = await get("/quarantine", { page, limit: LIMIT });
      list.show(found.items);
      fill(place, pager(page, LIMIT, found.total, (next) => go("quarantine", "", { page: String(next) })));
      fill(said, found.total > 0 && h("p", { class: "quiet" }, found.total === 1 ? "One message waits for a decision." : `${count(found.total)} messages wait for a decision, the oldest first.`));
    } catch (error) {
      fill(said, problem(error));
    }
  }
  fill(main, heading("Held mail"), said, h("section", { class: "card" }, list.element, place));
  load();
}

function one(main, id) {
  const body = h("div", {}), buttons = h("span", { class: "actions" });
  fill(main, heading(`Held message ${id}`, buttons), body);
  get(`/quarantine/${id}`).then((found) => {
    fill(buttons, decisions(found, () => go("quarantine")), may("message-queue-update") && [report(found, "ham", "It is wanted"), report(found, "spam", "It is spam")]);
    fill(body,
      h("section", { class: "card" }, h("p", { class: "notice warn" }, `Held by ${found.by}: ${found.reason}`),
        facts([["From", found.sender || "<>"], ["To", found.recipients.join(", ")], ["Size", size(found.size)], ["Held since", when(found.since)],
          ["In the queue", h("a", { href: link("message", id) }, "its recipients and history")]])),
      h("section", { class: "card" }, h("h2", {}, "Header"), facts(found.header.map((each) => [each.name, each.value]))),
      found.parts.map(part),
      found.is_cut && h("p", { class: "quiet" }, "There is more of it than is shown."));
  }, (error) => fill(body, problem(error)));
}

function part(each) {
  return h("section", { class: "card" }, h("h2", {}, each.name || each.type, h("span", { class: "quiet" }, ` ${each.name ? `${each.type}, ` : ""}${size(each.size)}`)),
    each.text === null ? h("p", { class: "quiet" }, "Not text; it is not shown.") : h("pre", { tabindex: "0", "aria-label": `Text of ${each.name || each.type}` }, each.text));
}

function decisions(held, done, attributes) {
  const act = (title, method, path) => button(title, async () => {
    const asked = await confirm(title, h("p", {}, `${title} the message from ${held.sender || "<>"}.`),
      { act: title, bad: title === "Delete", fields: [{ name: "report", label: "The filter learns that it is", options: LEARN, hint: "As decided: wanted when it is released, spam when it is deleted." }] });
    if (!asked) return;
    try {
      await ask(method, path + search({ report: asked.report }), method === "POST" ? {} : undefined);
      const id = digits(held.id);
      toast(`${title}: done`, title === "Delete" && (async () => { await ask("POST", "/queue/undo" + search({ "range-start": id, "range-end": id }), { reason: "undone in the console" }); done(); }));
    } catch (error) {
      toast(error.message);
    }
    done();
  }, { ...attributes, "aria-label": `${title} ${digits(held.id)}` });
  return [
    may("message-queue-update") && act("Release", "POST", `/quarantine/${digits(held.id)}/release`),
    may("message-queue-delete") && act("Delete", "DELETE", `/quarantine/${digits(held.id)}`),
  ];
}

function report(held, what, title) {
  return button(title, async () => {
    try {
      toast(await ask("POST", `/quarantine/${digits(held.id)}/report` + search({ report: what }), {}) ? "The filter has learnt it" : "The filter learns nothing: it is switched off, or knows it already");
    } catch (error) {
      toast(error.message);
    }
  });
}
