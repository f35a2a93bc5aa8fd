// Answers rules with json-logic-js: one request a line on the standard input, one answer a line on the standard output.
// A request is [rule, data, decisions]; the decisions are those of differences.py, each built into the original here.
"use strict";

const file = process.argv[2];
console.log = () => {};

// Halves of a character stay what they are, but for two that meet.
const characters = (text) => Array.from(String(text));

function cut(text, start, length) {
  const whole = (number, bound) => Math.max(-bound, Math.min(Math.trunc(Number(number)) || 0, bound));
  const size = text.length;
  let from = whole(start, size);
  from = from < 0 ? Math.max(size + from, 0) : from;
  return text.slice(from, length === undefined ? size : from + Math.max(whole(length, size), 0));
}

function ordered(compare) {
  const primitive = (value) => (typeof value === "object" && value !== null ? String(value) : value);
  return (first, second) => {
    const [left, right] = [primitive(first), primitive(second)];
    if (typeof left !== "string" || typeof right !== "string") return compare(left, right);
    const [mine, theirs] = [characters(left), characters(right)].map((text) => text.map((one) => one.codePointAt(0)));
    let at = 0;
    while (at < mine.length && mine[at] === theirs[at]) at += 1;
    return compare(at < mine.length ? mine[at] : -1, at < theirs.length ? theirs[at] : -1);
  };
}

function inside(needle, text) {
  const [wanted, all] = [characters(needle), characters(text)];
  return all.some((_, at) => wanted.every((one, offset) => all[at + offset] === one)) || !wanted.length;
}

// What lies one step below a value. Data only: nothing that JavaScript adds.
function below(value, part, counted) {
  if (typeof value === "string" && counted) value = characters(value);
  const positions = typeof value === "string" || Array.isArray(value);
  if (positions ? !/^(0|[1-9][0-9]*)$/.test(part) : typeof value !== "object") return undefined;
  return positions || Object.hasOwn(value, part) ? value[part] : undefined;
}

function build(decisions) {
  delete require.cache[require.resolve(file)];
  const logic = require(file);
  const decided = new Set(decisions);
  const counted = decided.has("characters");

  function variable(path, otherwise) {
    const missing = otherwise === undefined ? null : otherwise;
    if (path === undefined || path === "" || path === null) return this;
    let value = this;
    for (const part of String(path).split(".")) {
      if (value === null || value === undefined) return missing;
      const stepped = counted && typeof value === "string" && /^[0-9]+$/.test(part) ? characters(value) : value;
      value = decided.has("properties") ? below(value, part, counted) : stepped[part];
      if (value === undefined) return missing;
    }
    return value;
  }
  if (decided.has("properties") || counted) logic.add_operation("var", variable);
  function missing(...given) {
    const keys = Array.isArray(given[0]) ? given[0] : given;
    return keys.filter((key) => {
      const value = variable.apply(this, Array.isArray(key) ? key : [key]);
      return value === null || value === "";
    });
  }
  if (decided.has("data")) logic.add_operation("missing", missing);
  if (decided.has("data") || decided.has("keys") || counted) {
    logic.add_operation("missing_some", function (needed, keys) {
      const listed = Array.isArray(keys) ? keys : [keys];
      const absent = decided.has("data") ? missing.apply(this, [listed]) : logic.apply({ missing: keys }, this);
      const length = (decided.has("keys") ? keys ?? {} : keys).length;
      const count = counted && typeof keys === "string" ? characters(keys).length : length;
      return count - absent.length >= needed ? [] : absent;
    });
  }
  if (decided.has("product")) {
    logic.add_operation("*", (...values) =>
      values.length ? values.reduce((one, other) => parseFloat(one) * parseFloat(other)) : null);
  }
  if (counted) {
    const [less, most] = [ordered((a, b) => a < b), ordered((a, b) => a <= b)];
    logic.add_operation(">", ordered((a, b) => a > b));
    logic.add_operation(">=", ordered((a, b) => a >= b));
    logic.add_operation("<", (a, b, c) => less(a, b) && (c === undefined || less(b, c)));
    logic.add_operation("<=", (a, b, c) => most(a, b) && (c === undefined || most(b, c)));
    logic.add_operation("in", (needle, where) => {
      if (typeof where === "string") return where !== "" && inside(needle, where);
      return Array.isArray(where) && where.indexOf(needle) !== -1;
    });
    logic.add_operation("substr", (source, start, end) => {
      if (!(end < 0)) return cut(characters(source), start, end).join("");
      const rest = cut(characters(source), start);
      return cut(rest, 0, rest.length + end).join("");
    });
  }
  if (decided.has("undefined")) {
    const apply = logic.apply;
    logic.apply = (rule, data) => {
      const value = apply(rule, data);
      return value === undefined ? null : value;
    };
  }
  return (rule, data) => {
    const value = logic.apply(rule, data);
    const infinite = value === Infinity || value === -Infinity;
    const truth = logic.truthy(value) && !(infinite && decided.has("infinity"));
    return { value: value === undefined ? null : value, truth };
  };
}

const built = new Map();

function answer(line) {
  const [rule, data, decisions] = JSON.parse(line);
  const key = decisions.join();
  if (!built.has(key)) built.set(key, build(decisions));
  try {
    return built.get(key)(rule, data);
  } catch (error) {
    return { error: `${error.name}: ${error.message}` };
  }
}

// JSON can say negative zero, and Python reads it; only this writer would not.
const ZERO = "\u0000-0";
const marked = (_, one) => (Object.is(one, -0) ? ZERO : one);
const written = (value) => JSON.stringify(value, marked).replaceAll(JSON.stringify(ZERO), "-0.0");

const lines = require("fs").readFileSync(0, "utf8").split("\n");
process.stdout.write(lines.filter(Boolean).map((line) => written(answer(line)) + "\n").join(""));
