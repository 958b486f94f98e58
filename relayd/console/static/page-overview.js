// What the relay does now: rates from the live metrics, the last hours from the stored ones, what needs a look.

import { get, may, samples } from "./api.js";
import { lineChart, shares } from "./chart.js";
import { count, duration, fill, h, heading, near, problem, size } from "./dom.js";
import { link } from "./router.js";
import { METRICS, open } from "./stream.js";

const INTERVAL = 2;
const KEPT = 150;
const REFRESH = 15000;
const PROVIDERS = 6;
const KINDS = { delivered: "good", deferred: "warn", bounced: "bad", expired: "bad" };
const ACCEPTED = ["queue.queue-message", "queue.queue-message-authenticated"];
const LIVE = [...ACCEPTED, "delivery.delivered", "delivery.deferred", "delivery.bounced", "delivery.expired", "smtp.connection-start", "smtp.rcpt-to-rejected",
  "queue.count", "server.memory", "smtp.active-connections", "delivery.active-connections", "delivery.total-time", "delivery.attempt-time"];

export function show(main) {
  const light = h("span", { class: "live" }, "connecting");
  const tiles = h("dl", { class: "tiles" });
  const plots = h("div", { class: "grid" });
  const past = h("div", { class: "grid" });
  const looks = h("div", {});
  const providers = h("section", { class: "card", hidden: true });
  fill(main, heading("Overview", light), tiles, looks, plots, h("h2", { class: "section" }, "Last 24 hours"), past);

  let before = null;
  const started = Date.now();
  const accepted = [], delivered = [], delays = [];

  function onMetrics(metrics) {
    const now = Date.now();
    const value = Object.fromEntries(metrics.map((each) => [each.id, each]));
    const of = (id) => value[id]?.value ?? 0;
    const current = { at: now, accepted: ACCEPTED.reduce((sum, id) => sum + of(id), 0), delivered: of("delivery.delivered"),
      count: value["delivery.total-time"]?.count ?? 0, sum: value["delivery.total-time"]?.sum ?? 0 };
    if (before) {
      const seconds = (now - before.at) / 1000;
      push(accepted, [now, Math.max(0, current.accepted - before.accepted) / seconds]);
      push(delivered, [now, Math.max(0, current.delivered - before.delivered) / seconds]);
      const finished = current.count - before.count;
      if (finished > 0) push(delays, [now, (current.sum - before.sum) / finished / 1000]);
    }
    before = current;
    fill(tiles,
      tile("In the queue", count(of("queue.count")), link("queue")),
      tile("Accepted", rate(accepted)),
      tile("Delivered", rate(delivered)),
      tile("Sessions in / out", `${count(of("smtp.active-connections"))} / ${count(of("delivery.active-connections"))}`),
      tile("Memory", size(of("server.memory"))));
    const window = { from: Math.max(started, now - KEPT * INTERVAL * 1000), to: now };
    fill(plots,
      h("section", { class: "card" }, lineChart("Messages a second", [{ name: "accepted", points: accepted }, { name: "delivered", points: delivered }], window)),
      h("section", { class: "card" }, lineChart("Seconds from acceptance to the last outcome", [{ name: "mean", points: delays }], window)),
      h("section", { class: "card" }, shares("Outcomes of recipients since the start", [["delivered", of("delivery.delivered"), "good"], ["deferred", of("delivery.deferred"), "warn"], ["bounced", of("delivery.bounced") + of("delivery.expired"), "bad"]]),
        h("p", { class: "quiet" }, `${count(of("smtp.connection-start"))} sessions, ${count(of("smtp.rcpt-to-rejected"))} recipients refused`)),
      providers);
  }

  const close = open(METRICS, "/telemetry/metrics/live", { interval: INTERVAL, metrics: LIVE.join(",") }, { metrics: onMetrics }, {
    state: (state) => { light.textContent = state; light.classList.toggle("on", state === "live"); },
  });
  if (may("metrics-list")) history(past); else past.previousSibling.hidden = true;
  attention(looks);
  let timer = 0;
  const refresh = async () => {
    await byProvider(providers);
    timer = window.setTimeout(refresh, REFRESH);
  };
  if (may("metrics-list")) refresh();
  return () => { close(); window.clearTimeout(timer); };
}

/** Outcomes by whose hosts decided, of the many: those with most recipients. */
async function byProvider(card) {
  const found = new Map();
  try {
    for (const { labels, value } of await samples("relayd_deliveries_total")) {
      const kind = KINDS[labels.outcome];
      if (!kind || !value) continue;
      const each = found.get(labels.provider) ?? { good: 0, warn: 0, bad: 0 };
      each[kind] += value;
      found.set(labels.provider, each);
    }
  } catch { /* the live figures say that the relay does not answer */ }
  const sum = (each) => each.good + each.warn + each.bad;
  const most = [...found].sort(([, a], [, b]) => sum(b) - sum(a)).slice(0, PROVIDERS);
  card.hidden = !most.length;
  fill(card, h("h2", {}, "Outcomes by provider"), most.map(([name, each]) =>
    shares(name === "other" ? "All others" : name === "none" ? "Never reached a host" : name, [["delivered", each.good, "good"], ["deferred", each.warn, "warn"], ["bounced", each.bad, "bad"]])));
}

function push(points, point) {
  points.push(point);
  if (points.length > KEPT) points.shift();
}

function rate(points) {
  if (!points.length) return "…";
  const recent = points.slice(-5);
  return [(recent.reduce((sum, [, value]) => sum + value, 0) / recent.length).toFixed(1), h("small", {}, " /s")];
}

function tile(name, value, address) {
  return h("div", { class: "tile" }, h("dt", {}, name), h("dd", {}, address ? h("a", { href: address }, value) : value));
}

async function history(past) {
  const to = Date.now(), from = to - 86400000;
  try {
    const points = await get("/telemetry/metrics", { after: new Date(from).toISOString() });
    const series = (ids) => {
      const at = new Map();
      for (const each of points) if (ids.includes(each.id)) at.set(each.timestamp, (at.get(each.timestamp) ?? 0) + (each.value ?? each.count));
      return [...at].map(([time, value]) => [Date.parse(time), value]).sort(([a], [b]) => a - b);
    };
    const first = Math.min(...points.map((each) => Date.parse(each.timestamp)));
    const window = { from: Math.max(from, Math.min(first, to - 60000)), to };
    fill(past,
      h("section", { class: "card" }, lineChart("Messages accepted", [{ name: "messages", points: series(ACCEPTED) }], window)),
      h("section", { class: "card" }, lineChart("Queue", [{ name: "messages", points: series(["queue.count"]) }], window)));
  } catch (error) {
    fill(past, problem(error));
  }
}

async function attention(looks) {
  const found = [];
  const look = async (permission, path, told) => {
    if (!may(permission)) return;
    try { told(await get(path)); } catch { /* the page it belongs to says it */ }
  };
  await look("message-queue-list", "/queue/status?detail=1", (status) => {
    if (status !== true && status.running !== true && status.status !== true) found.push(["warn", "The queue is paused", "queue", {}]);
  });
  await look("message-queue-list", "/queue/suspensions", (each) => {
    for (const one of each) found.push(["warn", `${one.destination} is suspended${one.until ? `, resumes ${near(one.until)}` : ""}: ${one.reason}`, "limits", {}]);
  });
  try { // as it was found out lately: the audit itself counts the whole queue
    const [audit] = may("message-queue-list") ? await samples("relayd_queue_audit_difference") : [];
    if (audit?.value) found.push(["bad", `The audit is off by ${audit.value} recipients`, "logs", { filter: "audit" }]);
  } catch { /* the live figures say that the relay does not answer */ }
  fill(looks, found.map(([kind, text, page, query]) => h("p", { class: `notice ${kind}` }, h("a", { href: link(page, "", query) }, text))));
}
