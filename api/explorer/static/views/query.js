// Questions from the parameters that /metadata tells, and the same as requests to copy.
import { button, copyButton, field, h, replace } from "../dom.js";
import { empty, load } from "../shell.js";
import { matches } from "../fhir.js";
import { T } from "../texts.js";
import { bundlePage, reportRows, resourceRows } from "./rows.js";
import { FORMS } from "./snippets.js";

const Q = T.query;
const MODIFIERS = {
  token: ["not", "text", "of-type", "missing"], reference: ["identifier", "missing"], string: ["exact", "contains", "missing"],
  date: ["missing"], uri: ["missing"], quantity: ["missing"],
};
// Types whose parameters a chain is likely to go on with; others can be typed.
const TARGETS = {
  patient: "Patient", subject: "Patient", result: "Observation", specimen: "Specimen", encounter: "Encounter", "based-on": "ServiceRequest",
  performer: "Organization", "results-interpreter": "Practitioner", "has-member": "Observation", media: "Media", device: "Device",
};
const kept = [];

export function queryPanel(app) {
  const place = h("div");
  load(place, async (signal) => {
    const statement = await app.fhir.json("metadata", { signal });
    const types = new Map(statement.rest[0].resource.map((one) => [one.type, one.searchParam]));
    return builder(app, types);
  });
  return place;
}

function builder(app, types) {
  const type = select([...types.keys()], "DiagnosticReport");
  const rows = h("div", { class: "query-rows" });
  const sort = h("input", { type: "text", value: "-date", autocomplete: "off", spellcheck: "false" });
  const count = select(["10", "20", "50", "100", "500"], "20");
  const strict = h("input", { type: "checkbox" });
  const explain = h("input", { type: "checkbox" });
  const results = h("div", { class: "found" }, empty(Q.lead));
  const request = h("div", { class: "request" });
  const choices = h("ul", { class: "presets" });
  const add = (given) => {
    rows.append(row(types, type.value, given, changed));
    changed();
  };
  const read = () => ({
    type: type.value, strict: strict.checked,
    pairs: [...[...rows.children].map((one) => one.read()).filter(Boolean), sort.value.trim() && ["_sort", sort.value.trim()], ["_count", count.value],
      explain.checked && ["__explain", "true"]].filter(Boolean),
  });
  const changed = () => replace(request, requestBox(app, read()));
  const use = (preset) => {
    type.value = preset.type;
    sort.value = preset.sort;
    rows.replaceChildren();
    preset.rows.forEach(([name, value]) => add({ name, value: value === "@yesterday" ? `gt${yesterday()}` : value }));
    rows.querySelector("input")?.focus();
  };
  const listPresets = () => replace(choices, [...kept, ...Q.presets].map((preset) => h("li", {}, button(preset.name, () => use(preset), "link"))));
  const keep = () => {
    const asked = read();
    kept.unshift({ name: `${asked.type}: ${asked.pairs.map(([name]) => name).join(", ")}`, type: asked.type, sort: sort.value,
      rows: asked.pairs.filter(([name]) => !["_sort", "_count", "__explain"].includes(name)) });
    listPresets();
  };
  const run = (event) => {
    event.preventDefault();
    const asked = read();
    const headers = asked.strict ? { Prefer: "handling=strict" } : {};
    load(results, async (signal) => {
      const bundle = await app.fhir.search(asked.type, asked.pairs, { signal, headers });
      const show = asked.type === "DiagnosticReport" ? reportRows : resourceRows;
      const nothing = !matches(bundle).length && empty(Q.nothing, Q.nothingHint);
      return bundlePage(app, bundle, nothing ? () => nothing : show, results, signal);
    });
  };
  type.addEventListener("change", () => {
    const before = [...rows.children].map((one) => one.given());
    rows.replaceChildren();
    before.forEach(add);
  });
  for (const one of [sort, count, strict, explain]) one.addEventListener("input", changed);
  listPresets();
  add({ name: "patient", chain: "identifier" });
  return h("div", { class: "query" },
    h("form", { class: "card", onsubmit: run },
      h("div", { class: "pair" }, field(Q.type, type), field(Q.sort, sort), field(Q.count, count)),
      rows, h("p", {}, button(Q.add, () => add({ name: "date" }), "small")),
      h("div", { class: "checks" }, h("label", {}, strict, Q.strict), h("label", {}, explain, Q.explain)),
      h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, Q.run), button(Q.keep, keep)),
      request),
    h("aside", { class: "card" }, h("h2", {}, Q.kept), choices, h("p", { class: "muted" }, Q.keptHint)),
    h("div", { class: "query-results", "aria-live": "polite" }, results));
}

const yesterday = () => new Date(Date.now() - 86_400_000).toISOString().slice(0, 19) + "Z";

function select(options, chosen) {
  return h("select", {}, options.map((one) => h("option", { value: one, selected: one === chosen }, one)));
}

// A parameter with its modifier or chain, and its value.
function row(types, type, given, changed) {
  const parameters = types.get(type) || [];
  const [plain, ...chained] = (given.name || "").split(".");
  const [start, mark] = plain.split(":");
  const known = parameters.find((one) => one.name === start) || parameters[0];
  const name = select(parameters.map((one) => one.name), known?.name);
  const modifier = h("select");
  const chain = h("input", { type: "text", autocomplete: "off", spellcheck: "false", value: given.chain || chained.join(".") });
  const hints = h("datalist", { id: `chain-${(chains += 1)}` });
  chain.setAttribute("list", hints.id);
  const value = h("input", { type: "text", autocomplete: "off", spellcheck: "false", value: given.value || "" });
  const chainField = field(Q.chain, chain);
  const kind = () => parameters.find((one) => one.name === name.value)?.type || "token";
  const fit = () => {
    const options = MODIFIERS[kind()] || [];
    replace(modifier, h("option", { value: "" }, Q.none), options.map((one) => h("option", { value: one, selected: one === mark }, `:${one}`)));
    chainField.hidden = kind() !== "reference";
    value.placeholder = chain.value && !chainField.hidden ? Q.values.token : Q.values[kind()] || "";
    const target = types.get(TARGETS[name.value]) || [];
    replace(hints, target.map((one) => h("option", { value: one.name })));
  };
  const remove = button("×", () => {
    node.remove();
    changed();
  }, "icon", { "aria-label": Q.remove });
  const node = h("div", { class: "query-row" }, field(Q.parameter, name), field(Q.modifier, modifier), chainField, field(Q.value, value), remove, hints);
  name.addEventListener("change", fit);
  chain.addEventListener("input", fit);
  node.addEventListener("input", changed);
  node.given = () => ({ name: name.value, chain: chain.value, value: value.value });
  node.read = () => {
    const text = value.value.trim();
    if (!text || !name.value) return null;
    const asked = name.value + (modifier.value && `:${modifier.value}`) + (chain.value.trim() && !chainField.hidden ? `.${chain.value.trim()}` : "");
    return [asked, text];
  };
  fit();
  return node;
}

let chains = 0;

// The same request for the terminal and for programs; the token is named, never written.
function requestBox(app, asked) {
  const forms = Object.entries(FORMS).map(([key, write]) => [Q.forms[key], write(app.fhir.base, asked)]);
  const shown = h("pre", { class: "code", tabindex: "0" }, forms[0][1]);
  let current = forms[0][1];
  const buttons = forms.map(([label, text], index) => button(label, () => {
    current = text;
    shown.textContent = text;
    buttons.forEach((one, at) => one.setAttribute("aria-pressed", at === index));
  }, "tab", { "aria-pressed": index === 0 }));
  return h("details", {}, h("summary", {}, Q.asRequest), h("div", { class: "code-head" }, buttons, copyButton(() => current, T.copy)), shown);
}

