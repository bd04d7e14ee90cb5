// The chart of an analyte by µPlot, which comes in a wheel: loaded when the first chart is drawn.
import { h, replace } from "../dom.js";
import { date } from "../values.js";
import { kindOf, readable } from "./points.js";

const ROOT = new URL("../../library/", import.meta.url).href;
let library;

function loaded() {
  library ||= new Promise((resolve, reject) => {
    document.head.append(h("link", { rel: "stylesheet", href: `${ROOT}uplot.css` }));
    document.head.append(h("script", { src: `${ROOT}uplot.js`, onload: () => resolve(globalThis.uPlot), onerror: () => reject(new Error("no chart library")) }));
  });
  library.catch(() => (library = undefined));
  return library;
}

// Draw points in order of time; gives back `{ zoom(from, to) }`, in seconds, without arguments the whole time.
export async function draw(place, points) {
  const UPlot = await loaded();
  const colours = palette();
  const times = points.map((one) => one.at / 1000);
  const numbers = points.map((one) => one.number);
  const tip = h("div", { class: "tip", hidden: true });
  const options = {
    width: place.clientWidth || 600, height: Math.max(320, Math.min(420, innerHeight * 0.45)),
    // As in the table: dates are drawn where they are in UTC, wherever the reader is.
    tzDate: (seconds) => UPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    legend: { show: false },
    cursor: { points: { show: false }, y: false, drag: { x: true, y: false } },
    scales: { x: { time: true }, y: { range: (_, from, to) => padded(from, to, points) } },
    axes: [axis(colours), { ...axis(colours), size: 56 }],
    series: [{}, { stroke: colours.accent, width: 2, spanGaps: true, points: { show: false } }],
    hooks: {
      drawClear: [(plot) => band(plot, points, colours)],
      draw: [(plot) => dots(plot, points, colours)],
      setCursor: [(plot) => hover(plot, points, tip)],
    },
  };
  replace(place);
  const plot = new UPlot(options, [times, numbers], place);
  plot.over.append(tip);
  const fit = new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: options.height }));
  fit.observe(place);
  const edges = [times[0], times.at(-1)];
  const margin = Math.max((edges[1] - edges[0]) * 0.02, 86_400 * 3);
  const zoom = (from, to) => plot.setScale("x", from === null ? { min: edges[0] - margin, max: edges[1] + margin } : { min: from, max: to });
  plot.over.addEventListener("dblclick", () => zoom(null));
  zoom(null);
  return { zoom };
}

function palette() {
  const style = getComputedStyle(document.documentElement);
  const probe = h("span", { hidden: true });
  document.body.append(probe);
  // A colour by name, as the scheme of this moment has it: a canvas knows no `light-dark()`.
  const of = (name) => {
    probe.style.color = style.getPropertyValue(name);
    return getComputedStyle(probe).color;
  };
  const made = {
    accent: of("--accent"), ink: of("--ink"), muted: of("--muted"), line: of("--line"), paper: of("--paper"), band: of("--good-soft"),
    edge: of("--good"), high: of("--high"), abnormal: of("--high"), low: of("--low"), critical: of("--critical"), other: of("--muted"), normal: of("--accent"),
    font: "12px system-ui, sans-serif",
  };
  probe.remove();
  return made;
}

const axis = (colours) => ({
  stroke: colours.muted, font: colours.font, grid: { stroke: colours.line, width: 1 }, ticks: { stroke: colours.line, width: 1 },
});

// The scale has room for the values and for the range that they are judged by, if it is near.
function padded(from, to, points) {
  const ends = points.flatMap((one) => [one.low, one.high]).filter((one) => !Number.isNaN(one));
  const size = to - from || Math.abs(to) || 1;
  const near = ends.filter((one) => one > from - size * 3 && one < to + size * 3);
  const [bottom, top] = [Math.min(from, ...near), Math.max(to, ...near)];
  const room = (top - bottom || Math.abs(top) || 1) * 0.12;
  return [bottom >= 0 ? Math.max(0, bottom - room) : bottom - room, top + room];
}

// The range of each value reaches to the next one; a range with one end goes to the edge.
function band(plot, points, colours) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = colours.band;
  points.forEach((one, index) => {
    if (Number.isNaN(one.low) && Number.isNaN(one.high)) return;
    const left = index ? plot.valToPos(one.at / 1000, "x", true) : bbox.left;
    const right = index + 1 < points.length ? plot.valToPos(points[index + 1].at / 1000, "x", true) : bbox.left + bbox.width;
    const top = Number.isNaN(one.high) ? bbox.top : plot.valToPos(one.high, "y", true);
    const bottom = Number.isNaN(one.low) ? bbox.top + bbox.height : plot.valToPos(one.low, "y", true);
    ctx.fillRect(Math.floor(left), top, Math.ceil(right) - Math.floor(left), bottom - top);
  });
  ctx.restore();
}

function dots(plot, points, colours) {
  const { ctx, bbox } = plot;
  const ratio = devicePixelRatio || 1;
  const many = points.length > 400;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left - 8, bbox.top - 8, bbox.width + 16, bbox.height + 16);
  ctx.clip();
  ctx.lineWidth = 2 * ratio;
  for (const one of points) {
    const kind = kindOf(one);
    if (many && kind === "normal") continue;
    const [x, y] = [plot.valToPos(one.at / 1000, "x", true), plot.valToPos(one.number, "y", true)];
    ctx.beginPath();
    ctx.arc(x, y, (kind === "normal" ? 3.5 : 5) * ratio, 0, Math.PI * 2);
    ctx.fillStyle = one.comparator ? colours.paper : colours[kind] || colours.accent;
    ctx.strokeStyle = one.comparator ? colours[kind] || colours.accent : colours.paper;
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}

function hover(plot, points, tip) {
  const { idx, left } = plot.cursor;
  tip.hidden = idx === null || idx === undefined || left < 0;
  if (tip.hidden) return;
  const one = points[idx];
  replace(tip, h("b", {}, h("bdi", {}, readable(one))), h("br"), date(one.when), one.rangeText && [h("br"), h("bdi", {}, one.rangeText)]);
  const [x, y] = [plot.valToPos(one.at / 1000, "x"), plot.valToPos(one.number, "y")];
  const share = Math.max(0.04, Math.min(0.96, x / plot.over.clientWidth));
  tip.style.transform = `translate(${-share * 100}%, ${y < 90 ? "14px" : "calc(-100% - 14px)"})`;
  tip.style.left = `${x}px`;
  tip.style.top = `${y}px`;
}
