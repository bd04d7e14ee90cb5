// Nodes from plain values. All text becomes text nodes: nothing here, or anywhere, parses data as markup.

import { T } from "./texts.js";

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  set(node, attributes);
  append(node, children);
  return node;
}

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(node, attributes);
  append(node, children);
  return node;
}

function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) continue;
    if (name.startsWith("aria-")) node.setAttribute(name, String(value));
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.setAttribute("class", [value].flat().filter(Boolean).join(" "));
    else if (name === "value" && "value" in node) node.value = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
}

export function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    node.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return node;
}

export function replace(node, ...children) {
  node.replaceChildren();
  return append(node, children);
}

const SHORT = 600;
const BRIEF = 160;
// A word that is broken where it must be; others are not.
const UNBROKEN = /\S{22}/;
const STEP = 50_000;

// A stranger's text where there is no room for all of it: in a button, a title, a cell of a list.
export function brief(text, className) {
  const whole = String(text ?? "");
  const classes = [className, UNBROKEN.test(whole) && "unbroken"];
  if (whole.length <= BRIEF) return h("bdi", { class: classes }, whole);
  return h("bdi", { class: classes }, `${whole.slice(0, BRIEF).replace(/[\ud800-\udbff]$/, "").trimEnd()}…`);
}

// Text of a stranger's: set apart from what stands around it, whatever its direction. Long text comes in parts.
export function data(text, className) {
  const whole = String(text ?? "");
  if (whole.length <= SHORT) return h("bdi", { class: className }, whole);
  return longText(whole, className);
}

export function longText(whole, className) {
  let shown = SHORT;
  const text = document.createTextNode(whole.slice(0, shown));
  const more = h("button", { type: "button", class: "link", onclick: grow });
  const label = () => T.moreText(whole.length - shown);
  function grow() {
    shown = Math.min(whole.length, shown + STEP);
    text.data = whole.slice(0, shown);
    if (shown === whole.length) more.remove();
    else more.textContent = label();
  }
  if (whole.length > shown) more.textContent = label();
  return h("span", { class: "long" }, h("bdi", { class: className }, text), whole.length > shown && [" ", more]);
}

// A sentence of the service's, with its `names` set as code.
export function prose(text) {
  return h("bdi", {}, String(text ?? "").slice(0, 2_000).split(/`([^`]+)`/).map((part, index) => (index % 2 ? h("code", {}, part) : part)));
}

let last = 0;
export const uid = (before) => `${before}-${(last += 1)}`;

export function field(label, input, hint) {
  input.id ||= uid("field");
  const hinted = hint && h("small", { id: `${input.id}-hint` }, hint);
  if (hinted) input.setAttribute("aria-describedby", hinted.id);
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, hinted);
}

export function button(label, onclick, className = "", attributes = {}) {
  return h("button", { type: "button", class: className, onclick, ...attributes }, label);
}

export function copyButton(text, label, className = "small", attributes = {}) {
  const node = button(label, async () => {
    node.textContent = (await copied(typeof text === "function" ? text() : text, node)) ? T.copied : T.notCopied;
    setTimeout(() => (node.textContent = label), 1500);
  }, className, attributes);
  return node;
}

// Without https a browser has no clipboard for pages, but still the command of old.
async function copied(text, beside) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const selected = h("textarea", { value: text, "aria-hidden": "true" });
    beside.after(selected);
    selected.select();
    const done = document.execCommand("copy");
    selected.remove();
    beside.focus();
    return done;
  }
}

// The first of many, and how many there are besides.
export function some(values, most, made) {
  return [...values.slice(0, most).map(made), values.length > most && made(T.andMore(values.length - most))];
}

export function openDialog(title, ...content) {
  const close = button(T.close, () => dialog.close(), "small");
  const id = uid("title");
  const dialog = h("dialog", { "aria-labelledby": id, class: "sheet-dialog" },
    h("header", {}, h("h2", { id }, title), close), h("div", { class: "dialog-body", tabindex: "0" }, content));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}
