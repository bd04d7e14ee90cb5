// One analyte over time: a chart for each unit, and all values as a table.
import { brief, button, data, h, replace } from "../dom.js";
import { linkOf, literal, matches } from "../fhir.js";
import { empty, load } from "../shell.js";
import { T } from "../texts.js";
import { date, referenceText } from "../values.js";
import { draw } from "./chart.js";
import { pairsOf } from "./patient.js";
import { ELEMENTS, byUnit, drawable, isVoid, kindOf, pointsOf, unitLabel } from "./points.js";
import { personLines } from "./person.js";
import { flagMarks } from "./results.js";
import { tableOf } from "./rows.js";

const R = T.trend;
const PAGES_MAX = 10;

export function trendPage(app, { subject, patient, stored = true, code, title, part }) {
  const place = h("div");
  load(place, (signal) => trend(app, subject, code, title, part, signal));
  return h("div", { class: "page trend" },
    whose(app, subject, patient, stored),
    h("h1", {}, data(title)), h("p", { class: "muted mono" }, data(code)), place);
}

// Whose values these are: never a chart without a name.
function whose(app, subject, patient, stored) {
  if (!patient) return h("div", { class: "person in-sheet" }, h("strong", {}, data(referenceText(subject))));
  const open = () => app.open("patient", stored ? { patient } : { reference: subject });
  return h("button", { type: "button", class: "person in-sheet", onclick: open }, personLines(patient));
}

// All values, the newest first; a component is asked for by the parameter that looks into components.
async function trend(app, subject, code, title, part, signal) {
  const pairs = [...pairsOf(subject), [part ? "combo-code" : "code", literal(code)], ["_sort", "-date"], ["_count", "1000"], ["_elements", ELEMENTS], ["_total", "none"]];
  const found = [];
  let left = 0;
  let more = false;
  let pages = 0;
  for await (const page of app.fhir.pages("Observation", pairs, { signal })) {
    for (const one of matches(page)) {
      if (isVoid(one)) left += 1;
      else found.push(...pointsOf(one).filter((point) => point.key === code));
    }
    pages += 1;
    more = Boolean(linkOf(page, "next"));
    if (pages >= PAGES_MAX) break;
  }
  if (!found.length) return [left > 0 && h("p", { class: "muted" }, R.left(left)), empty(R.nothing)];
  const points = found.sort((a, b) => a.at - b.at);
  const units = byUnit(drawable(points));
  const words = units.length ? points.length - drawable(points).length : 0;
  return [
    units.length > 1 && h("p", { class: "notice" }, R.perUnit),
    more && h("p", { class: "notice" }, R.more(points.length)),
    left > 0 && h("p", { class: "muted" }, R.left(left)),
    words > 0 && h("p", { class: "muted" }, R.words(words)),
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
  const C = R.columns;
  const { node, add } = tableOf([C.date, C.value, C.flag, C.range, C.status, R.open], []);
  let shown = 0;
  const more = button("", () => grow(), "small");
  const grow = () => {
    add(newest.slice(shown, shown + ROWS).map((one) => [
      date(one.when),
      h("span", { class: `is-${kindOf(one)}` }, h("span", { class: "figure" }, data(one.text)), " ", h("span", { class: "muted" }, brief(one.unit))),
      flagMarks(one.flags), brief(one.rangeText), brief(one.status), reportButton(app, subject, one.id),
    ]));
    shown += ROWS;
    more.hidden = shown >= newest.length;
    more.textContent = R.rest(newest.length - shown);
  };
  grow();
  return h("section", {}, h("h2", { class: "section" }, R.table), node, h("p", {}, more));
}

// The report of a value is looked for when somebody asks for it, and opened if they are still here.
function reportButton(app, subject, id) {
  const said = h("span", { role: "status" });
  const open = () => load(said, async (signal) => {
    const bundle = await app.fhir.search("DiagnosticReport", [...pairsOf(subject), ["result", `Observation/${id}`], ["_count", "1"]], { signal });
    const [report] = matches(bundle);
    if (!report) return h("small", {}, R.noReport);
    if (said.isConnected) app.open("report", { id: report.id });
    return [];
  });
  return [button(R.open, open, "small quiet"), said];
}

