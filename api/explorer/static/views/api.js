// The API by its own description, /openapi.json: every operation, its parameters, bodies and answers.
import { data, field, h, prose, replace } from "../dom.js";
import { load } from "../shell.js";
import { T } from "../texts.js";

const A = T.api;
const METHODS = ["get", "post", "put", "patch", "delete"];

export function apiPage(app) {
  const place = h("div");
  load(place, async (signal) => reference(await app.fhir.plain("openapi.json", { signal })));
  return h("div", { class: "page api" }, h("h1", {}, A.title), h("p", { class: "lead" }, A.lead),
    h("p", { class: "mono" }, data(app.fhir.base)), h("p", { class: "muted" }, A.documents), place);
}

function reference(document) {
  const resolve = (one) => (one?.$ref ? one.$ref.slice(2).split("/").reduce((node, key) => node?.[key], document) : one) || {};
  const all = Object.entries(document.paths).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) => ({ path, method, ...methods[method] })));
  const filter = h("input", { type: "search", autocomplete: "off", oninput: () => draw() });
  const list = h("div");
  const draw = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = all.filter((one) => words.every((word) => `${one.method} ${one.path} ${one.operationId}`.toLowerCase().includes(word)));
    replace(list, Object.entries(A.groups).map(([tag, title]) => {
      const own = shown.filter((one) => one.tags?.includes(tag));
      return own.length > 0 && h("section", { class: "group" }, h("h2", { class: "section" }, title), own.map((one) => operation(one, resolve)));
    }));
  };
  draw();
  return [h("p", {}, prose(document.info.description)), field(A.filter, filter), list];
}

function operation(one, resolve) {
  const inside = h("div");
  const node = h("details", { class: "operation", ontoggle: () => inside.childNodes.length || replace(inside, details(one, resolve)) },
    h("summary", {}, h("span", { class: "method" }, one.method.toUpperCase()), h("span", { class: "path" }, one.path), one.security?.length === 0 && h("small", {}, A.openTo)), inside);
  return node;
}

function details(one, resolve) {
  const parameters = (one.parameters || []).map(resolve);
  const bodies = Object.entries(resolve(one.requestBody).content || {});
  const answers = Object.entries(one.responses || {}).map(([status, answer]) => [status, resolve(answer)]);
  return [
    parameters.length > 0 && part(A.parameters, [["", "", ""], ...parameters].slice(1).map((p) => [p.name, `${p.in}, ${kind(resolve(p.schema))}`, p.description || ""])),
    bodies.length > 0 && part(A.bodies, bodies.map(([type, body]) => [type, nameOf(body.schema), ""])),
    part(A.answers, answers.map(([status, answer]) => [status, answer.description || "", Object.keys(answer.content || {}).join(", ")])),
  ];
}

const nameOf = (schema) => schema?.$ref?.split("/").at(-1) || schema?.type || "";
const kind = (schema) => (schema.enum ? schema.enum.slice(0, 6).join(" | ") + (schema.enum.length > 6 ? " …" : "") : schema.type || "");

function part(title, rows) {
  return h("div", { class: "table-frame" }, h("table", { class: "plain" }, h("caption", {}, title),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, index) => h(index ? "td" : "th", index ? {} : { scope: "row", class: "mono" }, prose(cell))))))));
}
