// Documents of a report: shown when their bytes are what they say, else handed over as files.
import { brief, button, data, h, longText } from "../dom.js";
import { Problem } from "../fhir.js";
import { load } from "../shell.js";
import { T } from "../texts.js";
import { date, list, targetOf } from "../values.js";

const D = T.documents;
const BINARY = /^Binary\/[A-Za-z0-9.-]{1,64}(?:\/_history\/\d+)?$/;
const CARDS_MAX = 50;
const SHOWN_BYTES_MAX = 40_000_000;
const TEXT_MAX = 5_000_000;
// Beginnings of files by type. What begins otherwise is not shown, whatever it is called.
const MAGIC = {
  __proto__: null,
  "application/pdf": ["25504446"], "image/png": ["89504e47"], "image/jpeg": ["ffd8ff"], "image/gif": ["47494638"],
  "image/webp": ["52494646"], "image/bmp": ["424d"],
};
const TEXTS = new Set(["text/plain", "text/csv", "text/xml", "application/xml", "application/json", "text/html", "application/xhtml+xml", "application/xhtml", "text/markdown"]);
const ENDS = {
  __proto__: null,
  "application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp", "image/bmp": "bmp",
  "image/svg+xml": "svg", "text/plain": "txt", "text/rtf": "rtf", "application/rtf": "rtf", "text/html": "html", "application/json": "json",
};

export function documentsOf(app, report, targets) {
  const images = list(report.media).map((one) => targetOf(one?.link, targets, report)?.content || null);
  const all = [...list(report.presentedForm), ...images].filter((one) => one && typeof one === "object");
  if (!all.length) return null;
  return [all.slice(0, CARDS_MAX).map((one, index) => card(app, one, index === 0)), all.length > CARDS_MAX && h("p", { class: "notice" }, D.more(all.length - CARDS_MAX))];
}

// The path of a document that is kept here; null for one that is elsewhere.
function pathOf(app, attachment) {
  const path = attachment.url && app.fhir.pathOf(attachment.url);
  return path && BINARY.test(path) ? path : null;
}

const typeOf = (attachment) => String(attachment.contentType || "").split(";")[0].trim().toLowerCase();

function card(app, attachment, first) {
  const type = typeOf(attachment);
  const title = attachment.title || D.untitled;
  const about = [type, size(attachment), attachment.creation && date(attachment.creation)].filter(Boolean).join(" · ");
  const place = h("div", { class: "document-view" });
  const reach = typeof attachment.data === "string" || pathOf(app, attachment) !== null;
  const shows = type in MAGIC || TEXTS.has(type) || type === "image/svg+xml";
  const showing = button(D.show, () => show(), "small");
  const show = () => load(place, async (signal) => {
    const seen = view(title, type, await bytesOf(app, attachment, signal));
    showing.hidden = true;
    return seen;
  });
  const save = () => load(place, async (signal) => {
    download(title, type, await bytesOf(app, attachment, signal));
    return [];
  }, { keep: true });
  const node = h("figure", { class: "document" },
    h("figcaption", {}, h("strong", {}, brief(title)), h("span", { class: "muted" }, data(about)),
      reach && h("span", { class: "actions" }, shows && showing, button(D.download, save, "small quiet"))),
    !reach && h("p", { class: "muted" }, attachment.url ? [D.elsewhere, " ", data(String(attachment.url))] : D.noContent),
    reach && !shows && h("p", { class: "muted" }, D.onlyDownload),
    place);
  if (first && shows && reach) show();
  return node;
}

function size(attachment) {
  const bytes = Number(attachment.size) || (typeof attachment.data === "string" ? Math.floor((attachment.data.length * 3) / 4) : 0);
  if (!bytes) return "";
  return bytes < 10_000 ? `${bytes.toLocaleString("en")} bytes` : bytes < 1_000_000 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

async function bytesOf(app, attachment, signal) {
  if (typeof attachment.data === "string") {
    try {
      return Uint8Array.from(atob(attachment.data.replace(/\s+/g, "")), (character) => character.charCodeAt(0));
    } catch {
      throw new Problem(D.damaged);
    }
  }
  try {
    return await app.fhir.bytes(pathOf(app, attachment), { signal });
  } catch (error) {
    if (error.status === 404) error.title = D.neverCame;
    throw error;
  }
}

function view(title, type, bytes) {
  const begins = [...bytes.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (type in MAGIC && !MAGIC[type].some((magic) => begins.startsWith(magic))) return h("p", { class: "notice" }, D.wrongType(type));
  if (bytes.length > SHOWN_BYTES_MAX) return h("p", { class: "notice" }, D.onlyDownload);
  if (TEXTS.has(type)) return h("div", { class: "document-text", tabindex: "0" }, longText(new TextDecoder().decode(bytes.subarray(0, TEXT_MAX))));
  const url = URL.createObjectURL(new Blob([bytes], { type }));
  if (type === "application/pdf") return h("iframe", { class: "pdf", src: `${url}#toolbar=0&navpanes=0&view=FitH`, title: D.page(title) });
  // An SVG in an image runs no script and loads nothing.
  return h("img", { src: url, alt: title, class: "picture", onload: () => URL.revokeObjectURL(url) });
}

function download(title, type, bytes) {
  const url = URL.createObjectURL(new Blob([bytes], { type: "application/octet-stream" }));
  const plain = String(title).replace(/[^\p{L}\p{N} ._-]/gu, "_").replace(/\.{2,}/g, ".").slice(0, 80).trim() || "document";
  const end = ENDS[type] ? `.${ENDS[type]}` : ".bin";
  const link = h("a", { href: url, download: plain.toLowerCase().endsWith(end) ? plain : plain + end });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
