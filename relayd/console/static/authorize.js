// Lets a device in (RFC 8628 section 3.3): who is signed in confirms the code that the device shows. Never by itself: a
// link may come from somebody whose device it is.

import { ask, isSignedIn, onLeave, signOut, userName } from "./api.js";
import { button, field, fill, h } from "./dom.js";
import { signInPage } from "./signin.js";

const app = document.getElementById("app");

function devicePage() {
  const code = h("input", {
    name: "code", required: true, autocomplete: "off", autocapitalize: "characters", spellcheck: "false", maxlength: "9",
    value: new URLSearchParams(location.search).get("code")?.slice(0, 9) ?? "",
  });
  const said = h("p", { class: "notice", role: "alert", hidden: true });
  const enter = h("button", { type: "submit", class: "first" }, "Let it in");

  async function submit(event) {
    event.preventDefault();
    enter.disabled = true;
    let good = false;
    try {
      good = await ask("POST", "/oauth", { type: "device", code: code.value.trim().toUpperCase() });
      said.textContent = good ? "The device is let in; you may close this page." : "No device waits with that code, or it waited too long.";
    } catch (error) {
      said.textContent = error.message;
    }
    said.className = good ? "notice" : "notice bad";
    said.hidden = false;
    enter.disabled = good;
  }

  return h("main", { class: "door", id: "main" },
    h("form", { onsubmit: submit },
      h("h1", {}, h("img", { src: "/console/icon.svg", alt: "", width: "32", height: "32" }), "relayd"),
      h("p", {}, `A device asks to act as ${userName()}. Let it in only if it is yours and shows this code:`),
      field("Code", code), said, enter,
      button("Sign out", signOut, { class: "plain" })));
}

function show() {
  fill(app, isSignedIn() ? devicePage() : signInPage(show));
  app.querySelector("input")?.focus();
}

onLeave(show);
show();
