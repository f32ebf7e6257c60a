// A small page that shows the contracts at work: sign in, find a customer, see the profile and the trail as it grows, see scores and arms.

import { Refused, everything, get, post, signIn } from "./calls.js";
import { bars, grid, interval } from "./charts.js";
import { date, instant, made, tree, word } from "./words.js";

const TRAIL_SECONDS = 3;
const $ = (id) => document.getElementById(id);
let shown = ""; // the customer on the page
let timer = 0;

when("sign-in", "submit", async () => {
  const { sub, tenant } = signIn($("token").value);
  await get("/v1/campaigns/broadcasts", { pageSize: 50 }).then(offerBroadcasts);
  $("who").textContent = `${sub}, for ${tenant}`;
  $("token").value = "";
  document.querySelector("main").hidden = false;
});

when("search", "submit", async () => {
  const { hits = [] } = await post("/v1/identity/customers:search", { query: $("query").value, pageSize: 20 });
  $("hits").replaceChildren(...(hits.length ? hits.map(hit) : [made("li", "Nobody.")]));
});

when("rfm", "submit", async () => {
  const model = encodeURIComponent($("model").value);
  const runs = await everything(`/v1/tagging/models/${model}/runs`, "runs");
  const run = runs.sort((a, b) => a.createTime.localeCompare(b.createTime)).at(-1);
  if (!run) throw new Error("The model has not run yet.");
  const [table, rows] = await Promise.all([
    get(`/v1/tagging/runs/${run.runId}/rfmTable`),
    everything(`/v1/tagging/runs/${run.runId}/rows`, "rows", { pageSize: 10000 }),
  ]);
  const counts = new Map();
  for (const { recencyScore = 0, frequencyScore = 0 } of rows) {
    const key = `${recencyScore},${frequencyScore}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  $("run").textContent = `${run.population} customers, as of ${date(run.asOf)}`;
  $("grid").replaceChildren(grid(counts, "recency", "frequency"));
  const segments = table.segments.map((it) => ({
    name: word(it.segment, "RFM_SEGMENT_"),
    value: Number(it.customers ?? 0),
    label: `${it.customers ?? 0}`,
  }));
  $("segments").replaceChildren(bars(segments, "Customers by segment"));
});

when("arms", "submit", async () => {
  const { result } = await get(`/v1/campaigns/broadcasts/${$("broadcast").value}/experimentResult`);
  const winner = result.decision?.winner ? `; ${result.decision.winner} wins` : "";
  $("verdict").textContent = `${word(result.state, "RESULT_STATE_")}${winner}`;
  const rows = (result.variants ?? []).map((it) => {
    const assigned = Number(it.assigned ?? 0), converted = Number(it.converted ?? 0);
    const rate = assigned ? converted / assigned : 0;
    return { name: it.variant, value: rate, ...(assigned ? interval(converted, assigned) : {}), label: `${(100 * rate).toFixed(2)} % of ${assigned}` };
  });
  $("rates").replaceChildren(bars(rows, "Converted, with 95 % intervals"));
});

function hit({ customer, matched }) {
  const button = made("button", `${customer.customerId} (${word(customer.state ?? "", "CUSTOMER_STATE_")}, by ${matched})`);
  button.addEventListener("click", () => attempt(() => show(customer.customerId)));
  const item = made("li");
  item.append(button);
  return item;
}

async function show(customer) {
  const { customerId, sections = [] } = await get(`/v1/identity/customers/${customer}/profile`);
  shown = customerId;
  $("customer-id").textContent = customerId;
  $("profile").replaceChildren(...cards(sections));
  $("customer").hidden = false;
  await follow(customerId);
}

/** The trail, and again every few seconds as long as this customer is shown and somebody looks. */
async function follow(customer) {
  clearTimeout(timer);
  if (shown !== customer) return;
  if (!document.hidden) {
    const { entries = [] } = await get(`/v1/identity/customers/${customer}/timeline`, { pageSize: 50 });
    $("trail").replaceChildren(...entries.map(entry));
  }
  timer = setTimeout(() => attempt(() => follow(customer)), TRAIL_SECONDS * 1000);
}

function entry({ occurTime, type, service, facts = {} }) {
  const said = Object.entries(facts).map(([name, value]) => `${name} ${value}`).join(", ");
  return made("li", `${instant(occurTime)} ${type} (${service})${said ? `: ${said}` : ""}`);
}

/** A card for each section that says something, and one that names those that do not. */
function cards(sections) {
  const said = sections.map(({ kind, status, cause, asOfTime, ...content }) => ({
    name: word(kind, "PROFILE_SECTION_KIND_"),
    doubt: status === "SECTION_STATUS_AVAILABLE" ? "" : [word(status ?? "", "SECTION_STATUS_"), word(cause ?? "", "SECTION_CAUSE_")].filter(Boolean).join(", "),
    lines: Object.values(content).map((it) => tree(it)).filter((it) => it.textContent),
  }));
  const silent = said.filter((it) => !it.doubt && !it.lines.length).map((it) => it.name);
  const found = said.filter((it) => it.doubt || it.lines.length).map((it) => card(it.name, it.doubt, it.lines));
  return silent.length ? [...found, card("nothing yet", silent.join(", "), [])] : found;
}

function card(name, remark, lines) {
  const box = made("div");
  box.className = "card";
  box.append(made("h4", name));
  if (remark) box.append(Object.assign(made("div", remark), { className: "status" }));
  box.append(...lines);
  return box;
}

function offerBroadcasts({ broadcasts = [] }) {
  $("broadcast").replaceChildren(
    ...broadcasts.map(({ broadcastId, displayName }) => {
      const option = made("option", displayName || broadcastId);
      option.value = broadcastId;
      return option;
    }),
  );
}

function when(id, event, act) {
  $(id).addEventListener(event, (occurred) => {
    occurred.preventDefault();
    attempt(act);
  });
}

async function attempt(act) {
  $("refusal").textContent = "";
  try {
    await act();
  } catch (error) {
    const reason = error instanceof Refused && error.reason ? ` (${error.reason})` : "";
    $("refusal").textContent = `${error.message}${reason}`;
  }
}
