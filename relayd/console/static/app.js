// Starts the console: the sign-in page or the frame with its navigation, and in it the page that the address names.

import { isSignedIn, may, onLeave, signOut, userName } from "./api.js";
import { announce, button, fill, h, problem } from "./dom.js";
import { link, place } from "./router.js";
import { signInPage } from "./signin.js";

/** name: [title, permission, module]; a page is offered to who has its permission. */
const PAGES = {
  overview: ["Overview", "metrics-live", "./page-overview.js"],
  queue: ["Queue", "message-queue-list", "./page-queue.js"],
  message: ["Message", "message-queue-get", "./page-message.js"],
  history: ["History", "tracing-list", "./page-history.js"],
  traces: ["Live traces", "tracing-live", "./page-traces.js"],
  delivery: ["Delivery test", "troubleshoot", "./page-delivery.js"],
  sender: ["Sender test", "troubleshoot", "./page-sender.js"],
  quarantine: ["Held mail", "message-queue-list", "./page-quarantine.js"],
  limits: ["Limits", "message-queue-list", "./page-limits.js"],
  accounts: ["Accounts", "individual-list", "./page-accounts.js"],
  settings: ["Settings", "settings-list", "./page-settings.js"],
  logs: ["Logs", "logs-view", "./page-logs.js"],
};
const HIDDEN = new Set(["message"]);
const THEME = "relayd-theme";

const app = document.getElementById("app");
let leave = () => {};
let shown = 0;

function theme(next) {
  if (next) localStorage.setItem(THEME, next);
  const chosen = localStorage.getItem(THEME);
  if (chosen) document.documentElement.dataset.theme = chosen;
}

function isDark() {
  return (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
}

function frame() {
  const items = Object.entries(PAGES).filter(([name, [, permission]]) => !HIDDEN.has(name) && may(permission));
  const toggle = button("Menu", () => {
    const open = nav.classList.toggle("open");
    toggle.setAttribute("aria-expanded", String(open));
  }, { class: "menu", "aria-expanded": "false", "aria-controls": "nav" });
  const nav = h("nav", { id: "nav", "aria-label": "Pages" },
    h("ul", {}, items.map(([name, [title]]) => h("li", {}, h("a", { href: link(name), "data-page": name }, title)))),
    h("div", { class: "who" },
      h("span", { class: "quiet" }, userName()),
      button(isDark() ? "Light" : "Dark", (event) => {
        theme(isDark() ? "light" : "dark");
        event.currentTarget.textContent = isDark() ? "Light" : "Dark";
      }, { class: "plain" }),
      button("Sign out", signOut, { class: "plain" }),
      h("a", { class: "quiet", href: "/docs" }, "API")));
  const main = h("main", { id: "main", tabindex: "-1" });
  fill(app, h("div", { class: "frame" },
    h("header", { class: "brand" }, h("a", { href: link("overview") }, h("img", { src: "/console/icon.svg", alt: "", width: "26", height: "26" }), "relayd"), toggle),
    nav, main));
  return main;
}

async function show() {
  const turn = ++shown;
  leave();
  leave = () => {};
  if (!isSignedIn()) {
    document.title = "Sign in · relayd";
    fill(app, signInPage(show));
    app.querySelector("input")?.focus();
    return;
  }
  const main = document.querySelector(".frame > main") ?? frame();
  const where = place();
  const [title, permission, module] = PAGES[where.name] ?? [];
  document.title = `${title ?? "Not found"} · relayd`;
  for (const each of document.querySelectorAll("[data-page]")) {
    const current = each.dataset.page === (where.name === "message" ? "queue" : where.name);
    if (current) each.setAttribute("aria-current", "page"); else each.removeAttribute("aria-current");
  }
  const nav = document.getElementById("nav");
  nav.classList.remove("open");
  document.querySelector(".menu").setAttribute("aria-expanded", "false");
  if (!title || !may(permission)) {
    fill(main, h("h1", { tabindex: "-1" }, title ?? "Not found"), h("p", {}, title ? `Your account lacks the permission ${permission}.` : "There is no such page."));
    return;
  }
  try {
    const page = await import(module);
    if (turn !== shown) return;
    leave = page.show(main, where) ?? (() => {});
  } catch (error) {
    fill(main, h("h1", { tabindex: "-1" }, title), problem(error));
  }
  if (turn > 1) main.querySelector("h1")?.focus({ preventScroll: true });
  announce(title);
}

theme();
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the page
  document.getElementById("main")?.focus();
});
onLeave(() => { fill(app); show(); });
window.addEventListener("hashchange", show);
window.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.closest("input, textarea, select, dialog")) {
    const search = document.querySelector("main [data-search]");
    if (search) { event.preventDefault(); search.focus(); }
  }
});
show();
