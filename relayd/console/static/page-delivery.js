// The road of an address, tried up to RCPT without sending mail: each stage as it happens (operations 25 and 26).

import { field, fill, h, heading } from "./dom.js";
import { go } from "./router.js";
import { open, TROUBLESHOOT } from "./stream.js";

const WORDS = {
  mxLookupStart: "Looking up the MX hosts", mxLookupSuccess: "MX hosts found", mxLookupError: "The MX hosts cannot be looked up",
  mtaStsFetchStart: "Fetching the MTA-STS policy", mtaStsFetchSuccess: "MTA-STS policy fetched", mtaStsNotFound: "No MTA-STS policy",
  tlsRptLookupStart: "Looking for TLS reporting", tlsRptNotFound: "No TLS reporting", deliveryAttemptStart: "Trying a host",
  connectionStart: "Connecting", connectionSuccess: "Connected", readGreetingSuccess: "Greeted", ehloSuccess: "EHLO answered", startTlsSuccess: "TLS is up",
  rcptToSuccess: "The recipient is taken", rcptToError: "The recipient is refused", completed: "Done",
};

/** "tlsaLookupStart" as "Tlsa lookup start". */
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
      event: ([stage]) => { if (stage.type !== "completed") steps.append(step(stage)); else close(); mark(stage.type === "completed" ? "done" : "testing"); },
    }, { once: true, state: (state) => mark(state === "live" ? "testing" : "done") });
  }

  function mark(text) {
    light.textContent = text;
    light.classList.toggle("on", text === "testing");
  }

  if (query.to) start();
  return () => close();
}

function step(stage) {
  const { type, elapsed, ...rest } = stage;
  const kind = /Error|Invalid|Failed|Reject/.test(type) ? "bad" : /NotFound/.test(type) ? "warn" : "";
  return h("li", { class: kind }, h("b", {}, spoken(type)), elapsed !== undefined && h("span", { class: "quiet" }, ` ${elapsed} ms`),
    Object.keys(rest).length > 0 && h("div", { class: "quiet mono" }, Object.entries(rest).map(([key, value]) => `${key}: ${typeof value === "object" ? JSON.stringify(value) : value}`).join("  ")));
}
