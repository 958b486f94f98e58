// The sign-in page: user, password, and a one-time code where the account asks for one.

import { signIn } from "./api.js";
import { field, h } from "./dom.js";

export function signInPage(done) {
  const user = h("input", { name: "user", autocomplete: "username", required: true, autocapitalize: "none", spellcheck: "false" });
  const secret = h("input", { name: "secret", type: "password", autocomplete: "current-password", required: true });
  const code = h("input", { name: "code", inputmode: "numeric", autocomplete: "one-time-code", pattern: "[0-9]{6,8}" });
  const codeField = h("div", { hidden: true }, field("One-time code", code, "From your authenticator app."));
  const said = h("p", { class: "notice bad", role: "alert", hidden: true });
  const enter = h("button", { type: "submit", class: "first" }, "Sign in");

  async function submit(event) {
    event.preventDefault();
    enter.disabled = true;
    said.hidden = true;
    try {
      await signIn(user.value, secret.value, code.value.trim());
      done();
    } catch (error) {
      codeField.hidden = codeField.hidden && !error.needsCode;
      said.textContent = error.needsCode ? "The account asks for a one-time code." : error.status === 401 ? "Name or password is wrong." : error.message;
      said.hidden = false;
      (error.needsCode ? code : secret).focus();
    } finally {
      enter.disabled = false;
    }
  }

  return h("main", { class: "door", id: "main" },
    h("form", { onsubmit: submit },
      h("h1", {}, h("img", { src: "/console/icon.svg", alt: "", width: "32", height: "32" }), "relayd"),
      field("User", user), field("Password", secret), codeField, said, enter));
}
