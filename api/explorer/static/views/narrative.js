// The narrative of a source, rebuilt from what an allow list knows. Its markup is read in a document that runs
// nothing, and none of its nodes is taken over: elements are made anew, texts become text.
import { h } from "../dom.js";

const ELEMENTS = new Set(
  `p div span b i em strong u small sub sup br hr h1 h2 h3 h4 h5 h6 pre code blockquote ul ol li dl dt dd table caption thead tbody
  tfoot tr td th q cite abbr tt`.split(/\s+/));
const DROPPED = new Set(
  `script style template iframe frame object embed svg math head title noscript link meta base form input button textarea select
  option audio video source img picture canvas applet portal`.split(/\s+/));
const HEADINGS = /^h[1-6]$/;
const SPAN = /^(?:[1-9]|[1-4]\d)$/;
const NODES_MAX = 20_000;
const DEPTH_MAX = 60;

export function narrative(text) {
  const parsed = new DOMParser().parseFromString(String(text).slice(0, 2_000_000), "text/html");
  const room = { nodes: NODES_MAX };
  const shown = h("div", { class: "narrative" });
  copy(parsed.body, shown, room, 0);
  return shown;
}

function copy(from, into, room, depth) {
  for (const child of from.childNodes) {
    if ((room.nodes -= 1) < 0 || depth > DEPTH_MAX) return;
    if (child.nodeType === Node.TEXT_NODE) {
      into.append(document.createTextNode(child.data));
      continue;
    }
    const name = child.nodeType === Node.ELEMENT_NODE ? child.localName : "";
    if (!name || DROPPED.has(name)) continue;
    if (!ELEMENTS.has(name)) {
      copy(child, into, room, depth + 1);
      continue;
    }
    const made = h(HEADINGS.test(name) ? "h4" : name);
    for (const attribute of ["colspan", "rowspan"]) {
      const value = child.getAttribute(attribute);
      if (value !== null && SPAN.test(value)) made.setAttribute(attribute, value);
    }
    into.append(made);
    copy(child, made, room, depth + 1);
  }
}
