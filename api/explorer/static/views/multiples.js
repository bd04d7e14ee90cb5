// Results at a glance: for each analyte the latest value and its course, small.
import { brief, button, field, h, replace, svg } from "../dom.js";
import { linkOf, matches } from "../fhir.js";
import { empty, load } from "../shell.js";
import { T } from "../texts.js";
import { date } from "../values.js";
import { ELEMENTS, drawable, isVoid, kindOf, pointsOf } from "./points.js";

const P = T.patient;
const COUNT = "400";

export async function multiples(app, about, who, signal) {
  const first = await app.fhir.search("Observation", [...about, ["_sort", "-date"], ["_count", COUNT], ["_elements", ELEMENTS], ["_total", "none"]], { signal });
  const state = { seen: matches(first).length, next: linkOf(first, "next"), analytes: gather(new Map(), matches(first)) };
  if (!state.analytes.size && !state.next) return empty(P.noResults);
  const list = h("ul", { class: "multiples" });
  const looked = h("p", { class: "muted", "aria-live": "polite" });
  const filter = h("input", { type: "search", autocomplete: "off", oninput: () => draw() });
  const said = h("div");
  const further = button(P.further, () => load(said, async (signal) => {
    const page = await app.fhir.json(state.next, { signal });
    state.seen += matches(page).length;
    state.next = linkOf(page, "next");
    gather(state.analytes, matches(page));
    draw();
    return [];
  }));
  function draw() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = [...state.analytes.values()].filter((one) => words.every((word) => `${one.title} ${one.key}`.toLowerCase().includes(word)));
    replace(list, shown.map((one) => h("li", {}, card(app, one, who))));
    replace(looked, state.next ? P.looked(state.seen) : "");
    further.hidden = !state.next;
  }
  draw();
  return [field(P.filter, filter, P.filterHint), list, looked, further, said];
}

// Points come the newest first.
function gather(analytes, observations) {
  for (const observation of observations) {
    if (isVoid(observation)) continue;
    for (const one of pointsOf(observation)) {
      const id = `${one.key} ${one.unitKey}`;
      if (!analytes.has(id)) analytes.set(id, { key: one.key, title: one.title, points: [], part: one.isPart });
      analytes.get(id).points.push(one);
    }
  }
  return analytes;
}

function card(app, analyte, { patient, reference }) {
  const [latest] = analyte.points;
  const kind = kindOf(latest);
  const flag = latest.flags.find((one) => one.kind !== "normal");
  const subject = patient ? { reference: `Patient/${patient.id}` } : reference;
  return h("button", { type: "button", class: ["card", "multiple", `is-${kind}`], onclick: () => app.open("trend", { subject, patient, code: analyte.key, title: analyte.title, part: analyte.part }) },
    h("strong", {}, brief(analyte.title)),
    h("span", { class: ["latest", Number.isNaN(latest.number) && "in-words"] }, h("span", { class: "figure" }, brief(latest.text)), " ", h("small", {}, brief(latest.unit)), flag && [" ", h("span", { class: ["flag-mark", flag.kind] }, h("abbr", { title: flag.label }, brief(flag.code)))]),
    h("small", {}, `${date(latest.when.slice(0, 10))} · ${T.trend.of(analyte.points.length)}`),
    spark(analyte.points));
}

const WIDTH = 240;
const HEIGHT = 44;

function spark(newestFirst) {
  const points = drawable(newestFirst).reverse();
  if (points.length < 2) return null;
  const { low, high } = points.at(-1);
  const numbers = [...points.map((one) => one.number), low, high].filter((one) => !Number.isNaN(one));
  const [bottom, top] = [Math.min(...numbers), Math.max(...numbers)];
  const [from, to] = [points[0].at, points.at(-1).at];
  const x = (at) => 4 + ((at - from) / (to - from || 1)) * (WIDTH - 8);
  const y = (number) => HEIGHT - 5 - ((number - bottom) / (top - bottom || 1)) * (HEIGHT - 10);
  const band = [Number.isNaN(high) ? 0 : y(high), Number.isNaN(low) ? HEIGHT : y(low)];
  return svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    !(Number.isNaN(low) && Number.isNaN(high)) && svg("rect", { class: "band", x: 0, width: WIDTH, y: band[0], height: Math.max(1, band[1] - band[0]) }),
    svg("polyline", { points: points.map((one) => `${x(one.at).toFixed(1)},${y(one.number).toFixed(1)}`).join(" ") }),
    svg("circle", { class: kindOf(points.at(-1)), cx: x(to), cy: y(points.at(-1).number), r: 3.5 }));
}
