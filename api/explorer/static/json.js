// JSON whose numbers keep their digits: a laboratory's 1.00 is not 1.

export class Num {
  constructor(text) {
    this.text = text;
  }
  valueOf() {
    return Number(this.text);
  }
  toString() {
    return this.text;
  }
}

let sees = false;
JSON.parse("1.0", (_, value, context) => {
  sees = context?.source === "1.0";
  return value;
});
const MARK = "\u0001";
const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

export function parse(text) {
  if (sees) return JSON.parse(text, (_, value, context) => (typeof value === "number" ? new Num(context.source) : value));
  return parseMarked(text);
}

// For browsers that do not tell a number's text: numbers are made strings with a mark before them.
export function parseMarked(text) {
  const marked = text.replace(TOKEN, (token) => (token[0] === '"' ? token : `"\\u0001${token}"`));
  return JSON.parse(marked, (_, value) =>
    typeof value === "string" && value[0] === MARK ? new Num(value.slice(1)) : value);
}

// A value as a comparable text: equal texts, equal content.
export const same = (one, other) => canonical(one) === canonical(other);

function canonical(value) {
  if (value instanceof Num) return value.text;
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value && typeof value === "object") {
    return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(",")}}`;
  }
  return JSON.stringify(value) ?? "";
}
