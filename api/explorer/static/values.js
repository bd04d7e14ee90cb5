// FHIR's data types as text for readers. Everything may be missing, or of another shape than it should be.
import { Num } from "./json.js";
import { T } from "./texts.js";

export const list = (value) => (Array.isArray(value) ? value : value === null || value === undefined ? [] : [value]);

export function concept(value) {
  for (const one of list(value)) {
    if (typeof one === "string") return one;
    const coded = list(one?.coding);
    const text = one?.text || coded.find((c) => c?.display)?.display || coded.find((c) => c?.code)?.code;
    if (text) return String(text);
  }
  return "";
}

const codings = (value) => list(value).flatMap((one) => list(one?.coding)).filter((c) => c && typeof c === "object");

export function codeKey(value) {
  const coded = codings(value).filter((c) => c.code);
  const first = coded.find((c) => c.system === "http://loinc.org") || coded.find((c) => c.system) || coded[0];
  if (first) return first.system ? `${first.system}|${first.code}` : String(first.code);
  return "";
}

export function name(value) {
  const names = list(value).filter((n) => n && typeof n === "object");
  const one = names.find((n) => n.use === "official") || names.find((n) => n.use !== "old") || names[0];
  if (!one) return "";
  if (one.text) return String(one.text);
  const given = list(one.given).join(" ");
  return [one.family, given].filter(Boolean).join(", ");
}

const DAY = { year: "numeric", month: "short", day: "numeric" };
// Made once: each costs as much as a thousand uses of it.
const SHOWN = {
  day: new Intl.DateTimeFormat("en-GB", { ...DAY, timeZone: "UTC" }),
  month: new Intl.DateTimeFormat("en-GB", { year: "numeric", month: "short", timeZone: "UTC" }),
  minute: new Intl.DateTimeFormat("en-GB", { ...DAY, hour: "2-digit", minute: "2-digit", timeZoneName: "short" }),
};

// A date as exact as it was said: a year stays a year. The time is shown with the zone that it came in.
export function date(text) {
  const found = /^(\d{4})(?:-(\d{2})(?:-(\d{2})(?:T(\d{2}):(\d{2})(?::\d{2}(?:\.\d+)?)?(Z|[+-]\d{2}:\d{2})?)?)?)?$/.exec(String(text ?? ""));
  if (!found) return String(text ?? "");
  const [, year, month, day, hour, minute, zone] = found;
  if (!month) return year;
  const noon = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day || 1), 12));
  const shown = Number.isNaN(noon.getTime()) ? text : SHOWN[day ? "day" : "month"].format(noon);
  if (!hour) return shown;
  return `${shown}, ${hour}:${minute}${zone ? (zone === "Z" ? " UTC" : ` (${zone})`) : ""}`;
}

// A moment of the service's, in the reader's time, with its zone.
export function instant(text) {
  const at = new Date(text ?? NaN);
  return Number.isNaN(at.getTime()) ? "" : SHOWN.minute.format(at);
}

function period(value) {
  if (!value || typeof value !== "object") return "";
  return value.start === value.end ? date(value.start) : [date(value.start), date(value.end)].join(" – ");
}

// The clinical time of a report or result, as text of FHIR.
export function whenText(resource) {
  const { effectiveDateTime, effectiveInstant, effectivePeriod: period, effectiveTiming: timing } = resource;
  return [effectiveDateTime, effectiveInstant, period?.start, period?.end, list(timing?.event)[0]].find((one) => one && typeof one === "string") || "";
}

export function whenOf(resource) {
  if (resource.effectivePeriod) return period(resource.effectivePeriod);
  return date(whenText(resource));
}

// Milliseconds of the beginning of a date as said; without a zone it is UTC, as in searches.
export function time(text) {
  const found = /^(\d{4})(-\d{2})?(-\d{2})?(T[\d:.]+)?(Z|[+-]\d{2}:\d{2})?$/.exec(String(text ?? ""));
  if (!found) return NaN;
  const [, year, month = "-01", day = "-01", clock = "", zone = "Z"] = found;
  return Date.parse(clock ? `${year}${month}${day}${clock}${zone}` : `${year}${month}${day}`);
}

const MARKS = { __proto__: null, "<": "<", "<=": "≤", ">": ">", ">=": "≥" };

export function quantity(value) {
  if (!value || typeof value !== "object") return "";
  if (value.value === undefined) return value.unit || "";
  return `${MARKS[value.comparator] || ""}${value.comparator ? " " : ""}${value.value}`;
}

export const unitOf = (value) => String(value?.unit || value?.code || "");
const withUnit = (value) => [quantity(value), value?.value === undefined ? "" : unitOf(value)].filter(Boolean).join(" ");

// The value of an observation or component, as { text, unit, number, quantity }.
export function valueOf(one) {
  const q = one.valueQuantity;
  if (q && typeof q === "object") {
    const number = q.value instanceof Num ? Number(q.value) : NaN;
    return { text: quantity(q), unit: unitOf(q), number, quantity: q };
  }
  for (const [key, shown] of KINDS) if (one[key] !== undefined) {
    const number = one[key] instanceof Num ? Number(one[key]) : NaN;
    return { text: shown(one[key]), unit: "", number };
  }
  if (one.dataAbsentReason) return { text: concept(one.dataAbsentReason) || T.absent, unit: "", number: NaN, absent: true };
  return { text: "", unit: "", number: NaN };
}

const KINDS = [
  ["valueString", String], ["valueCodeableConcept", (v) => concept(v)], ["valueBoolean", (v) => (v === true ? T.values.yes : T.values.no)],
  ["valueInteger", String], ["valueDateTime", (v) => date(v)], ["valueTime", String], ["valuePeriod", (v) => period(v)],
  ["valueRange", (v) => rangeText(v)], ["valueRatio", (v) => ratio(v)], ["valueSampledData", (v) => sampled(v)],
];
// Elements that a value may be in.
export const VALUES = ["valueQuantity", ...KINDS.map(([key]) => key)];

function ratio(value) {
  const below = withUnit(value?.denominator);
  return below && below !== "1" ? `${withUnit(value?.numerator)} : ${below}` : withUnit(value?.numerator);
}

const sampled = (value) => T.values.samples(String(value?.data ?? "").split(" ").length);

export function rangeText(range) {
  if (!range || typeof range !== "object") return "";
  if (range.text) return String(range.text);
  const { low, high } = range;
  if (low && high) return `${quantity(low)} – ${quantity(high)}`;
  if (low) return `≥ ${quantity(low)}`;
  return high ? `≤ ${quantity(high)}` : "";
}

// The range that a value is judged by: the normal one, for everybody.
export function rangeOf(one) {
  const ranges = list(one.referenceRange).filter((r) => r && typeof r === "object");
  const normal = ranges.find((r) => codings(r.type).some((c) => c.code === "normal") || !r.type) || ranges[0];
  return normal && { range: normal, others: ranges.filter((r) => r !== normal), ...bounds(normal) };
}

function bounds(range) {
  const of = (q) => (q?.value instanceof Num ? Number(q.value) : NaN);
  return { low: of(range.low), high: of(range.high) };
}

// Flags as the source gave them: { code, label, kind }.
export function flagsOf(one) {
  return list(one.interpretation).map((value) => {
    const coded = codings(value).find((c) => T.flags[c.code]);
    if (coded) return { code: coded.code, label: T.flags[coded.code][0], kind: T.flags[coded.code][1] };
    const text = concept(value);
    return text && { code: text, label: text, kind: "other" };
  }).filter(Boolean);
}

export function identifierText(one) {
  const kind = concept(one?.type) || one?.assigner?.display || "";
  return [kind, one?.value].filter(Boolean).join(" ");
}

export function age(born, at = new Date()) {
  const from = time(born);
  if (Number.isNaN(from) || String(born).length < 10) return null;
  const b = new Date(from);
  const before = at.getUTCMonth() < b.getUTCMonth() || (at.getUTCMonth() === b.getUTCMonth() && at.getUTCDate() < b.getUTCDate());
  return at.getUTCFullYear() - b.getUTCFullYear() - (before ? 1 : 0);
}

// A referenced thing as text: its own words, the target's, its number, or the reference itself.
export function referenceText(reference, targets, owner) {
  if (!reference || typeof reference !== "object") return "";
  const target = targetOf(reference, targets, owner);
  return (target && titleOf(target)) || reference.display || identifierText(reference.identifier) || reference.reference || "";
}

export function targetOf(reference, targets, owner) {
  const text = String(reference?.reference || "");
  if (text.startsWith("#")) return list(owner?.contained).find((one) => one?.id === text.slice(1));
  return targets?.get(text);
}

export function titleOf(resource) {
  if (resource.resourceType === "PractitionerRole") {
    return resource.practitioner?.display || concept(resource.code) || resource.organization?.display || "";
  }
  if (resource.resourceType === "Organization") return String(resource.name || "");
  if (resource.resourceType === "Specimen") return specimenText(resource);
  if (Array.isArray(resource.name)) return name(resource.name);
  return concept(resource.code) || concept(resource.type) || String(resource.name || resource.title || "");
}

export function specimenText(specimen) {
  const collected = specimen.collection?.collectedDateTime;
  const parts = [concept(specimen.type), concept(specimen.collection?.bodySite), concept(specimen.collection?.method)];
  const number = list(specimen.identifier)[0]?.value || specimen.accessionIdentifier?.value;
  return [parts.filter(Boolean).join(", "), number && T.values.number(number), collected && T.values.collected(date(collected))].filter(Boolean).join(" · ");
}

// Tables have no prototype: a status called `constructor` is none of theirs.
export const STATUS_KIND = {
  __proto__: null,
  registered: "early", partial: "early", preliminary: "early", final: "done", amended: "changed",
  corrected: "changed", appended: "changed", cancelled: "void", "entered-in-error": "void", unknown: "early",
};

export function categoryOf(resource) {
  const value = list(resource.category)[0];
  const coded = codings(value)[0];
  return concept(value && value.text ? value : null) || coded?.display || T.categories[coded?.code] || coded?.code || T.unsorted;
}
