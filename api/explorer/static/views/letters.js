// Refused pushes: why, where in the body, and what can be done.
import { button, data, h, openDialog, prose, replace } from "../dom.js";
import { empty, forOperators, load } from "../shell.js";
import { T } from "../texts.js";
import { instant } from "../values.js";
import { layout, nearest } from "./layout.js";

const L = T.letters;
const LINES_MAX = 5_000;
// Bodies that somebody began to mend: closing the letter loses nothing.
const drafts = new Map();

export function lettersPage(app, { id } = {}) {
  const place = h("div");
  const choose = (state) => {
    buttons.forEach(([name, one]) => one.setAttribute("aria-pressed", name === state));
    load(place, forOperators(L.title, (signal) => listed(app, state, signal)));
  };
  const buttons = Object.entries(L.states).map(([state, label]) => [state, button(label, () => choose(state), "tab", { "aria-pressed": state === "open" })]);
  choose("open");
  if (id) openLetter(app, id, () => choose("open"));
  return h("div", { class: "page letters" }, h("h1", {}, L.title), h("p", { class: "lead" }, L.lead),
    h("div", { class: "chips" }, buttons.map(([, one]) => one)), place);
}

async function listed(app, state, signal, after = "") {
  const answer = await app.fhir.plain(`$dead-letters?state=${state}&count=50${after}`, { signal });
  if (!answer.letters.length) return empty(state === "open" ? L.none : L.noneAny);
  const rows = h("ul", { class: "feed" });
  const place = h("div");
  const again = () => load(place.parentNode, (next) => listed(app, state, next));
  answer.letters.forEach((one) => rows.append(h("li", {},
    h("time", {}, instant(one.lastTime)),
    h("span", {}, button(prose(one.reason.text || one.reason.code), () => openLetter(app, one.id, again), "link strong"), h("br"),
      h("span", { class: "muted" }, data([one.client, one.operation, L.times(Number(one.times))].join(" · ")))),
    h("span", { class: "pill" }, one.state))));
  const next = answer.next && new URLSearchParams(answer.next).get("after");
  const more = next && button(L.more, () => load(place, (following) => listed(app, state, following, `&after=${encodeURIComponent(next)}`)));
  return [rows, place, more];
}

function openLetter(app, id, changed) {
  const place = h("div", { class: "letter" });
  const dialog = openDialog(L.title, place);
  dialog.addEventListener("close", changed);
  const path = `$dead-letters/${encodeURIComponent(id)}`;
  load(place, async (signal) => letterOf(app, path, await app.fhir.plain(path, { signal }), place));
}

function letterOf(app, path, letter, place) {
  const body = h("div");
  const said = h("div", { role: "status" });
  const ask = (method, more, done) => load(said, async (signal) => {
    const now = await app.fhir.plain(`${path}${more}`, { method, signal });
    replace(place, letterOf(app, path, now, place));
    place.prepend(h("p", { class: "notice", role: "status" }, done(now)));
  });
  const open = letter.state === "open";
  return [
    h("p", {}, h("span", { class: "pill" }, letter.state), " ", data(`${letter.client} · ${letter.operation} · ${L.times(Number(letter.times))} · ${instant(letter.lastTime)}`)),
    h("h3", {}, L.reasons),
    h("ul", { class: "issues" }, letter.issues.map((issue) => h("li", {}, prose(issue.text || issue.code), issue.expression.length > 0 && [" ", L.at, " ", h("code", { class: "mono" }, data(issue.expression.join(", ")))]))),
    h("div", { class: "actions" },
      letter.hasBody && button(L.showBody, () => load(body, (signal) => bodyOf(app, path, letter, place, signal))),
      open && letter.hasBody && button(L.replay, () => ask("POST", "/$replay", (now) => (now.state === "replayed" ? L.replayedNow : L.refusedAgain)), "primary", { title: L.replayHint }),
      open && button(L.discard, () => confirmed(L.discardAsk, L.discard, () => ask("DELETE", "", () => L.states.discarded)), "danger")),
    said, !letter.hasBody && h("p", { class: "muted" }, L.noBody), body,
    letter.events.length > 0 && h("details", {}, h("summary", {}, L.done), h("ul", {}, letter.events.map((one) => h("li", {}, data(`${instant(one.time)}: ${one.did}, ${one.by}`))))),
  ];
}

function confirmed(question, label, act) {
  const dialog = openDialog(question, h("div", { class: "actions" }, button(label, () => {
    dialog.close();
    act();
  }, "danger")));
  dialog.classList.add("narrow");
}

// What is no JSON is shown as it came: laid out anew it would lose what is wrong with it.
function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

async function bodyOf(app, path, letter, place, signal) {
  const { body } = await app.fhir.plain(`${path}?body=true`, { signal });
  if (typeof body !== "string") return h("p", { class: "muted" }, L.noBody);
  const v2 = /hl7-v2/.test(letter.contentType || "");
  const lines = v2 || !isJson(body) ? body.split(/\r\n?|\n/).map((text) => ({ text, path: "" })) : layout(body);
  const wrong = new Map(letter.issues.flatMap((issue) => issue.expression.map((one) => [nearest(lines, one), issue.text])));
  const shown = h("pre", { class: "code tall", tabindex: "0" }, lines.slice(0, LINES_MAX).map((line, index) => [wrong.has(index) ? [h("mark", { class: "spot" }, line.text), h("span", { class: "why" }, "  ← ", prose(wrong.get(index)))] : line.text, "\n"]),
    lines.length > LINES_MAX && T.andMore(lines.length - LINES_MAX));
  if (letter.state !== "open") return [h("h3", {}, L.body), shown];
  const text = h("textarea", { class: "body", spellcheck: "false", "aria-label": L.body, value: drafts.get(letter.id) ?? lines.map((line) => line.text).join("\n"), hidden: true, oninput: () => drafts.set(letter.id, text.value) });
  const save = button(L.save, () => load(said, async (next) => {
    const content = v2 ? text.value.replaceAll("\n", "\r") : text.value;
    await app.fhir.plain(path, { method: "PUT", body: content, signal: next, headers: { "Content-Type": letter.contentType || "application/fhir+json" } });
    drafts.delete(letter.id);
    return h("p", { class: "notice" }, L.saved);
  }), "primary", { hidden: true });
  const said = h("div", { role: "status" });
  const edit = button(L.edit, () => {
    shown.hidden = edit.hidden = true;
    text.hidden = save.hidden = false;
    text.focus();
  });
  if (drafts.has(letter.id)) queueMicrotask(() => edit.click());
  return [h("h3", {}, L.body), shown, text, h("p", { class: "actions" }, edit, save), said];
}
