// Observations as points of an analyte: time, value, unit, range, flags. Pure.
import { VALUES, codeKey, concept, flagsOf, list, rangeOf, rangeText, time, unitOf, valueOf, whenText } from "../values.js";

// Elements of an observation that a point is made of.
export const ELEMENTS = `code,status,effective,effectiveDateTime,effectivePeriod,effectiveInstant,effectiveTiming,interpretation,referenceRange,component,value,${
  VALUES.join()}`;

// The parts of an observation that have a code and a value of their own; its number is NaN when that is in words.
export function pointsOf(observation) {
  const parts = [observation, ...list(observation.component).filter((one) => one && typeof one === "object")];
  return parts.map((part) => point(part, observation)).filter((one) => one.key && one.text && !Number.isNaN(one.at));
}

const VOID = new Set(["entered-in-error", "cancelled"]);
export const isVoid = (observation) => VOID.has(observation.status);

export const drawable = (points) => points.filter((one) => !Number.isNaN(one.number));

function point(part, observation) {
  const value = valueOf(part);
  const range = rangeOf(part);
  const when = whenText(observation);
  return {
    key: codeKey(part.code), title: concept(part.code), at: time(when), when, number: value.number, text: value.absent ? "" : value.text, unit: value.unit,
    unitKey: part.valueQuantity ? part.valueQuantity.code || unitOf(part.valueQuantity) : "", comparator: part.valueQuantity?.comparator || "",
    low: range ? range.low : NaN, high: range ? range.high : NaN, rangeText: range ? rangeText(range.range) : "",
    flags: flagsOf(part), status: observation.status || "", id: observation.id, isPart: part !== observation,
  };
}

export const kindOf = (one) => one.flags.find((flag) => flag.kind !== "normal")?.kind || "normal";

// Points by unit: nothing is converted.
export function byUnit(points) {
  const found = new Map();
  for (const one of points) {
    if (!found.has(one.unitKey)) found.set(one.unitKey, []);
    found.get(one.unitKey).push(one);
  }
  return [...found.values()].sort((a, b) => b.length - a.length);
}

export function readable(one) {
  return [one.text, one.unit].filter(Boolean).join(" ") + (one.flags.length ? ` (${one.flags.map((flag) => flag.label).join(", ")})` : "");
}

export const unitLabel = (points) => points.find((one) => one.unit)?.unit || "";
