// One message: its envelope, its recipients and what each was told, its header, and what happened to it in order.

import { ask, get, may, search, text } from "./api.js";
import { confirm, toast } from "./dialog.js";
import { button, digits, facts, fill, h, heading, problem, size, when } from "./dom.js";
import { statusOf, tag } from "./page-queue.js";
import { table } from "./table.js";

const HEAD = 64 * 1024;

export function show(main, { rest: id }) {
  const body = h("div", {});
  const buttons = h("span", { class: "actions" });
  fill(main, heading(`Message ${id}`, buttons), body);

  async function load() {
    const [queued, past] = await Promise.all([
      get(`/queue/messages/${id}`, { deleted: 1 }).catch(() => null),
      may("tracing-get") ? get(`/telemetry/message/${id}`).catch(() => null) : null,
    ]);
    if (!queued && !past) {
      fill(body, problem(new Error("Nothing is known of this message: it is not queued, and its history is over or was never kept.")));
      return;
    }
    fill(buttons, queued && acts(queued, load));
    fill(body, summary(queued, past), queued ? recipients(queued) : fates(past), queued?.blob_hash && may("blob-fetch") && header(queued), past && timeline(past.events));
  }
  load();
}

function summary(queued, past) {
  const hold = queued?.hold;
  return h("section", { class: "card" },
    hold && h("p", { class: "notice warn" }, `Held by ${hold.by}: ${hold.reason}`),
    queued?.deleted && h("p", { class: "notice warn" }, `Deleted by ${queued.deleted.by}; it can be undone until `, when(queued.deleted.until)),
    !queued && h("p", { class: "notice" }, "It is not in the queue any more."),
    facts([
      ["Return path", queued ? queued.return_path || "<>" : past.from || "<>"],
      ["Message-ID", past?.messageId], ["Arrived", when(queued?.created ?? past?.receivedAt)], ["Finished", when(past?.finishedAt)],
      ["Size", size(queued?.size ?? past?.size ?? 0)], ["From", [past?.client, past?.account && `as ${past.account}`].filter(Boolean).join(" ")], ["Listener", past?.listener],
      ["Priority", queued?.priority], ["Next hop", queued?.next_hop], ["TLS", queued?.tls],
    ]));
}

function recipients(queued) {
  const rows = queued.domains.flatMap((domain) => domain.recipients.map((each) => ({ ...each, domain })));
  const list = table("Recipients", [
    { title: "Recipient", class: "said", cell: (each) => each.address },
    { title: "State", cell: (each) => { const [word, said, kind] = statusOf(each.status); return [tag(word, kind), said && h("div", { class: "quiet" }, said)]; } },
    { title: "Why", cell: (each) => [each.class, each.rule && h("div", { class: "quiet" }, each.rule)] },
    { title: "Attempts", class: "right", cell: (each) => each.domain.retry_num },
    { title: "Next attempt", cell: (each) => (queued.hold || queued.deleted ? "" : when(each.domain.next_retry)) },
    { title: "Expires", cell: (each) => when(each.domain.expires) },
  ], { key: (each) => each.address });
  list.show(rows);
  return h("section", { class: "card" }, h("h2", {}, "Recipients"), list.element);
}

function fates(past) {
  const kinds = { delivered: "", bounced: "bad", expired: "bad", deferred: "warn" };
  const list = table("Recipients", [
    { title: "Recipient", class: "said", cell: (each) => each.address },
    { title: "Outcome", cell: (each) => tag(each.state, kinds[each.state] ?? "off") },
    { title: "Said", class: "said", cell: (each) => [each.host, " ", each.details] },
    { title: "Attempts", class: "right", cell: (each) => each.attempts },
    { title: "When", cell: (each) => when(each.at) },
  ], { key: (each) => each.address });
  list.show(past.recipients);
  return h("section", { class: "card" }, h("h2", {}, "Recipients"), list.element);
}

function header(queued) {
  const shown = h("div", {});
  const opener = button("Show header and text", async () => {
    opener.disabled = true;
    try {
      const content = await text(`/store/blobs/${queued.blob_hash}`, HEAD);
      fill(shown, h("pre", { tabindex: "0", "aria-label": "Beginning of the message as it is" }, content), content.length >= HEAD && h("small", {}, "The beginning only."));
      opener.remove();
    } catch (error) {
      fill(shown, problem(error));
      opener.disabled = false;
    }
  });
  return h("section", { class: "card" }, h("h2", {}, "Content"), h("p", { class: "quiet" }, "Reading a message is noted in the log under your name."), opener, shown);
}

/** Events in order, as steps. */
export function timeline(events) {
  const bad = /fail|error|bounced|expired|rejected|refused|perm/, warn = /deferred|temp|held|delay/;
  return h("section", { class: "card" }, h("h2", {}, "What happened"), h("ol", { class: "steps" }, events.map((each) =>
    h("li", { class: bad.test(each.type) ? "bad" : warn.test(each.type) ? "warn" : "" },
      h("div", {}, h("b", {}, each.text ?? each.type), " ", h("span", { class: "quiet" }, when(each.createdAt), ` ${each.type}`)),
      h("div", { class: "quiet mono" }, details(each.data)),
      each.data.queueId && h("a", { href: `#/message/${digits(each.data.queueId)}` }, `Message ${digits(each.data.queueId)}`)))));
}

/** The fields of an event in a line. */
export function details(data) {
  return Object.entries(data ?? {}).filter(([key, value]) => value !== null && value !== "" && key !== "spanId" && key !== "queueId")
    .map(([key, value]) => `${key}=${typeof value === "object" ? JSON.stringify(value) : value}`).join("  ");
}

function acts(queued, load) {
  const one = { "range-start": queued.id, "range-end": queued.id };
  const run = (title, path, bad = false, undo = false) => async () => {
    const asked = await confirm(title, h("p", {}, `${title} message ${digits(queued.id)}.`), { act: title, bad, fields: [{ name: "reason", label: "Reason" }] });
    if (!asked) return;
    try {
      if (title === "Delete") await ask("DELETE", `/queue/messages/${queued.id}`);
      else if (title === "Retry") await ask("PATCH", `/queue/messages/${queued.id}`);
      else await ask("POST", path + search(one), { reason: asked.reason });
      toast(`${title}: done`, undo && (async () => { await ask("POST", "/queue/undo" + search(one), { reason: "undone in the console" }); load(); }));
    } catch (error) {
      toast(error.message);
    }
    load();
  };
  if (queued.deleted) return may("message-queue-delete") && button("Undo the deletion", run("Undo", "/queue/undo"));
  return [
    may("message-queue-update") && button("Retry now", run("Retry", "")),
    may("message-queue-update") && (queued.hold ? button("Release", run("Release", "/queue/release"), { class: "first" }) : button("Hold", run("Hold", "/queue/hold"))),
    may("message-queue-delete") && button("Bounce", run("Bounce", "/queue/bounce", true)),
    may("message-queue-delete") && button("Delete", run("Delete", "", true, true)),
  ];
}
