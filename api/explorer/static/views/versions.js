// What was known when, and what changed between two versions of a report.
import { linkOf } from "../fhir.js";
import { same } from "../json.js";
import { T } from "../texts.js";
import { concept, list, rangeOf, rangeText, referenceText, targetOf, valueOf, whenOf } from "../values.js";

const VERSIONS_MAX = 100;
const RESULTS_MAX = 60;

// All versions of the report, the oldest first, and those of its results that ever changed.
export async function historyOf(app, report, changed, signal) {
  const versions = await versionsOf(app, "DiagnosticReport", report.id, signal);
  const results = new Map();
  await Promise.all(changed.slice(0, RESULTS_MAX).map(async (one) => {
    results.set(`Observation/${one.id}`, await versionsOf(app, "Observation", one.id, signal));
  }));
  return { versions, results };
}

async function versionsOf(app, type, id, signal) {
  const found = [];
  let page = await app.fhir.json(`${type}/${id}/_history?_count=50`, { signal });
  for (;;) {
    for (const entry of page.entry || []) {
      const number = Number(/"(\d+)"/.exec(entry.response?.etag || "")?.[1] || entry.resource?.meta?.versionId);
      found.push({ number, at: entry.response?.lastModified || entry.resource?.meta?.lastUpdated || "", resource: entry.resource });
    }
    const next = linkOf(page, "next");
    if (!next || found.length >= VERSIONS_MAX) break;
    page = await app.fhir.json(next, { signal });
  }
  return found.sort((a, b) => a.number - b.number);
}

// The companions as they were when a version of the report was stored.
export function observationsAt(targets, { versions, results }, index) {
  if (index === versions.length - 1) return targets;
  const then = Date.parse(versions[index].at);
  const at = new Map(targets);
  for (const [key, all] of results) {
    const known = all.filter((one) => one.resource);
    const past = known.filter((one) => Date.parse(one.at) <= then).at(-1) || known[0];
    if (past) at.set(key, past.resource);
  }
  return at;
}

// Differences as { lines, results: key → { was, isNew }, conclusion }.
export function changesBetween(before, after) {
  const lines = [];
  const results = new Map();
  const R = T.report;
  const say = (label, one, other) => one !== other && lines.push(`${label}: ${one || "–"} → ${other || "–"}`);
  say(R.status, before.report.status, after.report.status);
  say(T.query.columns.patient, ...[before, after].map((one) => referenceText(one.report.subject, one.targets, one.report)));
  say(R.name, concept(before.report.code), concept(after.report.code));
  say(R.collected, whenOf(before.report), whenOf(after.report));
  const was = new Set(list(before.report.result).map((one) => one.reference));
  const now = list(after.report.result);
  for (const reference of now) {
    const target = targetOf(reference, after.targets, after.report);
    if (!was.delete(reference.reference)) {
      results.set(reference.reference, { isNew: true });
      if (target) lines.push(`${concept(target.code)}: ${R.added}`);
      continue;
    }
    const past = targetOf(reference, before.targets, before.report);
    if (target && past && target !== past) compare(reference.reference, past, target, results, lines);
  }
  for (const reference of was) {
    const past = targetOf({ reference }, before.targets, before.report);
    lines.push(`${past ? concept(past.code) : reference}: ${R.removed}`);
  }
  const conclusion = before.report.conclusion === after.report.conclusion ? undefined : before.report.conclusion || "";
  if (conclusion !== undefined) lines.push(R.changedPart(R.conclusion));
  if (!same(before.report.presentedForm, after.report.presentedForm)) lines.push(R.changedPart(R.documents));
  return { lines, results, conclusion };
}

function compare(key, past, target, results, lines) {
  const [one, other] = [valueOf(past), valueOf(target)];
  const texts = [one, other].map((value) => [value.text, value.unit].filter(Boolean).join(" "));
  if (texts[0] !== texts[1]) {
    results.set(key, { was: texts[0] });
    lines.push(`${concept(target.code)}: ${texts[0]} → ${texts[1]}`);
  }
  if (past.status !== target.status) lines.push(`${concept(target.code)}: ${past.status} → ${target.status}`);
  const ranges = [past, target].map((each) => rangeText(rangeOf(each)?.range));
  if (ranges[0] !== ranges[1]) lines.push(`${concept(target.code)}, ${T.report.range}: ${ranges[0] || "–"} → ${ranges[1] || "–"}`);
}
