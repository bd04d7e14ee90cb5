// Find a patient, or reports by any parameter.
import { brief, data, field, h, some, uid } from "../dom.js";
import { linkOf, matches } from "../fhir.js";
import { empty, load } from "../shell.js";
import { T } from "../texts.js";
import { age, date, list, name } from "../values.js";
import { queryPanel } from "./query.js";
import { reportRows } from "./rows.js";

const F = T.find;

export function findPage(app) {
  const panels = [[F.patientTab, patientPanel(app)], [F.reportTab, h("div")]];
  let built = false;
  const onShow = (index) => {
    if (index !== 1 || built) return;
    built = true;
    panels[1][1].append(queryPanel(app));
  };
  return h("div", { class: "page find" }, h("h1", {}, F.welcome), tabs(panels, onShow));
}

// Tabs by the book: arrow keys move, one is in the order of the Tab key.
export function tabs(panels, onShow = () => {}, chosen = 0) {
  const made = panels.map(([label, panel]) => {
    const id = uid("tab");
    Object.assign(panel, { id: `${id}-panel`, tabIndex: -1 });
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", id);
    return h("button", { type: "button", role: "tab", id, "aria-controls": panel.id, class: "tab" }, label);
  });
  const choose = (index, focus) => {
    made.forEach((tab, at) => {
      tab.setAttribute("aria-selected", at === index);
      tab.tabIndex = at === index ? 0 : -1;
      panels[at][1].hidden = at !== index;
    });
    if (focus) made[index].focus();
    onShow(index);
  };
  made.forEach((tab, index) => {
    tab.addEventListener("click", () => choose(index));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: index + 1, ArrowLeft: index - 1 + made.length, Home: 0, End: made.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      choose(to % made.length, true);
    });
  });
  const all = h("div", { class: "tabs" }, h("div", { role: "tablist" }, made), panels.map(([, panel]) => panel));
  choose(chosen);
  return all;
}

function patientPanel(app) {
  const results = h("div", { class: "found", "aria-live": "polite" }, empty(F.empty));
  const identifier = h("input", { type: "search", autocomplete: "off", spellcheck: "false", required: true });
  const family = h("input", { type: "search", autocomplete: "off", spellcheck: "false", required: true });
  const born = h("input", { type: "date", required: true });
  const byNumber = (event) => {
    event.preventDefault();
    const value = identifier.value.trim();
    load(results, (signal) => found(app, [["identifier", literal(value)]], literal(value), signal));
  };
  const byName = (event) => {
    event.preventDefault();
    const pairs = [["name", literal(family.value.trim())], ["birthdate", born.value]];
    load(results, (signal) => found(app, pairs, null, signal));
  };
  const go = () => h("button", { type: "submit", class: "primary" }, F.search);
  return h("div", {},
    h("div", { class: "ways" },
      h("form", { class: "card", onsubmit: byNumber }, h("h2", {}, F.byNumber), field(F.identifier, identifier, F.identifierHint), go()),
      h("form", { class: "card", onsubmit: byName }, h("h2", {}, F.byName), h("div", { class: "pair" },
        field(F.family, family, F.familyHint), field(F.born, born)), go())),
    results);
}

// A typed value as it stands: a comma in it separates nothing.
const literal = (text) => text.replace(/[\\,$]/g, "\\$&");

async function found(app, pairs, number, signal) {
  const [people, reports] = await Promise.all([
    app.fhir.search("Patient", [...pairs, ["_count", "50"]], { signal }),
    number && app.fhir.search("DiagnosticReport", [["patient.identifier", number], ["_sort", "-date"], ["_count", "20"]], { signal }),
  ]);
  const patients = matches(people);
  const rest = reports ? matches(reports) : [];
  if (!patients.length && !rest.length) return empty(F.nobody, F.nobodyHint);
  return [
    patients.length ? h("ul", { class: "people" }, patients.map((one) => h("li", {}, personCard(app, one)))) : empty(F.nobody, F.nobodyHint),
    linkOf(people, "next") && h("p", { class: "muted" }, T.count.patients(people.total?.valueOf() ?? patients.length)),
    rest.length > 0 && [h("h2", { class: "section" }, F.reportsOnly), reportRows(app, rest)],
  ];
}

export function personCard(app, patient) {
  return h("button", { type: "button", class: "card person", onclick: () => app.open("patient", { patient }) }, personLines(patient));
}

export function personLines(patient) {
  const died = patient.deceasedDateTime || patient.deceasedBoolean === true;
  const years = died ? null : age(patient.birthDate);
  const about = [
    patient.birthDate && `${T.patient.born} ${date(patient.birthDate)}`, died && T.patient.died(date(patient.deceasedDateTime)),
    years !== null && T.patient.age(years), patient.gender,
  ].filter(Boolean).join(" · ");
  const known = list(patient.identifier).map((one) => [one?.type && kindOf(one.type), one?.value].filter(Boolean).join(" ")).filter(Boolean);
  const numbers = some(known, 4, (one) => brief(one, "number"));
  return [
    h("span", { class: "avatar", "aria-hidden": "true" }, initials(patient)),
    h("span", { class: "who-is" }, h("strong", {}, brief(name(patient.name) || T.patient.unknown)), h("span", { class: "muted" }, brief(about)), h("span", { class: "numbers" }, numbers)),
  ];
}

const kindOf = (type) => String(list(type.coding)[0]?.code || type.text || "");

function initials(patient) {
  const words = name(patient.name).split(/[\s,]+/).filter(Boolean);
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("") || "?";
}

