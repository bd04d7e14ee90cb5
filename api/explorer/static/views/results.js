// Results as a laboratory prints them: name, value, unit, reference range as a bar, flag, comments.
import { brief, button, data, h, some } from "../dom.js";
import { T } from "../texts.js";
import { codeKey, concept, flagsOf, list, rangeOf, rangeText, referenceText, targetOf, valueOf } from "../values.js";
import { rangeBar } from "./bar.js";

const R = T.report;
const DEPTH_MAX = 6;
const ROWS_MAX = 2_000;

export function resultTable(app, report, targets, changes) {
  const rows = [];
  const missing = [];
  const seen = new Set();
  const contained = targetOf(report.subject, null, report);
  const person = targetOf(report.subject, targets, report);
  const about = {
    subject: contained ? { identifier: list(contained.identifier).find((one) => one?.value) } : report.subject,
    patient: person?.resourceType === "Patient" ? person : undefined, stored: !contained,
  };
  let further = 0;
  // What a contained result leads to is contained beside it.
  const walk = (reference, owner, depth) => {
    const target = targetOf(reference, targets, owner);
    if (!target) return missing.push(reference);
    if (seen.has(target)) return null;
    if (depth > DEPTH_MAX || rows.length >= ROWS_MAX) return (further += 1);
    seen.add(target);
    const home = String(reference.reference).startsWith("#") ? owner : target;
    const members = list(target.hasMember);
    const parts = list(target.component).filter((one) => one && typeof one === "object");
    const value = valueOf(target);
    const isGroup = (members.length || parts.length) && !value.text;
    const row = isGroup ? groupRow(target, depth) : resultRow(app, target, target, about, depth, changes?.results.get(reference.reference));
    rows.push(...[row, noteRow(target, isGroup, depth)].filter(Boolean));
    parts.forEach((part) => rows.push(resultRow(app, part, target, about, depth + 1)));
    members.forEach((one) => walk(one, home, depth + 1));
    return null;
  };
  list(report.result).forEach((reference) => walk(reference, report, 0));
  const lost = missing.length > 0 && h("p", { class: "muted" }, R.missing(missing.length), " ", h("small", {}, some(missing, 8, (one) => [data(typeof one === "string" ? one : referenceText(one)), " "])));
  if (!rows.length) return lost || (!report.conclusion && !report.presentedForm && h("p", { class: "muted" }, R.noResults));
  return [h("div", { class: "table-frame" }, h("table", { class: "results" },
    h("thead", {}, h("tr", {}, [R.test, R.result, R.flag, R.range].map((text) => h("th", { scope: "col" }, text)))),
    h("tbody", {}, rows))), further > 0 && h("p", { class: "notice" }, R.tooMany(further)), lost];
}

function groupRow(one, depth) {
  return h("tr", { class: ["group", `depth-${depth}`] }, h("th", { scope: "rowgroup", colspan: 4 }, data(concept(one.code)), notesOf(one, one, SHORT)));
}

// Long comments have the width of the table.
function noteRow(one, isGroup, depth) {
  const notes = notesOf(one, one, LONG);
  return notes && h("tr", { class: ["note-row", `depth-${isGroup ? depth : depth + 1}`] }, h("td", { colspan: 4 }, notes));
}

// A result or a component; `owner` is the observation that it belongs to.
function resultRow(app, one, owner, about, depth, change) {
  const { subject } = about;
  const isOther = namesAnother(owner.subject, subject);
  const value = valueOf(one);
  const range = rangeOf(one);
  const flags = flagsOf(one);
  const title = concept(one.code) || "–";
  const key = codeKey(one.code);
  const draws = key && !isOther && (subject?.reference || subject?.identifier?.value) && value.text && !value.absent;
  const trend = draws && button(R.trend, () => app.open("trend", { ...about, code: key, title, part: one !== owner }), "small quiet", { "aria-label": R.trendOf(title.slice(0, 160)) });
  const early = one === owner && owner.status && !["final", "amended", "corrected"].includes(owner.status) && h("span", { class: "tag" }, data(owner.status));
  const changedStatus = one === owner && ["corrected", "amended"].includes(owner.status) && h("span", { class: "tag changed" }, data(owner.status));
  const kind = flags.find((flag) => flag.kind !== "normal")?.kind;
  return h("tr", { class: [kind && `is-${kind}`, `depth-${depth}`, change && "changed", value.absent && "is-absent"] },
    h("th", { scope: "row" }, data(title), isOther && h("span", { class: "tag other" }, R.another), early, changedStatus, change?.isNew && h("span", { class: "tag changed" }, R.added), notesOf(one, owner, one === owner ? SHORT : ANY)),
    h("td", { class: ["value", value.text.length > 40 && "wordy"] },
      h("span", { class: "figure" }, data(value.text || "–")), value.unit && [" ", h("span", { class: "unit" }, data(value.unit))],
      change?.was !== undefined && h("span", { class: "was" }, R.was(change.was || "–")), trend),
    h("td", { class: "flag" }, flagMarks(flags)),
    h("td", { class: "range", "data-label": range && R.range }, range && [rangeBar(value.number, range), h("span", { class: "range-text" }, data(rangeText(range.range)))],
      range?.others.length > 0 && h("details", { class: "others" }, h("summary", {}, R.otherRanges), h("ul", {}, range.others.map((other) => h("li", {}, data([list(other.appliesTo).map(concept).join(", ") || concept(other.type), rangeText(other)].filter(Boolean).join(": "))))))));
}

export const flagMarks = (flags) => flags.map((flag) => h("span", { class: ["flag-mark", flag.kind] },
  h("abbr", { title: flag.label }, brief(flag.code)), h("span", { class: "flag-label" }, brief(flag.label === flag.code ? "" : flag.label))));

// A result of somebody else's in this report: a fault of its source, never to be read as this patient's.
function namesAnother(one, other) {
  const [mine, theirs] = [one, other].map((subject) => /(?:^|\/)(Patient\/[A-Za-z0-9.-]+)(?:\/_history\/\d+)?$/.exec(subject?.reference || "")?.[1]);
  return Boolean(mine && theirs && mine !== theirs);
}

const NOTE_MAX = 60;
const ANY = () => true;
const LONG = (text) => String(text).length > NOTE_MAX;
const SHORT = (text) => !LONG(text);

function notesOf(one, owner, fits) {
  const texts = list(one.note).map((note) => note?.text).filter(Boolean).filter(fits);
  const about = owner === one ? [
    one.method && `${R.method}: ${concept(one.method)}`, one.bodySite && `${R.bodySite}: ${concept(one.bodySite)}`,
    one.valueString === undefined && one.device?.display && `${R.device}: ${one.device.display}`,
  ].filter(Boolean).filter(fits) : [];
  if (!texts.length && !about.length) return null;
  return h("div", { class: "notes" }, about.map((text) => h("p", { class: "about" }, data(text))), texts.map((text) => h("p", {}, data(text))));
}

