// Reports as rows, and pages of them.
import { brief, button, h, prose } from "../dom.js";
import { companions, linkOf, matches, notes } from "../fhir.js";
import { load } from "../shell.js";
import { T } from "../texts.js";
import { STATUS_KIND, categoryOf, list, referenceText, titleOf, valueOf, whenOf } from "../values.js";
import { rawOf } from "./raw.js";

const C = T.query.columns;

export const statusPill = (status) => h("span", { class: ["pill", STATUS_KIND[status] || "early"] }, brief(status || "unknown"));

// Reports and patients have pages of their own; of anything else the JSON is shown.
function titleButton(app, resource) {
  const name = titleOf(resource) || `${resource.resourceType}/${resource.id}`;
  const open = {
    DiagnosticReport: () => app.open("report", { id: resource.id }),
    Patient: () => app.open("patient", { patient: resource }),
  }[resource.resourceType];
  return button(brief(name), open || (() => rawOf(app, resource)), "link strong");
}

// A table whose second column names the row; with `labelled`, cells say on a phone what they are.
export function tableOf(head, rows, { labelled = false } = {}) {
  const body = h("tbody");
  const add = (more) => more.forEach((cells) => body.append(h("tr", {}, cells.map((cell, index) =>
    h(index === 1 ? "th" : "td", { class: index === 0 && "date", scope: index === 1 && "row", "data-label": labelled && head[index] }, labelled ? h("div", {}, cell) : cell)))));
  add(rows);
  const node = h("div", { class: "table-frame" }, h("table", { class: ["rows", labelled && "labelled"] },
    h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))), body));
  return { node, add };
}

export function reportRows(app, reports, targets) {
  return tableOf([C.date, C.what, C.category, C.status, C.patient, C.from], reports.map((report) => [
    brief(whenOf(report)), titleButton(app, report), brief(categoryOf(report)), statusPill(report.status),
    brief(referenceText(report.subject, targets, report)), brief(referenceText(list(report.performer)[0], targets, report)),
  ])).node;
}

export function resourceRows(app, resources, targets) {
  return tableOf([C.date, T.query.resource, C.value, C.status, C.patient], resources.map((one) => [
    brief(whenOf(one)), titleButton(app, one), valueText(one), one.status && statusPill(one.status),
    brief(referenceText(one.subject || one.patient, targets, one)),
  ])).node;
}

function valueText(resource) {
  const { text, unit } = valueOf(resource);
  return brief([text, unit].filter(Boolean).join(" "));
}

// Names say more than ids: those of the patients and organizations that rows refer to.
async function named(app, found, targets, signal) {
  const refs = found.flatMap((one) => [one.subject, one.patient, list(one.performer)[0]]).map((one) => app.fhir.pathOf(one?.reference) || "");
  for (const type of ["Patient", "Organization"]) {
    const ids = refs.map((path) => new RegExp(`^${type}/([A-Za-z0-9.-]{1,64})$`).exec(path)?.[1]).filter((id) => id && !targets.get(`${type}/${id}`));
    await app.fhir.gather(type, [...new Set(ids)], targets, { signal });
  }
  return targets;
}

// A page of matches with what was understood, its total, and its links.
export async function bundlePage(app, bundle, rows, place, signal) {
  const found = matches(bundle);
  const targets = await named(app, found, companions(app.fhir, bundle), signal);
  const follow = (relation) => linkOf(bundle, relation) &&
    button(T.query[relation], () =>
      load(place, async (signal) => bundlePage(app, await app.fhir.json(linkOf(bundle, relation), { signal }), rows, place, signal)));
  return h("div", { class: "result-page" },
    h("p", { class: "muted total" }, bundle.total !== undefined && T.query.total(Number(bundle.total))),
    notes(bundle).map((text) => h("p", { class: "notice" }, prose(text))),
    rows(app, found, targets),
    h("nav", { class: "pager", "aria-label": T.pages }, follow("previous"), follow("next")));
}

