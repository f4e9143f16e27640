// The dashboard: fed once a second, drawn in place. All that comes from the bridge is text, never markup.
"use strict";

const API = "/-/api";
const OUTCOMES = [
  ["2xx", "answered 2xx", "--c2xx"], ["3xx", "3xx", "--c3xx"], ["4xx", "4xx", "--c4xx"], ["5xx", "the worker's 5xx", "--c5xx"],
  ["problem", "the bridge's problems", "--own"], ["caller-gone", "caller left", "--gone"],
];
const byId = (id) => document.getElementById(id);
const state = { feed: null, steps: [], charts: {}, newest: 0, jobsBefore: null, paged: false };

// -- making elements

function make(tag, text, options = {}) {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  for (const [name, value] of Object.entries(options)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  return element;
}

function fill(body, rows, columns, none) {
  const focused = body.contains(document.activeElement) ? nameOf(document.activeElement) : null;
  body.replaceChildren(...(rows.length ? rows : [emptyRow(columns, none)]));
  // Whoever is there by keyboard must not be sent back to the top of the page by news.
  if (focused) [...body.querySelectorAll("button")].find((button) => nameOf(button) === focused)?.focus();
}

function nameOf(element) { return element.getAttribute("aria-label") || element.textContent; }

function emptyRow(columns, text) {
  const row = make("tr", null, { class: "empty" });
  row.append(make("td", text, { colspan: columns }));
  return row;
}

function badge(text) { return make("span", text, { class: `badge ${text}` }); }

function cell(content, options = {}) {
  const td = make("td", null, options);
  td.append(...(Array.isArray(content) ? content : [content ?? "–"]));
  return td;
}

/** A sentence whose `names` are set as code: text nodes and elements, never markup of somebody's. */
function prose(text) {
  return (text ?? "–").split(/`([^`]+)`/).map((part, at) => (at % 2 ? make("code", part) : part));
}

// -- numbers for people

function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.001) return "< 1 ms";
  if (value < 1) return `${Math.round(value * 1000)} ms`;
  return value < 60 ? `${value.toFixed(value < 10 ? 1 : 0)} s` : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${unit ? value.toFixed(1) : value} ${units[unit]}`;
}

function clock(text) { return text ? new Date(text).toLocaleTimeString([], { hour12: false }) : "–"; }

function kind(outcome) { return OUTCOMES.some(([name]) => name === outcome) ? outcome : "problem"; }

function color(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

// -- what the bridge is asked

async function ask(path, options = {}) {
  const response = await fetch(API + path, { headers: { accept: "application/json" }, ...options });
  if (response.status === 401) { location.reload(); }
  const text = await response.text();
  const answer = text ? JSON.parse(text) : {};
  if (!response.ok) throw Object.assign(new Error(answer.detail || `status ${response.status}`), { status: response.status });
  return answer;
}

// -- the head of the page and the routes

function showFeed(feed) {
  state.feed = feed;
  pill("ready", feed.ready, feed.draining ? "draining" : feed.ready ? "ready" : "not ready");
  pill("broker", feed.broker, feed.broker ? "broker" : "broker lost");
  pill("store", feed.store, feed.store === null ? "no jobs" : feed.store ? "store" : "store lost");
  byId("rate").textContent = feed.rate.toLocaleString();
  byId("held").textContent = feed.held.toLocaleString();
  byId("memory").textContent = bytes(feed.body_memory);
  fill(byId("routes").tBodies[0], feed.routes.map(routeRow), 11, "There is no route: the settings have no [[route]].");
  options(byId("chosen"), feed.routes.map((route) => route.name));
  options(byId("route-of"), feed.routes.map((route) => route.name));
}

function pill(id, good, text) {
  const element = byId(id);
  element.textContent = text;
  element.className = good === null ? "" : good ? "ok" : "no";
}

function options(select, names) {
  const known = [...select.options].slice(1).map((option) => option.value);
  if (known.join("\n") === names.join("\n")) return;
  const chosen = select.value;
  select.replaceChildren(select.options[0], ...names.map((name) => make("option", name, { value: name })));
  select.value = names.includes(chosen) ? chosen : "";
}

function routeRow(route) {
  const row = make("tr");
  const workers = route.listeners === null ? "?" : `${route.busy} busy / ${route.listeners}`;
  const says = [badge(route.state)];
  if (route.advice) says.push(make("small", route.advice, { class: "advice" }));
  row.append(
    cell([make("strong", route.name), make("small", route.queue)], { class: "name" }),
    cell(says, { class: route.advice ? "wide" : "" }),
    cell(route.rate.toLocaleString(), { class: "n", "data-label": "calls/s" }),
    cell(`${route.held} / ${route.max_held}`, { class: "n", "data-label": "held" }),
    cell(seconds(route.p50), { class: "n", "data-label": "p50" }),
    cell(seconds(route.p95), { class: "n", "data-label": "p95" }),
    cell(seconds(route.p99), { class: "n", "data-label": "p99" }),
    cell(String(route.backlog), { class: "n", "data-label": "queue" }),
    cell(workers, { class: "n", "data-label": "workers" }),
    cell(route.oldest ? seconds(route.oldest) : "–", { class: "n", "data-label": "oldest" }),
    cell([spark(route)], { class: "wide" }),
  );
  return row;
}

function spark(route) {
  const text = Object.entries(route.outcomes).map(([name, number]) => `${number} ${name}`).join(", ") || "no calls";
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 90 16");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", text);
  const steps = state.steps.map((step) => grouped(step.routes[route.name]?.outcomes ?? {}));
  const highest = Math.max(1, ...steps.map((step) => Object.values(step).reduce((a, b) => a + b, 0)));
  steps.forEach((step, place) => {
    let y = 16;
    for (const [name, , variable] of OUTCOMES) {
      const height = (16 * (step[name] ?? 0)) / highest;
      if (!height) continue;
      y -= height;
      const bar = document.createElementNS(svg.namespaceURI, "rect");
      for (const [key, value] of Object.entries({ x: 90 - steps.length + place, y, width: 0.9, height })) bar.setAttribute(key, value);
      bar.setAttribute("fill", color(variable));
      svg.append(bar);
    }
  });
  const title = document.createElementNS(svg.namespaceURI, "title");
  title.textContent = text;
  svg.append(title);
  return svg;
}

function grouped(outcomes) {
  const groups = {};
  for (const [outcome, number] of Object.entries(outcomes)) groups[kind(outcome)] = (groups[kind(outcome)] ?? 0) + number;
  return groups;
}

// -- the charts

function merged(step, route) {
  const parts = route ? [step.routes[route]].filter(Boolean) : Object.values(step.routes);
  const outcomes = {};
  for (const part of parts) for (const [name, n] of Object.entries(part.outcomes)) outcomes[name] = (outcomes[name] ?? 0) + n;
  const worst = (name) => parts.reduce((most, part) => (part[name] === null ? most : Math.max(most ?? 0, part[name])), null);
  return { outcomes: grouped(outcomes), p50: worst("p50"), p95: worst("p95"), p99: worst("p99") };
}

function drawCharts() {
  const chosen = byId("chosen").value;
  const times = state.steps.map((step) => Date.parse(step.at) / 1000);
  const parts = state.steps.map((step) => merged(step, chosen));
  const sums = parts.map(() => 0);
  const stacked = OUTCOMES.map(([name]) => parts.map((part, i) => (sums[i] += part.outcomes[name] ?? 0)));
  draw("outcomes", [times, ...stacked.reverse()], barOptions);
  draw("times", [times, ...["p50", "p95", "p99"].map((name) => parts.map((part) => part[name]))], lineOptions);
}

function draw(id, data, optionsOf) {
  const place = byId(id);
  const known = state.charts[id];
  if (known) { known.setData(data); return; }
  state.charts[id] = new uPlot({ width: place.clientWidth, height: 190, ...optionsOf() }, data, place);
}

function axes(values) {
  const look = { stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line") } };
  const time = (_, moments) => moments.map((moment) => clock(moment * 1000).slice(0, 5));
  return [{ ...look, values: time }, { ...look, size: 56, ...(values ? { values } : {}) }];
}

const span = { time: true, range: () => [Date.now() / 1000 - 900, Date.now() / 1000 + 5] };

function barOptions() {
  const bars = uPlot.paths.bars({ size: [0.95, 24] });
  const series = [...OUTCOMES].reverse().map(([, label, variable]) => (
    { label, fill: color(variable), width: 0, paths: bars, points: { show: false } }));
  const scale = { range: (_, low, high) => [0, Math.max(high ?? 0, 1)] };
  const [moments, counts] = axes();
  const whole = { ...counts, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5] };
  return { legend: { show: false }, cursor: { show: false }, scales: { x: span, y: scale }, axes: [moments, whole], series: [{}, ...series] };
}

function lineOptions() {
  const series = ["p50", "p95", "p99"].map((label) => (
    { label, stroke: color(`--${label}`), width: 2, spanGaps: false, value: (_, value) => seconds(value) }));
  const scale = { range: (_, low, high) => [0, Math.max(high ?? 0, 0.01) * 1.1] }; // else the highest line is cut in half
  return { cursor: { y: false }, scales: { x: span, y: scale },
    axes: axes((_, values) => values.map((value) => (value ? seconds(value) : "0"))), series: [{}, ...series] };
}

function redraw() {
  for (const chart of Object.values(state.charts)) chart.destroy();
  state.charts = {};
  legend();
  drawCharts();
}

function legend() {
  byId("legend").replaceChildren(...OUTCOMES.map(([, label, variable]) => {
    const item = make("li", label);
    const dot = make("i", null, { "aria-hidden": "true" });
    dot.style.background = color(variable);
    item.prepend(dot);
    return item;
  }));
}

// -- problems and single calls

function showProblems(problems) {
  const rows = problems.slice(0, 20).map((call) => {
    const row = make("tr");
    const look = make("button", call.correlation_id, { type: "button", class: "plain", onclick: () => showCall(call.correlation_id) });
    row.append(cell(clock(call.received), { "data-label": "when" }), cell(call.route, { "data-label": "route" }),
      cell(call.outcome, { "data-label": "problem" }), cell(prose(call.detail), { class: "wrap wide" }),
      cell(call.caller, { "data-label": "caller" }), cell([look], { class: "id wide" }));
    return row;
  });
  fill(byId("problems").tBodies[0], rows, 6, "None since the start.");
}

async function showCall(id) {
  const place = byId("call");
  byId("id").value = id;
  try {
    place.replaceChildren(timeline(await ask(`/calls/${id}`)));
  } catch (error) {
    if (error.status !== 404) { place.textContent = error.message; return; }
    await ask(`/jobs/${id}`).then((job) => place.replaceChildren(jobTimeline(job)),
      () => { place.textContent = "No call or job of this id is kept."; });
  }
  place.scrollIntoView({ block: "nearest" });
}

function timeline(call) {
  const list = make("ul", null, { class: "timeline" });
  const line = (ms, text) => {
    const item = make("li");
    item.append(make("b", ms === null ? "" : `+ ${ms.toFixed(1)} ms`), text);
    list.append(item);
  };
  line(0, `received at ${clock(call.received)}: ${call.method} ${call.path}${call.route ? ` (route ${call.route})` : ""}${call.caller ? ` from ${call.caller}` : ""}`);
  if (call.sent_after_ms !== null) line(call.sent_after_ms, "message sent to the queue");
  if (call.queue_ms !== null) line((call.sent_after_ms ?? 0) + call.queue_ms, "a worker began");
  if (call.attempt > 1) line(null, `attempt ${call.attempt}: earlier workers were lost`);
  if (call.work_ms !== null) line(null, `the worker worked for ${call.work_ms.toFixed(1)} ms`);
  if (call.trace_id) line(null, `traced as ${call.trace_id}`);
  line(call.answered_after_ms, `${call.outcome}${call.status ? ` (${call.status})` : ""}${call.detail ? `: ${call.detail}` : ""}`);
  return list;
}

function jobTimeline(job) {
  const list = make("ul", null, { class: "timeline" });
  for (const event of job.timeline) {
    const item = make("li");
    item.append(make("b", clock(event.at)), event.what);
    list.append(item);
  }
  return list;
}

// -- jobs

async function showJobs(older = false) {
  const query = new URLSearchParams({ limit: "20" });
  for (const [name, id] of [["state", "state-of"], ["route", "route-of"]]) if (byId(id).value) query.set(name, byId(id).value);
  if (older && state.jobsBefore) query.set("before", state.jobsBefore);
  const body = byId("jobs").tBodies[0];
  try {
    const page = await ask(`/jobs?${query}`);
    const rows = page.jobs.map(jobRow);
    if (older) body.append(...rows); else fill(body, rows, 7, "No jobs.");
    state.paged = older;
    state.jobsBefore = page.next;
    byId("more-jobs").hidden = !page.next;
  } catch (error) {
    fill(body, [], 7, error.status === 404 ? "No route of this bridge takes jobs." : error.message);
  }
}

function jobRow(job) {
  const row = make("tr");
  const look = make("button", job.id, { type: "button", class: "plain", onclick: () => showCall(job.id) });
  const open = job.state === "queued" || job.state === "running";
  const cancel = make("button", "Cancel", { type: "button", class: "danger", "aria-label": `Cancel job ${job.id}`, onclick: () => cancelJob(job) });
  const result = make("button", "Result", { type: "button", class: "plain", "aria-label": `Result of job ${job.id}`, onclick: () => showResult(job) });
  row.append(cell(clock(job.created), { "data-label": "created" }), cell(job.route, { "data-label": "route" }),
    cell([badge(job.state)], { "data-label": "state" }), cell(String(job.attempts), { class: "n", "data-label": "attempts" }),
    cell(job.caller, { "data-label": "caller" }), cell([look], { class: "id wide" }), cell([open ? cancel : result], { class: "wide" }));
  return row;
}

async function showResult(job) {
  const text = await ask(`/jobs/${job.id}/result`).then(resultText, (error) => error.message);
  await dialog(byId("shown"), `${job.route} ${job.id}`, text);
}

function resultText(result) {
  const headers = Object.entries(result.headers).map(([name, value]) => `${name}: ${value}`).join("\n");
  const rest = result.bytes > 65536 ? `\n… ${bytes(result.bytes)} in all` : "";
  return `${result.status}\n${headers}\n\n${result.body ?? `base64: ${result.body_base64}`}${rest}`;
}

async function cancelJob(job) {
  if (!(await confirmed(`Cancel this job of ${job.route}?`, "Its worker is told to stop. It may have run in part."))) return;
  await act(() => ask(`/jobs/${job.id}`, { method: "DELETE" }));
  await showJobs();
}

// -- dead letters

async function showQueues() {
  const body = byId("queues").tBodies[0];
  try {
    const { queues } = await ask("/dlq");
    const rows = queues.filter((queue) => queue.count).map((queue) => {
      const row = make("tr");
      const look = make("button", "Show", { type: "button", "aria-label": `Show the letters of ${queue.queue}`, onclick: () => showLetters(queue.queue) });
      row.append(cell(queue.queue, { class: "wide" }), cell(`${queue.count}${queue.more ? " or more" : ""}`, { class: "n" }), cell([look]));
      return row;
    });
    fill(body, rows, 3, "None: nothing was given up.");
    if (!rows.length) byId("letters").hidden = true;
  } catch (error) {
    fill(body, [], 3, error.message);
  }
}

async function showLetters(queue) {
  const { letters } = await ask(`/dlq?${new URLSearchParams({ queue, limit: "50" })}`);
  byId("letters").hidden = false;
  fill(byId("letters").tBodies[0], letters.map((letter) => letterRow(letter, queue)), 6, "None.");
}

function letterRow(letter, queue) {
  const row = make("tr");
  const button = (text, act, style = "plain") => make("button", text, { type: "button", class: style, "aria-label": `${text} ${letter.id}`, onclick: act });
  const path = `/dlq/${encodeURIComponent(letter.id)}`;
  const show = async () => {
    const whole = await ask(path);
    dialog(byId("shown"), letter.id, JSON.stringify(whole, null, 2));
  };
  const replay = async () => {
    if (!(await confirmed("Replay this letter?", "It becomes a new job: new id, new deadline, attempt 1."))) return;
    const done = await act(() => ask(`${path}/replay`, { method: "POST" }));
    if (done) { await Promise.all([showLetters(queue), showQueues(), showJobs()]); }
  };
  const drop = async () => {
    if (!(await confirmed("Drop this letter?", "It is gone for good."))) return;
    await act(() => ask(path, { method: "DELETE" }));
    await Promise.all([showLetters(queue), showQueues()]);
  };
  row.append(cell(letter.when ? new Date(letter.when).toLocaleString() : "–", { "data-label": "when" }),
    cell(letter.route, { "data-label": "route" }), cell(letter.reason, { class: "wrap wide" }),
    cell(String(letter.size), { class: "n", "data-label": "bytes" }), cell(letter.id, { class: "id wide" }),
    cell([button("Show", show), button("Replay", replay), button("Drop", drop, "danger")], { class: "wide buttons" }));
  return row;
}

// -- asking back

function dialog(element, title, text) {
  element.querySelector("h2").textContent = title;
  element.querySelector("pre, p").textContent = text;
  element.returnValue = "";
  element.showModal();
  return new Promise((resolve) => element.addEventListener("close", () => resolve(element.returnValue), { once: true }));
}

async function confirmed(title, text) { return (await dialog(byId("ask"), title, text)) === "yes"; }

async function act(doing) {
  try { return await doing(); } catch (error) { await dialog(byId("shown"), "That did not work", error.message); return null; }
}

// -- staying up to date

function listen() {
  const source = new EventSource("/-/dashboard/feed");
  source.onmessage = (event) => {
    state.newest = Date.now();
    showFeed(JSON.parse(event.data));
  };
  source.onerror = () => {
    // A browser tries again by itself, but for a refusal.
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  };
}

function watchLink() {
  const lost = Date.now() - state.newest > 4000;
  byId("link").hidden = !lost;
  document.body.classList.toggle("stale", lost);
}

async function refresh() {
  try {
    const [past, problems] = await Promise.all([ask("/history"), ask("/problems")]);
    state.steps = past.steps;
    drawCharts();
    showProblems(problems.problems);
  } catch (error) {
    console.warn("the bridge does not answer", error);
  }
}

byId("chosen").addEventListener("change", drawCharts);
byId("find").addEventListener("submit", (event) => { event.preventDefault(); const id = byId("id").value.trim(); if (id) showCall(id); });
byId("filter").addEventListener("submit", (event) => { event.preventDefault(); showJobs(); });
byId("more-jobs").addEventListener("click", () => showJobs(true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
new ResizeObserver(() => {
  for (const [id, chart] of Object.entries(state.charts)) chart.setSize({ width: byId(id).clientWidth, height: 190 });
}).observe(document.querySelector(".pair"));

legend();
listen();
refresh();
showJobs();
showQueues();
setInterval(watchLink, 1000);
setInterval(refresh, 5000);
setInterval(() => { if (!state.paged) showJobs(); }, 5000); // older pages stay as they are while somebody reads them
setInterval(showQueues, 15000);
