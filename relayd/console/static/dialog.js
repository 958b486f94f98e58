// Questions before something is changed: a <dialog>, which keeps the keyboard inside and gives it back.

import { button, field, h } from "./dom.js";

/** Ask; what: what will happen. fields: [{name, label, value, hint, type}]. Resolves to their values, or null. */
export function confirm(title, what, { act = "OK", bad = false, fields = [] } = {}) {
  return new Promise((resolve) => {
    const inputs = fields.map((each) => [each.name, h(each.options ? "select" : "input", { name: each.name, type: each.options ? null : each.type ?? "text", required: each.required ?? false },
      each.options?.map(([value, text]) => h("option", { value }, text)))]);
    for (const [place, each] of fields.entries()) if (each.value !== undefined) inputs[place][1].value = each.value;
    let answer = null;
    const dialog = h("dialog", { "aria-labelledby": "asked" },
      h("form", { method: "dialog", onsubmit: () => { answer = Object.fromEntries(inputs.map(([name, input]) => [name, input.value])); } },
        h("h2", { id: "asked" }, title), h("div", {}, what),
        inputs.map(([, input], place) => field(fields[place].label, input, fields[place].hint)),
        h("div", { class: "actions" }, button("Cancel", () => dialog.close()), h("button", { type: "submit", class: bad ? "danger" : "first" }, act))));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(answer); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Say what was done, with a way to undo it for a while. */
export function toast(text, undo) {
  document.querySelector(".toast")?.remove();
  const box = h("div", { class: "toast", role: "status" }, h("span", {}, text),
    undo && button("Undo", async () => { box.remove(); await undo(); }, { class: "plain" }),
    button("Close", () => box.remove(), { class: "plain", "aria-label": "Close this message" }));
  document.body.append(box);
  window.setTimeout(() => box.remove(), undo ? 20000 : 6000);
}
