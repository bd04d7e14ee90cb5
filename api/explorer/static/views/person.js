// A patient in a few lines: name, birth, death, gender, numbers.
import { brief, h, some } from "../dom.js";
import { T } from "../texts.js";
import { age, date, list, name } from "../values.js";

export function personCard(app, patient) {
  return h("button", { type: "button", class: "card person", onclick: () => app.open("patient", { patient }) }, personLines(patient));
}

export function personLines(patient) {
  const died = patient.deceasedDateTime || patient.deceasedBoolean === true;
  const years = died ? null : age(patient.birthDate);
  const about = [
    patient.birthDate && `${T.patient.born} ${date(patient.birthDate)}`, died && T.patient.died(date(patient.deceasedDateTime)),
    years !== null && T.patient.age(years), patient.gender,
  ].filter(Boolean).join(" · ");
  const known = list(patient.identifier).map((one) => [one?.type && kindOf(one.type), one?.value].filter(Boolean).join(" ")).filter(Boolean);
  const numbers = some(known, 4, (one) => brief(one, "number"));
  return [
    h("span", { class: "avatar", "aria-hidden": "true" }, initials(patient)),
    h("span", { class: "who-is" }, h("strong", {}, brief(name(patient.name) || T.patient.unknown)), h("span", { class: "muted" }, brief(about)), h("span", { class: "numbers" }, numbers)),
  ];
}

const kindOf = (type) => String(list(type.coding)[0]?.code || type.text || "");

function initials(patient) {
  const words = name(patient.name).split(/[\s,]+/).filter(Boolean);
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("") || "?";
}
