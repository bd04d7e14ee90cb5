// Find a patient, or reports by any parameter.
import { field, h } from "../dom.js";
import { linkOf, literal, matches } from "../fhir.js";
import { empty, load } from "../shell.js";
import { T } from "../texts.js";
import { personCard } from "./person.js";
import { queryPanel } from "./query.js";
import { reportRows } from "./rows.js";
import { tabs } from "./tabs.js";

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
