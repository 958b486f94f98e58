// Makes elements. Text is always set as text: peers and mail write much of what is shown here.

/** h("p", {class: "x", onclick: f}, "text", child, [more], null) */
export function h(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : visible(String(child)));
  }
}

/** Text with controls, and with what is invisible or changes the direction of text, made visible as the logs have it. */
export function visible(text) {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, (each) => {
    const code = each.charCodeAt(0);
    return code < 256 ? "\\x" + code.toString(16).padStart(2, "0") : "\\u" + code.toString(16).padStart(4, "0");
  });
}

/** Put other children in place of those there are. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Say something to a screen reader. */
export function announce(text) {
  const place = document.getElementById("announce");
  place.textContent = "";
  window.setTimeout(() => { place.textContent = text; }, 30);
}

/** An id in all its digits, as the logs have it: every id is exact as a number, but a number prints its shortest form. */
export const digits = (id) => (typeof id === "number" ? BigInt(id).toString() : id);

const NUMBERS = new Intl.NumberFormat("en");

/** 12345 as "12,345". */
export const count = (number) => NUMBERS.format(number);

/** Octets as people say them. */
export function size(octets) {
  let value = octets;
  for (const unit of ["B", "KB", "MB", "GB"]) {
    if (value < 1024) return `${unit === "B" ? value : value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
    value /= 1024;
  }
  return `${value.toFixed(1)} TB`;
}

/** How far a time is from now: "3m ago", "in 2h". */
export function near(time) {
  if (!time) return "never";
  const seconds = Math.round((Date.parse(time) - Date.now()) / 1000);
  const away = duration(Math.abs(seconds));
  return seconds > 0 ? `in ${away}` : `${away} ago`;
}

/** Seconds as "45s", "12m", "3h", "2d". */
export function duration(seconds) {
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["m", 60]]) {
    if (seconds >= length) return `${Math.floor(seconds / length)}${unit}`;
  }
  return `${Math.round(seconds)}s`;
}

/** Some addresses: both of two, or the first and how many more. */
export const few = (all) => (all.length > 2 ? `${all[0]} and ${count(all.length - 1)} more` : all.map((each) => h("div", {}, each)));

/** A time, with how far it is away. */
export function when(time) {
  return time ? h("time", { datetime: time, title: time }, near(time)) : "";
}

/** A box that says that something went wrong. */
export function problem(error) {
  return h("p", { class: "notice bad", role: "alert" }, error.message ?? String(error));
}

/** A heading with what belongs to its right. */
export function heading(title, ...beside) {
  return h("header", { class: "heading" }, h("h1", { tabindex: "-1" }, title), h("div", { class: "actions" }, ...beside));
}

/** A labelled control: label and control in one. */
export function field(label, control, hint) {
  control.id ||= `f${(field.next = (field.next ?? 0) + 1)}`;
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, hint && h("small", {}, hint));
}

/** A button. */
export function button(text, onclick, attributes) {
  return h("button", { type: "button", onclick, ...attributes }, text);
}

/** A list of names and values. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined)
    .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
