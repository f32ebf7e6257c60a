// Two kinds of charts, drawn as SVG: a grid of counts, and horizontal bars with an interval.

const SVG = "http://www.w3.org/2000/svg";

/** A 5 × 5 grid; `counts` has "r,f" → number of customers, r and f from 1 to 5. Darker is more. */
export function grid(counts, across, down) {
  const cell = 56, left = 116, top = 30;
  const most = Math.max(1, ...counts.values());
  const picture = svg(left + 5 * cell, top + 5 * cell + 10, `${down} by ${across}`);
  text(picture, left, 14, `${across} 1 … 5 →`);
  text(picture, 0, top + 16, `${down} 5 ↓ 1`);
  for (let f = 5; f >= 1; f--) {
    for (let r = 1; r <= 5; r++) {
      const count = counts.get(`${r},${f}`) ?? 0;
      const x = left + (r - 1) * cell, y = top + (5 - f) * cell;
      const share = Math.sqrt(count / most);
      const square = add(picture, "rect", { x, y, width: cell - 2, height: cell - 2, fill: `rgb(${mix(240, 11, share)},${mix(244, 92, share)},${mix(248, 173, share)})` });
      add(square, "title", {}).textContent = `${across} ${r}, ${down} ${f}: ${count}`;
      text(picture, x + cell / 2 - 1, y + cell / 2 + 4, String(count), { "text-anchor": "middle", ...(share > 0.55 ? { style: "fill:#fff" } : {}) });
    }
  }
  return picture;
}

/** The 95 % interval of a share by Wilson, which holds for few and for none (doi 10.1080/01621459.1927.10502953) */
export function interval(successes, trials) {
  const z = 1.96, share = successes / trials, weight = 1 + (z * z) / trials;
  const middle = (share + (z * z) / (2 * trials)) / weight;
  const spread = (z / weight) * Math.sqrt((share * (1 - share)) / trials + (z * z) / (4 * trials * trials));
  return { low: middle - spread, high: middle + spread };
}

/** One bar per row `{ name, value, label, low, high }`; `low` and `high` draw an interval where they are given. */
export function bars(rows, title) {
  const left = 190, width = 420, height = 26;
  const most = Math.max(...rows.map((it) => Math.max(it.value, it.high ?? 0)), Number.MIN_VALUE);
  const picture = svg(left + width + 170, rows.length * height + 26, title);
  text(picture, 0, 14, title, { style: "font-weight:bold" });
  rows.forEach((it, number) => {
    const y = 22 + number * height;
    const at = (value) => left + (Math.max(0, value) / most) * width;
    text(picture, left - 8, y + 15, it.name, { "text-anchor": "end" });
    add(picture, "rect", { x: left, y, width: Math.max(1, at(it.value) - left), height: height - 6, fill: "#4c8fd0" });
    if (it.high !== undefined) add(picture, "line", { x1: at(it.low), x2: at(it.high), y1: y + 10, y2: y + 10, stroke: "#1d2733", "stroke-width": 2 });
    text(picture, Math.max(at(it.value), at(it.high ?? 0)) + 8, y + 15, it.label);
  });
  return picture;
}

function svg(width, height, label) {
  const made = document.createElementNS(SVG, "svg");
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label })) made.setAttribute(name, value);
  return made;
}

function text(parent, x, y, content, attributes = {}) {
  add(parent, "text", { x, y, ...attributes }).textContent = content;
}

function add(parent, kind, attributes) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return parent.appendChild(made);
}

function mix(from, to, share) {
  return Math.round(from + (to - from) * share);
}
