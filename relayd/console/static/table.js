// A table with headers that a screen reader announces, which becomes a list of cards on a narrow screen, and its pages.

import { button, count, fill, h } from "./dom.js";

/** columns: [{title, cell(item) -> child, class}]. caption: says what the table is. key(item): to know a row again. */
export function table(caption, columns, { empty = "Nothing here.", chosen = null, key = (item) => item.id } = {}) {
  const body = h("tbody", {});
  const all = chosen && h("input", { type: "checkbox", "aria-label": "Choose all of this page", onchange: () => {
    for (const box of body.querySelectorAll("input[type=checkbox]")) {
      if (box.checked !== all.checked) box.click();
    }
  } });
  const element = h("div", { class: "table" }, h("table", {},
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, chosen && h("th", { scope: "col", class: "tick" }, all),
      columns.map((each) => h("th", { scope: "col", class: each.class }, each.title)))),
    body));

  function row(item) {
    const id = key(item);
    return h("tr", {},
      chosen && h("td", { class: "tick" }, h("input", { type: "checkbox", checked: chosen.has(id), "aria-label": `Choose ${id}`, onchange: (event) => {
        if (event.target.checked) chosen.add(id); else chosen.delete(id);
        element.dispatchEvent(new CustomEvent("chosen"));
      } })),
      columns.map((each) => h("td", { class: each.class, "data-title": each.title }, each.cell(item))));
  }

  function show(items) {
    if (all) all.checked = false;
    fill(body, items.length ? items.map(row) : h("tr", {}, h("td", { class: "empty", colspan: columns.length + (chosen ? 1 : 0) }, empty)));
  }

  return { element, show };
}

/** Links to the pages around one. total: how many there are, or at least; capped: there may be more. */
export function pager(page, limit, total, go, capped = false) {
  const last = Math.max(1, Math.ceil(total / limit));
  const text = total ? `${count((page - 1) * limit + 1)}–${count(Math.min(page * limit, total))} of ${count(total)}${capped ? "+" : ""}` : "none";
  return h("nav", { class: "pager", "aria-label": "Pages of the list" },
    button("Previous", () => go(page - 1), { disabled: page <= 1 }),
    h("span", { "aria-live": "polite" }, text),
    button("Next", () => go(page + 1), { disabled: page >= last && !capped }));
}
