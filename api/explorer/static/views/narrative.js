// The narrative of a source, built anew from what an allow list knows. No parser of the browser sees its markup:
// it is taken apart into tags and texts here, and only elements of the list are made, without attributes.
import { h } from "../dom.js";

const ELEMENTS = new Set(
  `p div span b i em strong u small sub sup br hr h1 h2 h3 h4 h5 h6 pre code blockquote ul ol li dl dt dd table caption thead tbody
  tfoot tr td th q cite abbr tt`.split(/\s+/));
// Their content goes with them.
const DROPPED = new Set("script style template iframe object svg math head title noscript select textarea audio video applet".split(" "));
const EMPTY = new Set("br hr img input link meta base col embed source track wbr area param".split(" "));
const HEADINGS = /^h[1-6]$/;
const TOKEN = /<!--[\s\S]*?(?:-->|$)|<!\[CDATA\[([\s\S]*?)(?:\]\]>|$)|<[!?][^<>]*>|<(\/?)([A-Za-z][\w:.-]*)([^<>]*)>|[^<]+|</g;
const ENTITY = /&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,8}));/gi;
const NAMED = {
  amp: 38, lt: 60, gt: 62, quot: 34, apos: 39, nbsp: 160, deg: 176, plusmn: 177, micro: 181, middot: 183, times: 215, ndash: 8211,
  mdash: 8212, bull: 8226, hellip: 8230, le: 8804, ge: 8805,
};
const TEXT_MAX = 2_000_000;
const NODES_MAX = 20_000;
const DEPTH_MAX = 60;

export function narrative(text) {
  const shown = h("div", { class: "narrative" });
  const open = [{ name: "", node: shown }];
  const dropping = [];
  let room = NODES_MAX;
  for (const [whole, cdata, end, tag, more] of String(text).slice(0, TEXT_MAX).matchAll(TOKEN)) {
    const name = tag?.toLowerCase().replace(/^.*:/, "");
    if (name && DROPPED.has(name)) {
      if (end) dropping.splice(Math.max(0, dropping.lastIndexOf(name)));
      else if (!more.endsWith("/")) dropping.push(name);
      continue;
    }
    if (dropping.length || (!tag && whole.startsWith("<!") && cdata === undefined) || whole.startsWith("<?")) continue;
    if ((room -= 1) < 0) break;
    const { node } = open.at(-1);
    if (!tag) node.append(document.createTextNode(cdata ?? decoded(whole)));
    else if (end) close(open, name);
    else if (ELEMENTS.has(name)) {
      const made = h(HEADINGS.test(name) ? "h4" : name);
      node.append(made);
      if (!EMPTY.has(name) && !more.endsWith("/") && open.length < DEPTH_MAX) open.push({ name, node: made });
    }
  }
  return shown;
}

function close(open, name) {
  const at = open.findLastIndex((one) => one.name === name);
  if (at > 0) open.length = at;
}

function decoded(text) {
  return text.replace(ENTITY, (all, decimal, hex, name) => {
    const code = name ? NAMED[name.toLowerCase()] : parseInt(decimal || hex, decimal ? 10 : 16);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : all;
  });
}
