// A patient: reports over time, and results at a glance.
import { button, data, h, replace } from "../dom.js";
import { linkOf, matches } from "../fhir.js";
import { empty, load } from "../shell.js";
import { T } from "../texts.js";
import { STATUS_KIND, categoryOf, concept, date, name, referenceText, whenText } from "../values.js";
import { personLines, tabs } from "./find.js";
import { lanes } from "./lanes.js";
import { multiples } from "./multiples.js";

const P = T.patient;
const FIRST = "200";
const PAGES = 5;
// What a row of the timeline needs; everything else is asked for when a report is opened.
const ELEMENTS = "category,code,status,effective,effectiveDateTime,effectivePeriod,issued";

// The patient of a search, as a record or as a reference that a report made.
export function patientPage(app, { patient, reference }) {
  const about = patient ? [["patient", `Patient/${patient.id}`]] : pairsOf(reference);
  const head = h("header", { class: "patient-head" }, patient ? headOf(patient) : h("div", {}, h("h1", {}, data(referenceText(reference, new Map()) || P.unknown)), h("p", { class: "muted" }, P.notHereHint)));
  const timeline = h("div");
  const results = h("div");
  load(timeline, (signal) => reports(app, about, signal));
  let asked = false;
  const onShow = (index) => {
    if (index !== 1 || asked) return;
    asked = true;
    load(results, (signal) => multiples(app, about, { patient, reference }, signal));
  };
  return h("div", { class: "page patient" }, head, tabs([[P.timeline, timeline], [P.results, results]], onShow));
}

// How searches name this patient.
export function pairsOf(reference) {
  if (reference?.reference && !reference.reference.startsWith("#")) return [["subject", reference.reference]];
  const { system, value } = reference?.identifier || {};
  return [["patient.identifier", `${system ? `${system}|` : ""}${String(value ?? "").replace(/[\\,$|]/g, "\\$&")}`]];
}

function headOf(patient) {
  const [avatar, lines] = personLines(patient);
  const [, ...rest] = lines.childNodes;
  return [avatar, h("div", { class: "who-is" }, h("h1", {}, data(name(patient.name) || P.unknown)), rest)];
}

async function reports(app, about, signal) {
  const first = await app.fhir.search("DiagnosticReport", [...about, ["_sort", "-date"], ["_count", FIRST], ["_elements", ELEMENTS]], { signal });
  const found = matches(first);
  if (!found.length) return empty(P.none, P.noneHint);
  const state = { found, total: first.total?.valueOf(), next: linkOf(first, "next"), category: "" };
  const place = h("div");
  draw(app, state, place);
  return place;
}

function draw(app, state, place) {
  const categories = [...new Set(state.found.map(categoryOf))];
  const shown = state.found.filter((one) => !state.category || categoryOf(one) === state.category);
  const choose = (category) => {
    state.category = category;
    draw(app, state, place);
  };
  const chip = (category, label) => button(data(label), () => choose(category), "tab", { "aria-pressed": state.category === category });
  const more = h("div");
  const open = (report) => app.open("report", { id: report.id });
  replace(place,
    lanes(shown, open),
    h("div", { class: "chips" }, chip("", P.allCategories), categories.length > 1 && categories.map((one) => chip(one, one))),
    h("p", { class: "muted" }, P.shown(state.found.length, state.total)),
    years(shown, open),
    state.next && h("p", { class: "actions" }, button(P.older, () => load(more, (signal) => older(app, state, place, signal)))), more);
}

// The next pages, as many as a reader will want at a time.
async function older(app, state, place, signal) {
  for (let pages = 0; pages < PAGES && state.next; pages += 1) {
    const page = await app.fhir.json(state.next, { signal });
    state.found.push(...matches(page));
    state.next = linkOf(page, "next");
  }
  draw(app, state, place);
}

function years(reports, open) {
  const byYear = new Map();
  for (const one of reports) {
    const year = whenText(one).slice(0, 4) || P.noDate;
    if (!byYear.has(year)) byYear.set(year, []);
    byYear.get(year).push(one);
  }
  return h("div", { class: "years" }, [...byYear].map(([year, all]) => h("section", { class: "year" }, h("h2", {}, year),
    h("ol", {}, all.map((one) => h("li", {}, row(one, open)))))));
}

function row(one, open) {
  const when = whenText(one);
  return h("button", { type: "button", onclick: () => open(one) },
    h("time", {}, date(when.slice(0, 10)) || "–"),
    h("span", {}, h("strong", {}, data(concept(one.code) || one.id)), h("span", { class: "kind" }, data(categoryOf(one)))),
    h("span", { class: ["pill", STATUS_KIND[one.status] || "early"] }, data(one.status || "")));
}

