// The road of an address, tried up to RCPT without sending mail: each stage as it happens (operations 25 and 26).

import { field, fill, h, heading } from "./dom.js";
import { go } from "./router.js";
import { open, TROUBLESHOOT } from "./stream.js";

const WORDS = {
  mxLookupStart: "Looking up the MX hosts", mxLookupSuccess: "MX hosts found", mxLookupError: "The MX hosts cannot be looked up",
  mtaStsFetchStart: "Fetching the MTA-STS policy", mtaStsFetchSuccess: "MTA-STS policy fetched", mtaStsFetchError: "The MTA-STS policy cannot be had", mtaStsNotFound: "No MTA-STS policy",
  mtaStsVerifySuccess: "The MTA-STS policy names this host", mtaStsVerifyError: "The MTA-STS policy does not name this host",
  tlsRptLookupStart: "Looking for TLS reporting", tlsRptLookupSuccess: "TLS reports are asked for", tlsRptLookupError: "TLS reporting cannot be looked up", tlsRptNotFound: "No TLS reporting",
  deliveryAttemptStart: "Trying a host", tlsaLookupStart: "Looking up TLSA records", tlsaLookupSuccess: "TLSA records found", tlsaNotFound: "No TLSA records", tlsaLookupError: "TLSA records cannot be looked up",
  ipLookupStart: "Looking up its addresses", ipLookupSuccess: "Addresses found", ipLookupError: "Its addresses cannot be looked up",
  connectionStart: "Connecting", connectionSuccess: "Connected", connectionError: "No connection",
  readGreetingStart: "Waiting for the greeting", readGreetingSuccess: "Greeted", readGreetingError: "No good greeting",
  ehloStart: "Saying EHLO", ehloSuccess: "EHLO answered", ehloError: "EHLO is refused", startTlsStart: "Starting TLS", startTlsSuccess: "TLS is up", startTlsError: "No TLS",
  daneVerifySuccess: "The certificate is the one of DANE", daneVerifyError: "The certificate is not the one of DANE",
  mailFromStart: "Saying who sends", mailFromSuccess: "The sender is taken", mailFromError: "The sender is refused",
  rcptToStart: "Asking for the recipient", rcptToSuccess: "The recipient is taken", rcptToError: "The recipient is refused", quitStart: "Saying QUIT", quitCompleted: "Parted",
};

/** What began with one stage is settled by the next of the same stem. */
const stem = (type) => type.replace(/(?:Lookup|Fetch)?(?:Start|Success|Error|NotFound|Completed)$/, "");

/** "somethingNew" as "Something new". */
const spoken = (type) => WORDS[type] ?? type.replace(/([A-Z])/g, (each) => " " + each.toLowerCase()).replace(/^./, (each) => each.toUpperCase());

export function show(main, { query }) {
  const steps = h("ol", { class: "steps", "aria-live": "polite", "aria-label": "Stages" });
  const light = h("span", { class: "live", hidden: true });
  const form = h("form", { class: "filters", onsubmit: (event) => { event.preventDefault(); go("delivery", "", Object.fromEntries(new FormData(form)), { instead: true }); start(); } },
    field("Recipient", h("input", { name: "to", value: query.to ?? "", required: true, autocomplete: "off", placeholder: "joe@example.org", "data-search": true }), "An address, or a bare domain."),
    field("Ask", h("select", { name: "direct" }, h("option", { value: "" }, "as mail would go"), h("option", { value: "1", selected: query.direct === "1" }, "the MX hosts themselves")), "With your routes, sources and names, or without."),
    h("div", { class: "field actions" }, h("button", { type: "submit", class: "first" }, "Test")));
  const result = h("section", { class: "card", hidden: true }, steps);
  fill(main, heading("Delivery test", light), h("p", { class: "quiet" }, "Connects and asks up to RCPT; no mail is sent."), h("section", { class: "card" }, form), result);
  let close = () => {};

  function start() {
    close();
    fill(steps);
    result.hidden = light.hidden = false;
    const to = form.elements.to.value.trim();
    close = open(TROUBLESHOOT, `/troubleshoot/delivery/${encodeURIComponent(to)}`, { direct: form.elements.direct.value, timeout: 20 }, {
      event: ([stage]) => { if (stage.type === "completed") close(); else put(stage); mark(stage.type === "completed" ? "done" : "testing"); },
    }, { once: true, state: (state) => mark(state === "live" ? "testing" : "done") });
  }

  function put(stage) {
    const last = steps.lastElementChild;
    if (last?.dataset.began === stem(stage.type)) last.replaceWith(step(stage, last.stage));
    else steps.append(step(stage));
  }

  function mark(text) {
    light.textContent = text;
    light.classList.toggle("on", text === "testing");
  }

  if (query.to) start();
  return () => close();
}

/** A stage; began: the one that it settles. */
function step(stage, began) {
  const { type, elapsed, ...rest } = { ...began, ...stage };
  const isStart = type.endsWith("Start") && type !== "deliveryAttemptStart";
  const kind = /Error|Invalid|Failed|Reject/.test(type) ? "bad" : isStart || type.endsWith("NotFound") ? "off" : "";
  const element = h("li", { class: kind, "data-began": isStart ? stem(type) : null }, h("b", {}, spoken(type)), elapsed !== undefined && h("span", { class: "quiet" }, ` ${elapsed} ms`),
    Object.keys(rest).length > 0 && h("div", { class: "quiet mono" }, Object.entries(rest).map(([key, value]) => `${key.replaceAll("_", " ")}: ${words(value)}`).join("  ")));
  element.stage = stage;
  return element;
}

/** A value as people write it: MX hosts with their preference, lists with commas. */
function words(value) {
  if (Array.isArray(value)) return value.map(words).join(", ");
  if (value?.exchanges) return `${value.preference} ${value.exchanges.join(" ")}`;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
