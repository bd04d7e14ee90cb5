// A patient: reports over time, and results at a glance.
import { append, brief, button, data, field, h, replace } from "../dom.js";
import { linkOf, literal, matches } from "../fhir.js";
import { empty, load } from "../shell.js";
import { T } from "../texts.js";
import { STATUS_KIND, categoryOf, concept, date, name, referenceText, whenText } from "../values.js";
import { lanes } from "./lanes.js";
import { multiples } from "./multiples.js";
import { personLines } from "./person.js";
import { tabs } from "./tabs.js";

const P = T.patient;
const PAGE = "100";
const PAGES = 5;
// What a row of the timeline needs; everything else is asked for when a report is opened.
const ELEMENTS = "category,code,status,effective,effectiveDateTime,effectivePeriod,issued";

// The patient of a search, as a record or as a reference that a report made.
export function patientPage(app, { patient, reference, tab = 0 }) {
  const about = patient ? [["patient", `Patient/${patient.id}`]] : pairsOf(reference);
  const head = h("header", { class: "patient-head" }, patient ? headOf(patient) : h("div", {}, h("h1", {}, data(referenceText(reference) || P.unknown)), h("p", { class: "muted" }, P.notHereHint)));
  const timeline = h("div");
  const results = h("div");
  load(timeline, (signal) => reports(app, about, signal));
  let asked = false;
  const onShow = (index) => {
    if (index !== 1 || asked) return;
    asked = true;
    load(results, (signal) => multiples(app, about, { patient, reference }, signal));
  };
  return h("div", { class: "page patient" }, head, tabs([[P.timeline, timeline], [P.results, results]], onShow, tab));
}

// How searches name this patient.
export function pairsOf(reference) {
  const named = String(reference?.reference || "").replace(/\/_history\/[^/]+$/, "");
  if (named && !named.startsWith("#")) return [["subject", named]];
  const { system, value } = reference?.identifier || {};
  // Without a system the number is that of no system: under another it may be another patient.
  const [issuer, number] = [system, value].map((one) => literal(String(one ?? "")).replaceAll("|", "\\|"));
  return [["patient.identifier", `${issuer}|${number}`]];
}

function headOf(patient) {
  const [avatar, lines] = personLines(patient);
  const [, ...rest] = lines.childNodes;
  return [avatar, h("div", { class: "who-is" }, h("h1", {}, data(name(patient.name) || P.unknown)), rest)];
}

async function reports(app, about, signal) {
  const place = h("div");
  const until = h("input", { type: "date", onchange: () => load(under, (next) => timeline(app, about, until.value, next)) });
  const under = h("div", {}, await timeline(app, about, "", signal));
  return append(place, [h("div", { class: "until" }, field(P.until, until)), under]);
}

async function timeline(app, about, until, signal) {
  const bound = until ? [["date", `le${until}`]] : [];
  const first = await app.fhir.search("DiagnosticReport", [...about, ...bound, ["_sort", "-date"], ["_count", PAGE], ["_elements", ELEMENTS], ["_total", "none"]], { signal });
  if (!matches(first).length) return empty(P.none, P.noneHint);
  const shown = new Timeline(app);
  shown.add(first);
  if (linkOf(first, "next")) counted(app, [...about, ...bound], shown);
  return shown.node;
}

// The page does not wait for the number of all reports; without it, it is not told.
async function counted(app, pairs, shown) {
  try {
    const { total } = await app.fhir.search("DiagnosticReport", [...pairs, ["_summary", "count"]]);
    shown.of(total?.valueOf());
  } catch {
    // The reports are there all the same.
  }
}

// Reports by year, page after page; what is there is never drawn again.
class Timeline {
  #found = [];
  #years = new Map();
  #category = "";
  #total;
  #next;
  #parts = { lanes: h("div"), chips: h("div", { class: "chips" }), said: h("p", { class: "muted", role: "status" }), years: h("div", { class: "years" }), more: h("div") };

  constructor(app) {
    this.open = (report) => app.open("report", { id: report.id });
    this.older = button(P.older, () => load(this.#parts.more, async (signal) => {
      try {
        for (let pages = 0; pages < PAGES && this.#next; pages += 1) this.#take(await app.fhir.json(this.#next, { signal }));
      } finally {
        this.#around();
      }
      return [];
    }));
    const { lanes: picture, chips, said, years, more } = this.#parts;
    this.node = h("div", {}, picture, chips, said, years, h("p", { class: "actions" }, this.older), more);
  }

  add(page) {
    this.#take(page);
    this.#around();
  }

  #take(page) {
    const reports = matches(page);
    this.#next = linkOf(page, "next");
    this.#found.push(...reports);
    this.older.hidden = !this.#next;
    this.#rows(reports);
  }

  of(total) {
    this.#total = total;
    this.#parts.said.textContent = P.shown(this.#found.length, this.#next ? total : undefined);
  }

  #around() {
    const categories = [...new Set(this.#found.map(categoryOf))];
    const chip = (category, label) => button(brief(label), () => this.#choose(category), "tab", { "aria-pressed": this.#category === category });
    replace(this.#parts.chips, chip("", P.allCategories), categories.length > 1 && categories.map((one) => chip(one, one)));
    replace(this.#parts.lanes, lanes(this.#found.filter((one) => this.#fits(one)), this.open));
    this.of(this.#total);
  }

  #fits(report) {
    return !this.#category || categoryOf(report) === this.#category;
  }

  #choose(category) {
    this.#category = category;
    this.#years.clear();
    replace(this.#parts.years);
    this.#rows(this.#found);
    this.#around();
  }

  #rows(reports) {
    for (const one of reports) {
      if (!this.#fits(one)) continue;
      const year = whenText(one).slice(0, 4) || P.noDate;
      if (!this.#years.has(year)) {
        const made = h("ol");
        this.#years.set(year, made);
        this.#parts.years.append(h("section", { class: "year" }, h("h2", {}, year), made));
      }
      this.#years.get(year).append(h("li", {}, row(one, this.open)));
    }
    // Years out of sight are as high as they will be: what is being clicked does not move away.
    for (const made of this.#years.values()) made.parentNode.style.setProperty("--rows", made.children.length);
  }
}

function row(one, open) {
  return h("button", { type: "button", onclick: () => open(one) },
    h("time", {}, date(whenText(one).slice(0, 10)) || "–"),
    h("span", {}, h("strong", {}, brief(concept(one.code) || one.id)), h("span", { class: "kind" }, brief(categoryOf(one)))),
    h("span", { class: ["pill", STATUS_KIND[one.status] || "early"] }, brief(one.status)));
}
