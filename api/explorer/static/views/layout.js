// JSON laid out for reading without being changed: digits, order and doubled names stay. Pure.

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

// Lines with the path of what stands on each, as FHIRPath writes it: `Bundle.entry[2].resource.status`.
export function layout(text) {
  const lines = [];
  const stack = [];
  let line = "";
  let path = "";
  const indent = () => "  ".repeat(stack.length);
  const end = () => {
    if (line.trim()) lines.push({ text: line, path });
    line = indent();
  };
  const here = () => stack.map((one, index) => (one.kind === "[" ? `[${one.at}]` : one.name && `${index ? "." : ""}${one.name}`)).join("");
  for (const token of text.match(TOKEN) || []) {
    const top = stack.at(-1);
    if (token === "{" || token === "[") {
      line += token;
      path = here();
      stack.push({ kind: token, at: 0, name: "", key: true });
      end();
    } else if (token === "}" || token === "]") {
      end();
      stack.pop();
      line = indent() + token;
      path = here();
    } else if (token === ",") {
      line += ",";
      end();
      if (top?.kind === "[") top.at += 1;
      else if (top) top.key = true;
    } else if (token === ":") {
      line += ": ";
      if (top) top.key = false;
    } else {
      if (top?.kind === "{" && top.key) top.name = token.slice(1, -1);
      path = here();
      line += token;
    }
  }
  end();
  return lines;
}

// The line that a FHIRPath leads to, or the one nearest above it that is there.
export function nearest(lines, expression) {
  const named = String(expression).replace(/\.ofType\(\w+\)/g, "");
  const wanted = plain(named.replace(/^[A-Z]\w*\.?/, ""));
  let best = 0;
  let length = -1;
  lines.forEach(({ path }, index) => {
    const one = plain(path);
    if (one.length > length && (wanted === one || wanted.startsWith(`${one}.`) || one === "")) {
      best = index;
      length = one.length;
    }
  });
  return best;
}

// Steps with points, an index among them: `entry[2].resource` and `entry.2.resource` are one.
const plain = (path) => path.replace(/\[(\d+)\]/g, ".$1").replace(/^\./, "");
