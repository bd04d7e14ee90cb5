// A reference range as a bar: where it lies, and where the value is.
import { svg } from "../dom.js";
import { T } from "../texts.js";

const WIDTH = 120;
const HEIGHT = 14;

// The scale puts the range in the middle half; a range with one end reaches to the edge.
export function rangeBar(number, { low, high }) {
  const open = [Number.isNaN(low), Number.isNaN(high)];
  if (open[0] && open[1]) return null;
  const [from, to] = scale(low, high, number);
  const x = (value) => Math.max(0, Math.min(WIDTH, ((value - from) / (to - from)) * WIDTH));
  const left = open[0] ? 0 : x(low);
  const right = open[1] ? WIDTH : x(high);
  const where = Number.isNaN(number) ? "" : number < low ? "below" : number > high ? "above" : "within";
  return svg("svg", { class: ["range-bar", where], viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "xMinYMid", role: "img", "aria-label": where ? T.range[where] : "" },
    svg("rect", { class: "track", x: 0, y: 5, width: WIDTH, height: 4, rx: 2 }),
    svg("rect", { class: "normal", x: left, y: 5, width: Math.max(2, right - left), height: 4, rx: 2 }),
    where && svg("circle", { class: "dot", cx: Math.max(5, Math.min(WIDTH - 5, x(number))), cy: 7, r: 5 }));
}

export function scale(low, high, number) {
  if (!Number.isNaN(low) && !Number.isNaN(high) && high > low) return [low - (high - low) / 2, high + (high - low) / 2];
  if (Number.isNaN(high)) return low > 0 ? [0, Math.max(low * 2, number * 1.1 || 0)] : [low - 1, Math.max(low + 1, number || 0)];
  return [Math.min(0, number || 0), high > 0 ? Math.max(high * 1.6, Math.min(number * 1.1 || 0, high * 3)) : 1];
}
