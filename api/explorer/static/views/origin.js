// Where a report came from, as far as the report and its provenance tell.
import { button, copyButton, data, h, openDialog } from "../dom.js";
import { load } from "../shell.js";
import { T } from "../texts.js";
import { concept, instant, list, referenceText } from "../values.js";

const O = T.origin;
const BINARY = /^Binary\/[A-Za-z0-9.-]{1,64}/;
const SHOWN_MAX = 500_000;

export function originOf(app, report, targets) {
  const meta = report.meta || {};
  const provenances = [...targets.values()].filter((one) => one.resourceType === "Provenance");
  const lines = [
    [O.source, meta.source], [O.profile, list(meta.profile).join(", ")],
    [O.tags, [...list(meta.tag), ...list(meta.security)].map((one) => one?.display || one?.code).filter(Boolean).join(", ")],
  ].filter(([, text]) => text);
  return h("div", { class: "origin" },
    h("p", {}, O.stored(String(meta.versionId ?? "–"), instant(meta.lastUpdated) || "–")),
    lines.length > 0 && h("dl", { class: "facts" }, lines.map(([label, text]) => h("div", {}, h("dt", {}, label), h("dd", {}, data(text))))),
    provenances.map((one) => provenanceOf(app, one, targets)),
    !lines.length && !provenances.length && h("p", { class: "muted" }, O.none));
}

function provenanceOf(app, one, targets) {
  const agents = list(one.agent).map((agent) => [concept(agent?.type), referenceText(agent?.who, targets, one)].filter(Boolean).join(": "));
  const sources = list(one.meta?.tag).map((tag) => tag?.display || tag?.code).filter(Boolean);
  const messages = list(one.entity).map((entity) => BINARY.exec(app.fhir.pathOf(entity?.what?.reference) || "")?.[0]).filter(Boolean);
  const names = list(one.entity).map((entity) => entity?.what?.display || entity?.what?.identifier?.value).filter(Boolean);
  return h("p", {}, h("b", {}, O.provenance), " ",
    data([concept(one.activity), instant(one.recorded), ...agents, ...sources, ...names].filter(Boolean).join(" · ")),
    messages.map((path) => [" ", button(O.message, () => messageOf(app, path), "small")]));
}

// The message as it came; segments of HL7 v2 on lines of their own.
function messageOf(app, path) {
  const place = h("div");
  openDialog(O.messageTitle, place);
  load(place, async (signal) => {
    const text = await textOf(await app.fhir.bytes(path, { signal }));
    return [h("p", {}, copyButton(text, T.copy)), h("pre", { class: "code tall", tabindex: "0" }, text.replace(/\r\n?/g, "\n"))];
  });
}

// Messages are kept compressed; what one inflates to is read as far as it is shown.
async function textOf(bytes) {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return new TextDecoder().decode(bytes.subarray(0, SHOWN_MAX));
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")).pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let part = await reader.read(); !part.done && text.length < SHOWN_MAX; part = await reader.read()) text += part.value;
  reader.cancel();
  return text.slice(0, SHOWN_MAX);
}
