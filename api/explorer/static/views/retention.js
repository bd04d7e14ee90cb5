// How long data stays: the tenant's policy, what a run would delete now, and receipts of what runs deleted.
import { button, data, h, openDialog, prose } from "../dom.js";
import { empty, forOperators, load } from "../shell.js";
import { T } from "../texts.js";
import { instant } from "../values.js";
import { tableOf } from "./rows.js";

const R = T.retention;
const COUNT = 100;

export function retentionPage(app) {
  const place = h("div");
  load(place, forOperators(R.title, async (signal) => shown(app, await app.fhir.plain(`$retention?count=${COUNT}`, { signal }))));
  return h("div", { class: "page retention" }, h("h1", {}, R.title), h("p", { class: "lead" }, prose(R.lead)), place);
}

function shown(app, { policy, receipts }) {
  const plan = h("div", { "aria-live": "polite" });
  const ask = button(R.ask, () => load(plan, async (signal) => planOf(await app.fhir.plain("$retention-plan", { signal }))), "primary");
  return [
    h("section", { class: "card" }, h("h2", {}, policy.version ? R.policy(Number(policy.version), instant(policy.madeAt)) : R.noPolicy), policyOf(policy)),
    h("section", {}, h("h2", { class: "section" }, R.plan), h("p", { class: "muted" }, R.planLead), h("p", {}, ask), plan),
    h("section", {}, h("h2", { class: "section" }, R.receipts), receiptsOf(receipts)),
  ];
}

const days = (value) => (value === null ? R.withoutEnd : R.days(Number(value)));

function policyOf(policy) {
  const facts = [
    [R.keeps, `${days(policy.keepDays)}, ${R.from[policy.countedFrom]}`], [R.superseded, days(policy.supersededDays)],
    [R.letters, policy.deadLetterDays === null ? R.asDeployed : days(policy.deadLetterDays)], [R.audit, days(policy.auditDays)], [R.erased, days(policy.erasureDays)],
  ];
  const rules = policy.rules.map((rule, index) => [String(index + 1), data([rule.type, ...rule.category, ...rule.status].filter(Boolean).join(", ") || R.everything), days(rule.keepDays), R.from[rule.countedFrom]]);
  return [
    h("dl", { class: "facts" }, facts.map(([label, text]) => h("div", {}, h("dt", {}, label), h("dd", {}, text)))),
    rules.length > 0 && [h("h3", { class: "section" }, R.rules), tableOf(R.ruleColumns, rules, { labelled: true }).node],
  ];
}

function planOf({ asOf, deleted, skipped }) {
  const lines = (title, found) => found.length > 0 && [h("h3", { class: "section" }, title),
    tableOf(R.planColumns, found.map((one) => [one.month, data(one.type || "–"), R.reasons[one.reason] || one.reason, T.count.things(Number(one.count))]), { labelled: true }).node];
  if (!deleted.length && !skipped.length) return empty(R.nothing, R.asOf(instant(asOf)));
  return [h("p", { class: "muted" }, R.asOf(instant(asOf))), lines(R.would, deleted), lines(R.stays, skipped)];
}

function receiptsOf(receipts) {
  if (!receipts.length) return empty(R.noReceipts, R.noReceiptsHint);
  const sum = (lines) => lines.reduce((total, one) => total + Number(one.count), 0);
  return [tableOf(R.receiptColumns, receipts.map((one) => [
    instant(one.endedAt), button(R.receipt(Number(one.number)), () => details(one), "link strong"), R.kinds[one.kind] || one.kind,
    T.count.things(sum(one.deleted)), T.count.things(sum(one.skipped)), one.complete ? R.complete : R.incomplete,
  ]), { labelled: true }).node, receipts.length >= COUNT && h("p", { class: "muted" }, prose(R.older))];
}

function details(receipt) {
  const lines = [...receipt.deleted.map((one) => [R.deleted, one]), ...receipt.skipped.map((one) => [R.kept, one])];
  openDialog(R.receipt(Number(receipt.number)),
    h("dl", { class: "facts" }, [[R.began, instant(receipt.startedAt)], [R.ended, instant(receipt.endedAt)], [R.reason, receipt.reason]].filter(([, text]) => text)
      .map(([label, text]) => h("div", {}, h("dt", {}, label), h("dd", {}, data(text))))),
    lines.length > 0 && tableOf(R.lineColumns, lines.map(([what, one]) => [what, data(one.type || "–"), R.reasons[one.reason] || one.reason, T.count.things(Number(one.count))]), { labelled: true }).node,
    h("p", { class: "muted" }, prose(receipt.whole ? R.whole : R.part)),
    h("p", { class: "mono" }, data(receipt.hash)));
}
