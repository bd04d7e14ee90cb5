// Reports as rows, and pages of them.
import { button, data, h, prose } from "../dom.js";
import { companions, linkOf, matches, notes } from "../fhir.js";
import { load } from "../shell.js";
import { T } from "../texts.js";
import { STATUS_KIND, categoryOf, concept, list, referenceText, whenOf } from "../values.js";

const C = T.query.columns;

export const statusPill = (status) => h("span", { class: ["pill", STATUS_KIND[status] || "early"] }, data(status || "unknown"));

export const openReport = (app, report, label) =>
  h("button", { type: "button", class: "link strong", onclick: () => app.open("report", { id: report.id }) }, label);

export function reportRows(app, reports, targets) {
  const head = [C.date, C.what, C.category, C.status, C.patient, C.from];
  return h("div", { class: "table-frame" }, h("table", { class: "rows" },
    h("thead", {}, h("tr", {}, head.map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, reports.map((report) => h("tr", {},
      h("td", { class: "date" }, data(whenOf(report)) ),
      h("th", { scope: "row" }, openReport(app, report, data(concept(report.code) || report.id))),
      h("td", {}, data(categoryOf(report))),
      h("td", {}, statusPill(report.status)),
      h("td", {}, data(referenceText(report.subject, targets, report))),
      h("td", {}, data(referenceText(list(report.performer)[0], targets, report))))))));
}

export function resourceRows(app, resources, targets) {
  return h("div", { class: "table-frame" }, h("table", { class: "rows" },
    h("thead", {}, h("tr", {}, [C.date, T.query.resource, C.value, C.status, C.patient].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, resources.map((one) => h("tr", {},
      h("td", { class: "date" }, data(whenOf(one))),
      h("th", { scope: "row" }, data(concept(one.code) || `${one.resourceType}/${one.id}`)),
      h("td", {}, data(one.valueQuantity ? `${one.valueQuantity.value ?? ""} ${one.valueQuantity.unit ?? ""}` : concept(one.valueCodeableConcept) || one.valueString || "")),
      h("td", {}, one.status && statusPill(one.status)),
      h("td", {}, data(referenceText(one.subject || one.patient, targets, one))))))));
}

// A page of matches with what was understood, its total, and its links.
export function bundlePage(app, bundle, rows, place) {
  const found = matches(bundle);
  const follow = (relation) => linkOf(bundle, relation) &&
    button(T.query[relation === "next" ? "next" : "previousPlain"], () =>
      load(place, async (signal) => bundlePage(app, await app.fhir.json(linkOf(bundle, relation), { signal }), rows, place)));
  return h("div", { class: "result-page" },
    h("p", { class: "muted total" }, bundle.total !== undefined && T.query.total(Number(bundle.total))),
    notes(bundle).map((text) => h("p", { class: "notice" }, prose(text))),
    rows(app, found, companions(bundle)),
    h("nav", { class: "pager", "aria-label": T.pages }, follow("previous"), follow("next")));
}

