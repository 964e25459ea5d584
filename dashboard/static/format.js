// Values as people read them: one function a kind (see pages/panels.py). All text is set as text, never as markup.

const UNITS = ["bytes", "kB", "MB", "GB", "TB", "PB"];
const number = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });
const coarse = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function bytes(value) {
  let unit = 0;
  let rest = value;
  while (Math.abs(rest) >= 999.95 && unit < UNITS.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return `${unit ? rest.toFixed(1) : coarse.format(rest)} ${UNITS[unit]}`;
}

export function seconds(value) {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.001) return `${(value * 1e6).toFixed(0)} µs`;
  if (size < 1) return `${(value * 1e3).toFixed(1)} ms`;
  if (size < 120) return `${value.toFixed(2)} s`;
  if (size < 7200) return `${(value / 60).toFixed(1)} min`;
  return `${(value / 3600).toFixed(1)} h`;
}

export function clock(value) {
  const at = new Date(value * 1000);
  const two = (part) => String(part).padStart(2, "0");
  const milli = String(at.getMilliseconds()).padStart(3, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${milli}`;
}

const KINDS = {
  number: (value) => number.format(value),
  rate: (value) => `${value >= 100 ? coarse.format(value) : number.format(value)}/s`,
  percent: (value) => `${value.toFixed(value < 10 ? 1 : 0)} %`,
  share: (value) => `${(value * 100).toFixed(0)} %`,
  bytes,
  seconds,
  time: clock,
  ago: (value) => {
    const past = Math.max(0, Date.now() / 1000 - value);
    return `${past < 120 ? `${coarse.format(past)} s` : seconds(past)} ago`;
  },
  bool: (value) => (value ? "yes" : "no"),
  watt: (value) => `${coarse.format(value)} W`,
  celsius: (value) => `${coarse.format(value)} °C`,
  id: (value) => (value.length > 14 ? `${value.slice(0, 6)}…${value.slice(-6)}` : value),
};

export function format(value, kind) {
  if (value === null || value === undefined || value === "") return "";
  const write = KINDS[kind];
  return write ? write(value) : String(value);
}

export const NUMERIC = new Set(["number", "rate", "percent", "bytes", "seconds", "watt", "celsius", "share"]);

export function element(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

// A value of a kind, in a cell of a table or beside its label.
export function fill(node, value, kind) {
  const text = format(value, kind);
  if (kind === "state") {
    node.replaceChildren();
    if (text) node.append(element("span", `hm-state hm-state-${text.toLowerCase().replace(/[^a-z]/g, "")}`, text));
  } else if (kind === "share" && text) {
    const bar = element("span", "hm-share");
    const part = element("span");
    part.style.width = `${Math.max(0, Math.min(1, value)) * 100}%`;
    bar.append(part);
    node.replaceChildren(bar, element("span", "hm-share-text", text));
  } else if (kind === "colour") {
    const dot = element("span", "hm-dot");
    dot.style.background = /^#[0-9a-f]{6}$/i.test(value) ? value : "transparent";
    node.replaceChildren(dot);
  } else {
    node.textContent = text;
    if (kind === "code" || kind === "id") node.classList.add("hm-code");
    if (kind === "sentence") node.classList.add("hm-sentence");
    if (kind === "id") node.title = String(value ?? "");
  }
}
