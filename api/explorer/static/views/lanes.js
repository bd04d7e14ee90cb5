// Reports over time as a picture: a lane for each category, the newest on the right.
import { h, svg } from "../dom.js";
import { T } from "../texts.js";
import { STATUS_KIND, categoryOf, concept, date, time, whenText } from "../values.js";

const WIDTH = 1000;
const LEFT = 160;
const LANE = 30;
const TOP = 8;
const LANES_MAX = 8;
const NEAR = 5;

export function lanes(reports, open) {
  const dated = reports.map((report) => ({ report, at: time(whenText(report)), category: categoryOf(report) })).filter((one) => !Number.isNaN(one.at));
  if (dated.length < 2) return null;
  const names = [...new Set(dated.map((one) => one.category))].slice(0, LANES_MAX);
  const [from, to] = span(dated.reduce((least, one) => Math.min(least, one.at), Infinity), dated.reduce((most, one) => Math.max(most, one.at), -Infinity));
  const narrow = innerWidth < 700;
  const left = narrow ? 4 : LEFT;
  const width = narrow ? 420 : WIDTH;
  const lane = narrow ? 44 : LANE;
  const x = (at) => left + ((at - from) / (to - from)) * (width - left - 12);
  const bottom = TOP + names.length * lane;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${bottom + 26}`, role: "img", "aria-label": T.patient.lanes });
  for (const year of yearsBetween(from, to)) {
    picture.append(svg("line", { class: "year-line", x1: x(year.at), x2: x(year.at), y1: TOP, y2: bottom }),
      svg("text", { x: x(year.at), y: bottom + 18, "text-anchor": "middle" }, year.label));
  }
  names.forEach((name, index) => {
    const y = TOP + index * lane + (narrow ? lane - 12 : lane / 2);
    picture.append(svg("line", { class: "lane-line", x1: left, x2: width, y1: y, y2: y }),
      svg("text", { class: "lane-name", x: 0, y: narrow ? y - 16 : y + 4 }, name.slice(0, 24)));
    for (const [first, count] of together(dated.filter((one) => one.category === name), x)) {
      const { report, at } = first;
      const title = `${date(whenText(report).slice(0, 10))}: ${concept(report.code)} (${report.status})${count > 1 ? `, ${T.patient.andOthers(count - 1)}` : ""}`;
      picture.append(svg("circle", { class: ["event", STATUS_KIND[report.status] || "early"], cx: x(at).toFixed(1), cy: y, r: 6, onclick: () => open(report) }, svg("title", {}, title)));
    }
  });
  return h("div", { class: "lanes" }, picture);
}

function span(from, to) {
  const day = 86_400_000;
  return to - from < 30 * day ? [from - 15 * day, to + 15 * day] : [from - (to - from) * 0.02, to + (to - from) * 0.01];
}

function yearsBetween(from, to) {
  const first = new Date(from).getUTCFullYear() + 1;
  const last = new Date(to).getUTCFullYear();
  const step = Math.max(1, Math.ceil((last - first + 1) / (innerWidth < 700 ? 5 : 12)));
  const made = [];
  for (let year = first; year <= last; year += step) made.push({ at: Date.UTC(year, 0, 1), label: String(year) });
  return made;
}

// Reports that would lie on each other are one mark: the newest, with their number.
function together(reports, x) {
  const marks = new Map();
  for (const one of reports) {
    const at = Math.round(x(one.at) / NEAR);
    const known = marks.get(at);
    if (known) known[1] += 1;
    else marks.set(at, [one, 1]);
  }
  return marks.values();
}
