// A report as a laboratory prints it, with its history.
import { brief, button, copyButton, data, h, replace, some } from "../dom.js";
import { companions, matches } from "../fhir.js";
import { load } from "../shell.js";
import { T } from "../texts.js";
import { categoryOf, concept, identifierText, instant, list, referenceText, targetOf, whenOf, date, specimenText } from "../values.js";
import { documentsOf } from "./documents.js";
import { personLines } from "./person.js";
import { narrative } from "./narrative.js";
import { originOf } from "./origin.js";
import { rawOf } from "./raw.js";
import { resultTable } from "./results.js";
import { statusPill } from "./rows.js";
import { changesBetween, historyOf, observationsAt, resultIds } from "./versions.js";

const R = T.report;
// Results asked for at most when they did not come along.
const MORE_MAX = 2_000;
const ALONG = ["subject", "result", "specimen", "performer", "results-interpreter", "based-on", "encounter", "media"];

export function reportPage(app, { id }) {
  const place = h("div");
  load(place, async (signal) => sheet(app, await fetched(app, id, signal)));
  return h("div", { class: "page report" }, place);
}

// The report with all that it refers to, or with as much as the token may read.
async function fetched(app, id, signal) {
  const includes = [...ALONG.map((name) => ["_include", `DiagnosticReport:${name}`]), ["_include:iterate", "Observation:has-member"]];
  const tries = [[...includes, ["_revinclude", "Provenance:target"]], [["_include", "DiagnosticReport:result"]], []];
  for (const [index, more] of tries.entries()) {
    try {
      const bundle = await app.fhir.search("DiagnosticReport", [["_id", id], ...more], { signal });
      // What is not found is told as a read tells it: deleted, or never there.
      const report = matches(bundle)[0] || (await app.fhir.json(`DiagnosticReport/${id}`, { signal }));
      const targets = companions(app.fhir, bundle);
      return { report, targets: more.length ? await completed(app, report, targets, signal) : targets };
    } catch (error) {
      if (error.status !== 403 || index === tries.length - 1) throw error;
    }
  }
  return null;
}

// An answer has room for so many included resources; what is beyond it is asked for by its id.
async function completed(app, report, targets, signal) {
  const person = /^Patient\/([A-Za-z0-9.-]{1,64})/.exec(app.fhir.pathOf(report.subject?.reference) || "")?.[1];
  const wanted = [...(person ? [["Patient", person]] : []), ...resultIds(app, report).map((id) => ["Observation", id])];
  for (const type of ["Patient", "Observation"]) {
    const missing = wanted.filter(([one, id]) => one === type && !targets.get(`${type}/${id}`)).map(([, id]) => id);
    await app.fhir.gather(type, missing.slice(0, MORE_MAX), targets, { signal });
  }
  return targets;
}

async function sheet(app, found) {
  const { report, targets } = found;
  const body = h("article", { class: "sheet" });
  const versions = h("div", { class: "versions" });
  const now = Number(report.meta?.versionId);
  replace(body, content(app, report, targets));
  if (now > 1) {
    load(versions, async (signal) => {
      const history = await historyOf(app, report, targets, signal);
      return history.versions.length > 1 ? strip(app, found, history, body) : [];
    });
  }
  const actions = h("div", { class: "actions" }, button(T.print, () => print()), copyButton(() => app.link({ report: report.id }), T.link, "", { title: T.linkHint }), button(R.raw, () => rawOf(app, report)));
  return [h("div", { class: "report-head" }, versions, actions), body];
}

// The versions in order; choosing one shows it as it was then, with what it changed.
function strip(app, found, history, body) {
  const { versions } = history;
  const show = (index) => {
    const version = versions[index];
    const before = versions[index - 1];
    buttons.forEach((one, at) => one.setAttribute("aria-pressed", at === index));
    const targets = observationsAt(found.targets, history, index);
    const changes = before?.resource && version.resource
      ? changesBetween({ report: before.resource, targets: observationsAt(found.targets, history, index - 1) }, { report: version.resource, targets })
      : null;
    const older = index < versions.length - 1;
    replace(body, older && h("p", { class: "notice" }, R.olderNote(version.number, versions.at(-1).number), " ", button(R.toCurrent, () => show(versions.length - 1), "link")),
      version.resource ? content(app, version.resource, targets, changes) : h("p", {}, R.deletedVersion));
  };
  const buttons = versions.map((version, index) => button(
    [h("b", {}, String(version.number)), " ", data(version.resource?.status || R.deletedVersion), h("small", {}, instant(version.at))],
    () => show(index), "version", { "aria-pressed": index === versions.length - 1 }));
  show(versions.length - 1);
  const node = h("div", { class: "version-strip", role: "group", "aria-label": R.history }, buttons);
  // On a phone the newest of many is out of sight.
  requestAnimationFrame(() => (node.scrollLeft = node.scrollWidth));
  return node;
}

function content(app, report, targets, changes) {
  const patient = targetOf(report.subject, targets, report);
  const documents = documentsOf(app, report, targets);
  const text = [
    section(R.results, resultTable(app, report, targets, changes)),
    conclusionOf(report, changes),
    report.text?.div && section(R.narrative, h("details", {}, h("summary", {}, T.show), narrative(report.text.div))),
  ];
  return [
    report.status === "entered-in-error" && h("p", { class: "notice bad" }, R.entered),
    h("header", { class: "sheet-head" },
      h("div", { class: "title-line" }, h("p", { class: "eyebrow" }, data(categoryOf(report))), statusPill(report.status)),
      h("h1", {}, data(concept(report.code) || R.results)),
      person(app, report, patient),
      factsOf(report, targets)),
    changes && changedNote(changes),
    documents ? h("div", { class: ["with-documents", list(report.result).length > 0 && "beside"] }, h("div", {}, text), h("div", { class: "documents" }, h("h2", {}, R.documents), documents)) : text,
    section(R.source, originOf(app, report, targets)),
  ];
}

const section = (title, ...inside) => inside.flat(Infinity).some(Boolean) && h("section", {}, h("h2", {}, title), inside);

function person(app, report, patient) {
  const contained = String(report.subject?.reference || "").startsWith("#");
  // A contained patient is no record of its own: its reports are found by its number, if it has one.
  const reference = contained ? { identifier: list(patient?.identifier).find((one) => one?.value) } : report.subject;
  const open = () => app.open("patient", contained ? { reference } : { patient, reference });
  const leads = reference?.identifier?.value || (!contained && reference?.reference);
  if (patient?.resourceType === "Patient") {
    return leads ? h("button", { type: "button", class: "person in-sheet", onclick: open }, personLines(patient)) : h("div", { class: "person in-sheet" }, personLines(patient));
  }
  const text = referenceText(report.subject);
  if (!text) return h("p", { class: "notice bad" }, R.nobody);
  return leads && h("button", { type: "button", class: "person in-sheet", onclick: open }, h("span", { class: "who-is" }, h("strong", {}, brief(text)), h("span", { class: "muted" }, T.patient.notHere)));
}

function factsOf(report, targets) {
  const refs = (values) => list(values).map((one) => referenceText(one, targets, report)).filter(Boolean);
  const specimens = list(report.specimen).map((one) => {
    const target = targetOf(one, targets, report);
    return target ? specimenText(target) : referenceText(one, targets, report);
  }).filter(Boolean);
  const facts = [
    [R.collected, [whenOf(report)]], [R.issued, [date(report.issued)]], [R.received, [instant(report.meta?.lastUpdated)]],
    [R.performer, refs(report.performer)], [R.interpreter, refs(report.resultsInterpreter)], [R.specimen, specimens],
    [R.order, refs(report.basedOn)], [R.number, list(report.identifier).map(identifierText)], [R.encounter, refs([report.encounter])],
  ].filter(([, values]) => values.some(Boolean));
  return h("dl", { class: "facts" }, facts.map(([label, values]) => h("div", {}, h("dt", {}, label), some(values.filter(Boolean), 12, (one) => h("dd", {}, data(one))))));
}

function conclusionOf(report, changes) {
  const codes = list(report.conclusionCode).map(concept).filter(Boolean);
  if (!report.conclusion && !codes.length) return null;
  const was = changes?.conclusion;
  return section(R.conclusion,
    report.conclusion && h("p", { class: ["conclusion", was !== undefined && "changed"] }, data(report.conclusion)),
    was !== undefined && h("p", { class: "was" }, R.was(was || "–")),
    codes.length > 0 && h("ul", { class: "codes" }, codes.map((one) => h("li", {}, data(one)))));
}

function changedNote(changes) {
  const lines = changes.lines.length ? h("ul", {}, changes.lines.map((one) => h("li", {}, data(one)))) : h("p", {}, R.same);
  return h("section", { class: "changes" }, h("h2", {}, R.changed), lines);
}
