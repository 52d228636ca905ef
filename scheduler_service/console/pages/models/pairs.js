// Names and values, typed row by row or pasted as a JSON object. Pure.

/** What an editor begins with: a row for each name that people usually give. */
export const newPairs = (names = []) => ({ mode: "rows", rows: [...names, ""].map((name) => ({ name, value: "" })), text: "" });

const valueOf = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return text; // a word needs no quotes
  }
};

/** The object that the pairs write; throws {key, figures} of a text that says what is wrong. */
export function readPairs(pairs) {
  if (pairs.mode === "json") {
    if (!pairs.text.trim()) return {};
    let value;
    try {
      value = JSON.parse(pairs.text);
    } catch (err) {
      throw { key: "json_invalid", figures: { reason: err.message } };
    }
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw { key: "json_object", figures: { example: '{"seed": 7}' } };
    return value;
  }
  const found = {};
  for (const { name, value } of pairs.rows) {
    if (!value.trim()) continue; // a name without a value was offered and not used
    if (!name.trim()) throw { key: "name_missing", figures: {} };
    if (Object.hasOwn(found, name.trim())) throw { key: "name_twice", figures: { name: name.trim() } };
    found[name.trim()] = valueOf(value.trim());
  }
  return found;
}

/** Rows that write the same object. */
export const rowsOf = (object) => [
  ...Object.entries(object).map(([name, value]) => ({ name, value: typeof value === "string" ? value : JSON.stringify(value) })),
  { name: "", value: "" },
];
