// What was known when, and what changed between two versions of a report.
import { Companions, linkOf } from "../fhir.js";
import { same } from "../json.js";
import { T } from "../texts.js";
import { concept, list, rangeOf, rangeText, referenceText, targetOf, valueOf, whenOf } from "../values.js";

const VERSIONS_MAX = 100;
const AT_ONCE = 6;

// Ids of the results that a report names and that are kept here.
export function resultIds(app, report) {
  const paths = list(report.result).map((one) => app.fhir.pathOf(one?.reference) || "");
  return paths.map((path) => /^Observation\/([A-Za-z0-9.-]{1,64})(?:\/_history\/[^/]+)?$/.exec(path)?.[1]).filter(Boolean);
}

// All versions of the report, the oldest first, with those of its results that changed, or that left it.
export async function historyOf(app, report, targets, signal) {
  const versions = await versionsOf(app, "DiagnosticReport", report.id, signal);
  const changed = [...targets.values()].filter((one) => one.resourceType === "Observation" && Number(one.meta?.versionId) !== 1).map((one) => one.id);
  const named = versions.map((one) => (one.resource ? resultIds(app, one.resource) : []));
  const left = named.flat().filter((id) => !named.at(-1).includes(id) && !targets.get(`Observation/${id}`));
  const asked = [...new Set([...changed, ...left])];
  const results = new Map();
  const take = async () => {
    for (let id = asked.pop(); id !== undefined; id = asked.pop()) results.set(`Observation/${id}`, await pastOf(app, id, signal));
  };
  if (versions.length > 1) await Promise.all(Array.from({ length: AT_ONCE }, take));
  return { versions, results };
}

// A result that is gone for good has no past any more.
async function pastOf(app, id, signal) {
  try {
    return await versionsOf(app, "Observation", id, signal);
  } catch (error) {
    if (![403, 404, 410].includes(error.status)) throw error;
    return [];
  }
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
  const at = new Companions(targets);
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
  const referring = (report) => list(report.result).filter((one) => one?.reference);
  const was = new Set(referring(before.report).map((one) => one.reference));
  const now = referring(after.report);
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
