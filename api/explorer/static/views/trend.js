// One analyte over time: a chart for each unit, and all values as a table.
import { button, data, h, replace } from "../dom.js";
import { linkOf, matches } from "../fhir.js";
import { empty, load } from "../shell.js";
import { T } from "../texts.js";
import { date, referenceText } from "../values.js";
import { draw } from "./chart.js";
import { pairsOf } from "./patient.js";
import { byUnit, kindOf, pointsOf, unitLabel } from "./points.js";
import { personLines } from "./find.js";

const R = T.trend;
const PAGES_MAX = 10;
const ELEMENTS = "code,status,effective,effectiveDateTime,effectivePeriod,effectiveInstant,value,valueQuantity,valueInteger,interpretation,referenceRange,component";

export function trendPage(app, { subject, patient, stored = true, code, title, part }) {
  const place = h("div");
  load(place, (signal) => trend(app, subject, code, title, part, signal));
  return h("div", { class: "page trend" },
    whose(app, subject, patient, stored),
    h("h1", {}, data(title)), h("p", { class: "muted mono" }, data(code)), place);
}

// Whose values these are: never a chart without a name.
function whose(app, subject, patient, stored) {
  if (!patient) return h("div", { class: "person in-sheet" }, h("strong", {}, data(referenceText(subject, new Map()))));
  const open = () => app.open("patient", stored ? { patient } : { reference: subject });
  return h("button", { type: "button", class: "person in-sheet", onclick: open }, personLines(patient));
}

// All values, the newest first; a component is asked for by the parameter that looks into components.
async function trend(app, subject, code, title, part, signal) {
  const pairs = [...pairsOf(subject), [part ? "combo-code" : "code", code.replace(/[,$]/g, "\\$&")], ["_sort", "-date"], ["_count", "1000"], ["_elements", ELEMENTS], ["_total", "none"]];
  const found = [];
  let left = 0;
  let more = false;
  let pages = 0;
  for await (const page of app.fhir.pages("Observation", pairs, { signal })) {
    for (const one of matches(page)) {
      if (one.status === "entered-in-error") left += 1;
      else found.push(...pointsOf(one).filter((point) => point.key === code));
    }
    pages += 1;
    more = Boolean(linkOf(page, "next"));
    if (pages >= PAGES_MAX) break;
  }
  if (!found.length) return empty(R.noNumbers);
  const points = found.sort((a, b) => a.at - b.at);
  const units = byUnit(points);
  return [
    units.length > 1 && h("p", { class: "notice" }, R.perUnit),
    more && h("p", { class: "notice" }, R.more(points.length)),
    left > 0 && h("p", { class: "muted" }, R.left(left)),
    units.map((one) => chartOf(one, title)),
    table(app, subject, points),
  ];
}

function chartOf(points, title) {
  const plot = h("div", { class: "plot" });
  const unit = unitLabel(points);
  const years = [1, 2, 5, 10].filter((count) => points.at(-1).at - points[0].at > count * 31_557_600_000);
  const label = R.label(title, points.length, unit);
  const chart = { zoom: () => {} };
  const set = (count) => {
    const to = points.at(-1).at / 1000;
    chart.zoom(count ? to - count * 31_557_600 : null, to + 86_400 * 20);
    buttons.forEach(([at, one]) => one.setAttribute("aria-pressed", at === count));
  };
  const buttons = [[0, R.all], ...years.map((count) => [count, R.years(count)])].map(([count, text]) => [count, button(text, () => set(count), "tab", { "aria-pressed": count === 0 })]);
  requestAnimationFrame(() => draw(plot, points).then((made) => Object.assign(chart, made), (error) => {
    console.warn(error);
    replace(plot, h("p", { class: "notice" }, R.failed));
  }));
  const kinds = [...new Set(points.map(kindOf))].filter((kind) => kind !== "normal");
  return h("section", { class: "chart", "aria-label": label },
    h("div", { class: "ranges" }, unit && h("h2", {}, data(unit)), years.length > 0 && buttons.map(([, one]) => one)),
    plot,
    h("p", { class: "legend" }, points.some((one) => !Number.isNaN(one.low) || !Number.isNaN(one.high)) && h("span", {}, h("i"), R.band),
      kinds.map((kind) => h("span", {}, h("i", { class: ["dot", kind] }), R.kinds[kind] || kind)), h("span", {}, R.hint)));
}

const ROWS = 200;

function table(app, subject, points) {
  const newest = [...points].reverse();
  const body = h("tbody");
  let shown = 0;
  const more = button(T.patient.older, () => grow(), "small");
  const grow = () => {
    newest.slice(shown, shown + ROWS).forEach((one) => body.append(h("tr", {},
      h("td", { class: "date" }, date(one.when)), h("th", { scope: "row", class: `is-${kindOf(one)}` }, h("span", { class: "figure" }, data(one.text)), " ", h("span", { class: "muted" }, data(one.unit))),
      h("td", {}, one.flags.map((flag) => h("span", { class: ["flag-mark", flag.kind] }, h("abbr", { title: flag.label }, data(flag.code)), h("span", { class: "flag-label" }, data(flag.label))))),
      h("td", {}, data(one.rangeText)), h("td", {}, data(one.status)),
      h("td", {}, button(R.open, (event) => openReport(app, subject, one.id, event.currentTarget), "small quiet")))));
    shown += ROWS;
    more.hidden = shown >= newest.length;
    more.textContent = R.rest(newest.length - shown);
  };
  grow();
  const C = R.columns;
  return h("section", {}, h("h2", { class: "section" }, R.table), h("div", { class: "table-frame" }, h("table", { class: "rows" },
    h("thead", {}, h("tr", {}, [C.date, C.value, C.flag, C.range, C.status, R.open].map((text) => h("th", { scope: "col" }, text)))), body)), h("p", {}, more));
}

async function openReport(app, subject, id, where) {
  const said = h("span", { role: "status" });
  where.after(said);
  await load(said, async (signal) => {
    const bundle = await app.fhir.search("DiagnosticReport", [...pairsOf(subject), ["result", `Observation/${id}`], ["_count", "1"]], { signal });
    const [report] = matches(bundle);
    if (!report) return h("small", {}, R.noReport);
    app.open("report", { id: report.id });
    return [];
  });
}

