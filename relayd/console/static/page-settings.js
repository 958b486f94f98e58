// Settings: search, see where each comes from, change those of the database, look before they take effect.

import { ask, get, may } from "./api.js";
import { confirm, toast } from "./dialog.js";
import { button, field, fill, h, heading, problem } from "./dom.js";
import { tag } from "./page-queue.js";
import { go } from "./router.js";
import { pager, table } from "./table.js";

const LIMIT = 50;
const SHOWN = [["set", "What is set"], ["database", "Changed here"], ["all", "All, with defaults"]];

export function show(main, { query }) {
  const page = Number(query.page) || 1, which = query.show || "set", words = (query.q ?? "").toLowerCase();
  const place = h("div", {}), said = h("div", { "aria-live": "polite" });
  const editable = may("settings-update");
  const list = table("Settings", [
    { title: "Setting", cell: (each) => h("code", {}, each.key) },
    { title: "Value", cell: (each) => [h("span", { class: "mono" }, each.value), each.source === "database" && h("div", { class: "quiet" }, each.inFile === undefined ? "the file says nothing" : ["the file says ", h("span", { class: "mono" }, each.inFile)])] },
    { title: "From", cell: (each) => tag(each.source, each.source === "database" ? "" : "off") },
    { title: "", cell: (each) => h("span", { class: "actions" },
      editable && button("Change", () => change(each.key, each.value), { class: "plain", "aria-label": `Change ${each.key}` }),
      each.source === "database" && may("settings-delete") && button("Take back", () => takeBack(each.key), { class: "plain", "aria-label": `Take back ${each.key}` })) },
  ], { empty: "No setting matches.", key: (each) => each.key });

  async function load() {
    try {
      const found = await get("/settings/list", { prefix: "", source: 1, defaults: which === "all" });
      const items = Object.entries(found.items).map(([key, value]) => ({ key, value, source: found.sources[key], inFile: found.in_file[key] }))
        .filter((each) => which !== "database" || each.source === "database")
        .filter((each) => !words || `${each.key} ${each.value}`.toLowerCase().includes(words));
      list.show(items.slice((page - 1) * LIMIT, page * LIMIT));
      fill(place, pager(page, LIMIT, items.length, (next) => go("settings", "", { ...query, page: String(next) })));
    } catch (error) {
      fill(said, problem(error));
    }
  }

  async function change(key, value) {
    const asked = await confirm(key ? "Change a setting" : "Set a setting", h("p", { class: "quiet" }, "It is kept in the database, wins over the file, and takes effect at the next reload."),
      { act: "Save", fields: [{ name: "key", label: "Setting", value: key ?? "", required: true }, { name: "value", label: "Value", value: value ?? "" }] });
    if (!asked) return;
    await write([{ type: "insert", prefix: null, values: [[asked.key, asked.value]], assert_empty: false }]);
  }

  const takeBack = (key) => write([{ type: "delete", keys: [key] }]);

  async function write(operations) {
    try {
      await ask("POST", "/settings", operations);
      fill(said, h("p", { class: "notice" }, "Saved. It takes effect at the next reload."));
      load();
    } catch (error) {
      fill(said, problem(error));
    }
  }

  async function reload(dry) {
    try {
      const found = await get("/reload", dry ? { "dry-run": 1 } : {});
      const say = ([key, each]) => h("li", {}, h("code", {}, key), ` ${each.error ?? each.type}`);
      const errors = Object.entries(found.errors), warnings = Object.entries(found.warnings);
      fill(said, h("div", { class: `notice ${errors.length ? "bad" : ""}`, role: "status" },
        h("p", {}, errors.length ? "Nothing was changed:" : dry ? "The configuration is good." : "Reloaded."),
        h("ul", {}, errors.map(say), warnings.map(say))));
      if (!dry && !errors.length) toast("The configuration was reloaded");
    } catch (error) {
      fill(said, problem(error));
    }
  }

  const form = h("form", { class: "filters", role: "search", onsubmit: (event) => { event.preventDefault(); go("settings", "", Object.fromEntries(new FormData(form))); } },
    field("Search", h("input", { name: "q", value: query.q ?? "", "data-search": true, autocomplete: "off", spellcheck: "false" }), "In keys and values."),
    field("Show", h("select", { name: "show" }, SHOWN.map(([each, text]) => h("option", { value: each, selected: each === which }, text)))),
    h("div", { class: "field actions" }, h("button", { type: "submit", class: "first" }, "Search")));
  fill(main, heading("Settings", editable && button("Set another", () => change()), may("settings-reload") && button("Validate", () => reload(true)), may("settings-reload") && button("Reload", () => reload(false), { class: "first" })),
    h("section", { class: "card" }, form), said, h("section", { class: "card" }, list.element, place));
  load();
}
