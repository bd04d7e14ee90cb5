// A search as a request in several languages. Pure: base, type and pairs in, text out.

const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;
const text = (value) => JSON.stringify(value);

export const FORMS = {
  curl(base, { type, pairs, strict }) {
    const lines = pairs.map(([name, value]) => `  --data-urlencode ${shell(`${name}=${value}`)}`);
    const prefer = strict ? ["  -H 'Prefer: handling=strict'"] : [];
    return [`curl ${shell(`${base}/${type}/_search`)}`, "  -H \"Authorization: Bearer $TOKEN\"", ...prefer, ...lines].join(" \\\n");
  },
  body(base, { type, pairs, strict }) {
    const path = new URL(`${base}/${type}/_search`);
    return [`POST ${path.pathname} HTTP/1.1`, `Host: ${path.host}`, "Authorization: Bearer …",
      "Content-Type: application/x-www-form-urlencoded", ...(strict ? ["Prefer: handling=strict"] : []), "",
      new URLSearchParams(pairs).toString()].join("\n");
  },
  python(base, { type, pairs, strict }) {
    const lines = pairs.map(([name, value]) => `    (${text(name)}, ${text(value)}),`);
    return ["import os", "import httpx", "", "headers = {\"Authorization\": f\"Bearer {os.environ['TOKEN']}\"}",
      ...(strict ? ["headers[\"Prefer\"] = \"handling=strict\""] : []),
      "form = [", ...lines, "]", "body = str(httpx.QueryParams(form))",
      "headers[\"Content-Type\"] = \"application/x-www-form-urlencoded\"",
      `answer = httpx.post(${text(`${base}/${type}/_search`)}, headers=headers, content=body)`,
      "answer.raise_for_status()", "for entry in answer.json().get(\"entry\", []):", "    print(entry[\"resource\"][\"id\"])"].join("\n");
  },
  javascript(base, { type, pairs, strict }) {
    return [`const answer = await fetch(${text(`${base}/${type}/_search`)}, {`, "  method: \"POST\",",
      `  headers: { Authorization: \`Bearer \${token}\`${strict ? ", Prefer: \"handling=strict\"" : ""} },`,
      `  body: new URLSearchParams(${JSON.stringify(pairs, null, 2).replaceAll("\n", "\n  ")}),`, "});",
      "if (!answer.ok) throw new Error(await answer.text());", "const bundle = await answer.json();"].join("\n");
  },
};
