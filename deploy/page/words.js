// What the services say, as people read it: enum values, instants, money, dates, lists.

const MOST_IN_A_LINE = 8;

/** `CUSTOMER_STATE_KNOWN` → `known`. */
export function word(name, prefix) {
  return name.replace(prefix, "").replaceAll("_", " ").toLowerCase();
}

/** `2026-05-01T12:00:00Z` → `2026-05-01 12:00:00`. */
export function instant(time) {
  return time.slice(0, 19).replace("T", " ");
}

/** `{ year, month, day }` → `2026-05-01`. */
export function date({ year, month, day }) {
  return [year, ...[month, day].map((it) => String(it).padStart(2, "0"))].join("-");
}

/** An element that shows a message, whichever it is: a list of what it says, one line for each thing that holds no other. */
export function tree(message, name = "") {
  const said = simple(message, name);
  if (said !== undefined) return made("span", said);
  const list = made("ul");
  for (const [key, inner] of Object.entries(message)) {
    if (isEmpty(inner)) continue;
    const item = made("li", Array.isArray(message) ? "" : `${spoken(key)}: `);
    item.append(tree(inner, Array.isArray(message) ? name : key));
    list.append(item);
  }
  return list;
}

export function made(kind, text = "") {
  const element = document.createElement(kind);
  element.textContent = text;
  return element;
}

/** In one line, or undefined for what needs several. */
function simple(value, name) {
  if (typeof value === "string") return text(value, name);
  if (value === null || typeof value !== "object") return String(value);
  if (typeof value.currencyCode === "string") return money(value);
  if ("year" in value && "month" in value) return date(value);
  const inner = Object.entries(value).filter(([, it]) => !isEmpty(it));
  const parts = inner.map(([key, it]) => simple(it, Array.isArray(value) ? name : key));
  if (parts.includes(undefined)) return undefined;
  if (Array.isArray(value)) return value.length > 1 && value.some((it) => it.currencyCode === undefined && typeof it === "object") ? undefined : parts.join(", ");
  return name && inner.length <= MOST_IN_A_LINE ? inner.map(([key], at) => `${spoken(key)} ${parts[at]}`).join(", ") : undefined;
}

function text(value, name) {
  if (/^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(value)) return instant(value);
  if (!/^[A-Z][A-Z0-9]*(_[A-Z0-9]+)+$/.test(value)) return value;
  const kind = `${spoken(name).replaceAll(" ", "_").toUpperCase()}_`; // of the field `state`: what stands before STATE_ is its type
  return word(value.slice(name && value.includes(kind) ? value.indexOf(kind) + kind.length : 0), "");
}

function money({ currencyCode, units = "0", nanos = 0 }) {
  const sign = nanos < 0 && !String(units).startsWith("-") ? "-" : "";
  return `${currencyCode} ${sign}${units}.${String(Math.abs(nanos)).padStart(9, "0").slice(0, 2)}`;
}

function isEmpty(value) {
  return value === "" || (value !== null && typeof value === "object" && Object.keys(value).length === 0);
}

/** `assignmentKey` → `assignment key`. */
function spoken(name) {
  return name.replaceAll(/[A-Z]/g, (it) => ` ${it.toLowerCase()}`);
}
