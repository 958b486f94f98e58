// What the checks find of a sender: SPF, DKIM, ARC, DMARC, reverse DNS (operation 27).

import { ask } from "./api.js";
import { field, fill, h, heading, problem } from "./dom.js";
import { tag } from "./page-queue.js";
import { table } from "./table.js";

export function show(main) {
  const out = h("div", { "aria-live": "polite" });
  const form = h("form", { onsubmit: submit },
    h("div", { class: "filters" },
      field("Client address", h("input", { name: "remoteIp", required: true, placeholder: "192.0.2.7", autocomplete: "off", "data-search": true })),
      field("EHLO name", h("input", { name: "ehloDomain", required: true, placeholder: "mail.example.org", autocomplete: "off" })),
      field("Return path", h("input", { name: "mailFrom", placeholder: "jane@example.org", autocomplete: "off" }))),
    field("Message", h("textarea", { name: "body", spellcheck: "false" }), "With its header; empty: one that says no more than From."),
    h("button", { type: "submit", class: "first" }, "Check"));
  fill(main, heading("Sender test"), h("p", { class: "quiet" }, "The checks that a stranger's mail passes; nothing is queued."), h("section", { class: "card" }, form), out);

  async function submit(event) {
    event.preventDefault();
    const given = Object.fromEntries(new FormData(form));
    if (!given.body.trim()) delete given.body;
    try {
      fill(out, results(await ask("POST", "/troubleshoot/dmarc", given)));
    } catch (error) {
      fill(out, problem(error));
    }
  }
}

function results(found) {
  const list = table("Results", [
    { title: "Check", cell: ([name]) => name },
    { title: "Result", cell: ([, result]) => tag(result.type, result.type === "pass" ? "" : ["none", "neutral"].includes(result.type) ? "off" : "bad") },
    { title: "Of", cell: ([, , of]) => of },
    { title: "Why", cell: ([, result]) => result.details ?? "" },
  ], { key: ([name]) => name });
  list.show([
    ["SPF of the EHLO name", found.spfEhloResult, found.spfEhloDomain], ["SPF of the return path", found.spfMailFromResult, found.spfMailFromDomain],
    ["Reverse DNS", found.ipRevResult, found.ipRevPtr.join(", ")],
    ...found.dkimResults.map((each, number) => [`DKIM ${number + 1}`, each, ""]), ["ARC", found.arcResult, ""], ["DMARC", found.dmarcResult, `policy ${found.dmarcPolicy}`],
  ]);
  return h("section", { class: "card" }, h("p", { class: `notice ${found.dmarcPass ? "" : "warn"}` }, found.dmarcPass ? "DMARC passes." : "DMARC does not pass."), list.element);
}
