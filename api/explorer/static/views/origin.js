// Where a report came from, as far as the report and its provenance tell.
import { data, h } from "../dom.js";
import { T } from "../texts.js";
import { concept, instant, list, referenceText } from "../values.js";

const O = T.origin;

export function originOf(report, targets) {
  const meta = report.meta || {};
  const provenances = [...targets.values()].filter((one) => one.resourceType === "Provenance");
  const lines = [
    [O.source, meta.source], [O.profile, list(meta.profile).join(", ")],
    [O.tags, [...list(meta.tag), ...list(meta.security)].map((one) => one.display || one.code).filter(Boolean).join(", ")],
  ].filter(([, text]) => text);
  return h("div", { class: "origin" },
    h("p", {}, O.stored(String(meta.versionId ?? "–"), instant(meta.lastUpdated) || "–")),
    lines.length > 0 && h("dl", { class: "facts" }, lines.map(([label, text]) => h("div", {}, h("dt", {}, label), h("dd", {}, data(text))))),
    provenances.slice(0, 20).map((one) => provenanceOf(one, targets)),
    !lines.length && !provenances.length && h("p", { class: "muted" }, O.none));
}

function provenanceOf(one, targets) {
  const agents = list(one.agent).map((agent) => [concept(agent?.type), referenceText(agent?.who, targets, one)].filter(Boolean).join(": "));
  return h("p", {}, h("b", {}, O.provenance), " ", data([concept(one.activity), instant(one.recorded), ...agents].filter(Boolean).join(" · ")));
}
