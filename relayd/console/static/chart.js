// A line chart over time as SVG: one or two series, a scale of round numbers, and the latest values in words.

import { count, h } from "./dom.js";

const SPACE = "http://www.w3.org/2000/svg";
const WIDTH = 460, HEIGHT = 160, LEFT = 40, BOTTOM = 22, TOP = 8;

function s(name, attributes, ...children) {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The smallest of 1, 2, 5 times a power of ten that is no less than `value`. */
export function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((each) => each * power).find((each) => each >= value);
}

/** series: [{name, points: [[milliseconds, value]]}] over [from, to]. format: of values. */
export function lineChart(title, series, { from, to, format = (value) => count(Math.round(value * 100) / 100) }) {
  const most = roundUp(Math.max(0, ...series.flatMap((each) => each.points.map(([, value]) => value))));
  const x = (time) => LEFT + ((time - from) / (to - from || 1)) * (WIDTH - LEFT - 4);
  const y = (value) => TOP + (1 - value / most) * (HEIGHT - TOP - BOTTOM);
  const clock = (time) => new Date(time).toLocaleTimeString([], { hourCycle: "h23", hour: "2-digit", minute: "2-digit", ...(to - from < 600000 && { second: "2-digit" }) });
  const drawing = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": title });
  for (const part of [0, 0.5, 1]) {
    const at = y(most * part);
    drawing.append(s("line", { x1: LEFT, x2: WIDTH - 4, y1: at, y2: at, class: "grid" }), s("text", { x: LEFT - 6, y: at + 4, "text-anchor": "end" }, format(most * part)));
  }
  for (const [part, anchor] of [[0, "start"], [0.5, "middle"], [1, "end"]]) {
    const time = from + (to - from) * part;
    drawing.append(s("text", { x: x(time), y: HEIGHT - 4, "text-anchor": anchor }, clock(time)));
  }
  series.forEach((each, number) => {
    const path = each.points.map(([time, value], place) => `${place ? "L" : "M"}${x(time).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    if (each.points.length > 1) {
      const ends = [each.points.at(-1)[0], each.points[0][0]].map((time) => `L${x(time).toFixed(1)} ${y(0)}`).join("");
      drawing.append(s("path", { d: `${path}${ends}Z`, class: `area area-${number}` }));
    }
    if (path) drawing.append(s("path", { d: path, class: `line line-${number}` }));
  });
  const last = (each) => (each.points.length ? format(each.points.at(-1)[1]) : "none yet");
  return h("figure", { class: "plot" }, h("figcaption", {}, title), drawing,
    h("p", { class: "legend" }, series.map((each, number) => h("span", { class: `key key-${number}` }, each.name, " ", h("b", {}, last(each))))));
}

/** A bar of shares: [[name, value, class]]. */
export function shares(title, parts) {
  const total = parts.reduce((sum, [, value]) => sum + value, 0);
  const drawing = s("svg", { viewBox: "0 0 100 6", class: "shares", role: "img", "aria-label": title, preserveAspectRatio: "none" });
  let at = 0;
  for (const [, value, kind] of parts) {
    const width = total ? (value / total) * 100 : 0;
    drawing.append(s("rect", { x: at, y: 0, width, height: 6, class: `share ${kind}` }));
    at += width;
  }
  return h("figure", { class: "plot" }, h("figcaption", {}, title), drawing,
    h("p", { class: "legend" }, parts.map(([name, value, kind]) => h("span", { class: `key ${kind}` }, name, " ", h("b", {}, count(value))))));
}
