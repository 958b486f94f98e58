// Shows /api/openapi.json. Everything is put in as text: nothing of the document is ever read as markup.
"use strict";

const by = (id) => document.getElementById(id);
let described = null;

function make(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Text as it is written in the document: lines are joined, blank ones part it, and what stands in backticks is code.
function prose(tag, text = "") {
  const made = make(tag);
  const joined = text.replace(/\n[ \t]+/g, "\n").replace(/([^\n])\n(?!\n)/g, "$1 ");
  joined.split("`").forEach((part, number) => made.append(number % 2 ? make("code", part) : part));
  return made;
}

function resolve(thing) {
  return thing && thing.$ref ? thing.$ref.slice(2).split("/").reduce((at, key) => at[key], described) : thing;
}

// A schema in few words, as an indented sketch of the JSON it stands for.
function sketch(schema, indent = "", seen = []) {
  if (schema === undefined || schema === true || Object.keys(schema).length === 0) return "anything";
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    if (name === "Failure") return '{"error": ...}';
    return seen.includes(name) ? name : sketch(resolve(schema), indent, [...seen, name]);
  }
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  const options = schema.oneOf || schema.anyOf;
  if (options) return options.map((each) => sketch(each, indent, seen)).join(" | ");
  if (schema.allOf) return schema.allOf.map((each) => sketch(each, indent, seen)).join(" & ");
  if (Array.isArray(schema.type)) return schema.type.join(" | ");
  if (schema.type === "array") return "[" + sketch(schema.items || {}, indent, seen) + ", ...]";
  if (schema.type === "object") return members(schema, indent, seen);
  return schema.format ? `${schema.type} (${schema.format})` : schema.type;
}

function members(schema, indent, seen) {
  const deeper = indent + "  ";
  const required = schema.required || [];
  const lines = Object.entries(schema.properties || {}).map(
    ([name, each]) => `${deeper}"${name}"${required.includes(name) ? "" : "?"}: ${sketch(each, deeper, seen)}`);
  if (schema.additionalProperties) lines.push(`${deeper}(name): ${sketch(schema.additionalProperties, deeper, seen)}`);
  return lines.length ? `{\n${lines.join(",\n")}\n${indent}}` : "{}";
}

function parameters(list) {
  const found = make("dl");
  for (const each of list) {
    const term = make("dt");
    term.append(make("code", each.name), ` ${each.in}, ${sketch(each.schema)}${each.required ? ", required" : ""}`);
    found.append(term, prose("dd", each.description));
  }
  return found;
}

function contents(content) {
  const parts = [];
  for (const [media, each] of Object.entries(content || {})) {
    parts.push(make("p", media), make("pre", each.schema ? sketch(each.schema) : "octets, or a stream"));
  }
  return parts;
}

function curl(method, path, operation) {
  const open = operation.security && operation.security.length === 0;
  const words = ["curl", method === "get" ? "" : `-X ${method.toUpperCase()}`, open ? "" : "-u NAME:SECRET"];
  const media = operation.requestBody && Object.keys(operation.requestBody.content)[0];
  if (media) words.push(`-H 'Content-Type: ${media}' --data-binary @BODY`);
  words.push(`'${location.origin}${path}'`);
  return words.filter(Boolean).join(" ");
}

function inside(method, path, operation) {
  const box = make("div", undefined, "inside");
  box.append(prose("p", operation.description), make("pre", curl(method, path, operation)));
  if (operation.parameters) box.append(make("h3", "Parameters"), parameters(operation.parameters));
  if (operation.requestBody) {
    box.append(make("h3", operation.requestBody.required ? "Body" : "Body (may be left out)"));
    box.append(...contents(operation.requestBody.content));
  }
  box.append(make("h3", "Answers"));
  const others = make("dl");
  for (const [status, given] of Object.entries(operation.responses)) {
    const answer = resolve(given);
    if (given.$ref) others.append(make("dt", status), prose("dd", answer.description));
    else box.append(prose("p", `${status} ${answer.description}`), ...contents(answer.content));
  }
  box.append(others);
  return box;
}

function operationBox(method, path, operation) {
  const box = make("details", undefined, operation["x-unavailable"] ? "unavailable" : "");
  box.id = operation.operationId;
  const line = make("summary");
  line.append(make("span", method.toUpperCase(), `method ${method}`), make("span", path, "path"));
  line.append(make("span", operation.summary, "words"));
  if (operation["x-unavailable"]) line.append(make("span", "not in this version", "words"));
  box.append(line);
  box.addEventListener("toggle", () => {
    if (box.open && box.children.length === 1) box.append(inside(method, path, operation));
  });
  const permission = operation["x-permission"] || "";
  box.dataset.words = [method, path, operation.summary, operation.description, permission].join(" ").toLowerCase();
  return box;
}

function show() {
  by("about").replaceChildren(...prose("p", described.info.description).childNodes);
  by("document").href = URL.createObjectURL(new Blob([JSON.stringify(described, null, 1)], {type: "application/json"}));
  by("document").hidden = false;
  const areas = new Map(described.tags.map((each) => [each.name, make("section")]));
  for (const [name, section] of areas) {
    section.id = "area-" + name.replace(/\W+/g, "-");
    section.append(make("h2", name));
    by("operations").append(section);
    const link = make("a", name);
    link.href = "#" + section.id;
    const item = make("li");
    item.append(link);
    by("areas").append(item);
  }
  for (const [path, item] of Object.entries(described.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      areas.get(operation.tags[0]).append(operationBox(method, path, operation));
    }
  }
  by("sign-in").hidden = true;
  by("described").hidden = false;
  search();
  follow();
  by("search").focus();
}

function search() {
  const words = by("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const section of by("operations").children) {
    let any = false;
    for (const box of section.querySelectorAll("details")) {
      const met = words.every((word) => box.dataset.words.includes(word));
      box.hidden = !met;
      any ||= met;
      count += met;
    }
    section.hidden = !any;
  }
  by("count").textContent = `${count} operations`;
}

function follow() {
  const wanted = location.hash && by(location.hash.slice(1));
  if (!wanted) return;
  if (wanted.tagName === "DETAILS") wanted.open = true;
  wanted.scrollIntoView();
}

function authorization() {
  const secret = by("secret").value;
  if (!by("name").value) return "Bearer " + secret;
  const octets = new TextEncoder().encode(by("name").value + ":" + secret);
  return "Basic " + btoa(String.fromCharCode(...octets));
}

async function signIn(event) {
  event.preventDefault();
  by("refused").textContent = "";
  try {
    const answer = await fetch("api/openapi.json", {headers: {Authorization: authorization()}, cache: "no-store"});
    if (!answer.ok) {
      const problem = await answer.json();
      by("refused").textContent = `${problem.title || answer.status}: ${problem.detail}`;
      return;
    }
    described = await answer.json();
  } catch (error) {
    by("refused").textContent = `The control socket does not answer: ${error.message}`;
    return;
  }
  by("secret").value = "";
  show();
}

by("sign-in").addEventListener("submit", signIn);
by("search").addEventListener("input", search);
addEventListener("hashchange", follow);
addEventListener("keydown", (event) => {
  if (event.key === "/" && described && event.target.tagName !== "INPUT") {
    event.preventDefault();
    by("search").focus();
  }
});
