// The review page: shows one item after the other, sends decisions, and hears of those of other tabs.
import { Regions } from "./regions.js";

const AHEAD = 12; // items fetched before they are reached
const PICTURES_AHEAD = 5;
const AT_ONCE = 64; // what the server answers at a time
const POLL = 2000; // ms
const WORDS = { accept: "accepted", keep: "kept as given", class: "changed", skip: "skipped" };
const SHOWS = { issues: "labels to look at", unlabelled: "without a label", decided: "decided", skipped: "skipped", all: "all" };

const $ = (id) => document.getElementById(id);
const tab = Array.from(crypto.getRandomValues(new Uint8Array(6)), (byte) => byte.toString(16).padStart(2, "0")).join("");

let run = null;
let order = []; // positions that pass the filters, the most suspicious first
let index = 0; // place in `order`
let states = new Map(); // action in force, by position
let since = 0; // lines of the journal that this page has heard of
let busy = false;
const items = new Map(); // what the server said of items, by position
const pictures = new Map(); // pictures asked for ahead, so that the browser keeps them
const done = []; // positions this tab decided about, the last one last
const regions = new Regions($("canvas"), $("region-list"), $("layers"), () => speakRegion());

// ---------------------------------------------------------------- talking to the server

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Error("The review has ended or cannot be reached. What was decided before is saved; "
      + "run `noisycorrect review` again and open the address that it prints.");
  }
  const value = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(value.error), { status: answer.status, item: value.item });
  return value;
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function speak(text) { $("spoken").textContent = text; }

async function fetchItems(places) {
  const missing = places.filter((at) => at !== undefined && !items.has(at)).slice(0, AT_ONCE);
  if (!missing.length) return;
  for (const item of (await ask(`api/items?at=${missing.join(",")}`)).items) items.set(item.at, item);
}

function preload() {
  fetchItems(order.slice(index + 1, index + 1 + AHEAD)).then(() => {
    for (const at of order.slice(index + 1, index + 1 + PICTURES_AHEAD)) {
      const item = items.get(at);
      if (!item || pictures.has(at)) continue;
      const layers = item.regions ? ["given", "corrected", "regions"].map((name) => `layer/${at}/${name}`) : [];
      const sources = item.image ? [`picture/${at}`, ...layers] : layers;
      pictures.set(at, sources.map((source) => Object.assign(new Image(), { src: source })));
      if (pictures.size > 40) pictures.delete(pictures.keys().next().value);
    }
  }).catch((error) => notice(error.message));
}

// ---------------------------------------------------------------- drawing

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

const percent = (share) => `${(100 * share).toFixed(share >= 0.0005 && share < 0.0995 ? 1 : 0)} %`;

function current() { return items.get(order[index]); }

async function show(place, focus = false) {
  index = Math.max(0, Math.min(place, order.length - 1));
  try {
    if (order.length) await fetchItems([order[index]]);
  } catch (error) {
    notice(error.message);
  }
  draw();
  preload();
  if (focus) $("place").scrollIntoView({ block: "nearest" });
}

function draw() {
  const item = current();
  for (const id of ["change", "actions", "evidence"]) $(id).hidden = !item;
  for (const id of ["text", "picture", "missing", "mask", "row", "state", "classes", "regions"]) $(id).hidden = true;
  if (!item) {
    $("place").textContent = order.length ? "Loading …" : "Nothing here. Choose another selection above.";
    return;
  }
  drawPlace(item);
  drawSample(item);
  drawChange(item);
  drawEvidence(item);
  const masks = run.colours !== null;
  $("classes").hidden = masks;
  $("regions").hidden = !masks;
  if (!masks) drawClasses();
}

function drawPlace(item) {
  $("place").textContent = `${(index + 1).toLocaleString()} of ${order.length.toLocaleString()} · ${item.id} · quality ${item.quality.toFixed(3)}`;
  const state = item.decision;
  $("state").hidden = !state;
  if (state) $("state").textContent = WORDS[state.action] + (state.label ? `: ${state.label}` : "");
}

function drawSample(item) {
  if (item.text !== null) { $("text").textContent = item.text; $("text").hidden = false; }
  if (item.row !== null) drawRow(item.row);
  if (run.colours !== null) {
    $("mask").hidden = false;
    regions.show(item, run).catch((error) => missing(error.message));
  } else if (item.image) drawPicture(item);
}

function drawRow(row) {
  const body = $("row").querySelector("tbody");
  body.replaceChildren(...Object.entries(row).map(([name, value]) => {
    const line = element("tr");
    const heading = element("th", name);
    heading.scope = "row";
    line.append(heading, element("td", value === null ? "" : String(value)));
    return line;
  }));
  $("row").hidden = false;
}

function drawPicture(item) {
  const picture = $("picture");
  picture.hidden = false;
  picture.onload = () => { picture.classList.toggle("small", picture.naturalWidth < 200 && picture.naturalHeight < 200); };
  picture.onerror = () => sayMissing(item.at);
  picture.alt = `Picture of ${item.id}`;
  picture.src = `picture/${item.at}`;
}

async function sayMissing(at) {
  $("picture").hidden = true;
  try {
    await ask(`picture/${at}`);
  } catch (error) {
    if (current()?.at === at) missing(error.message);
  }
}

function missing(text) {
  $("missing").textContent = text;
  $("missing").hidden = false;
}

function drawChange(item) {
  const same = item.given === item.suggested;
  $("change").className = same ? "same" : "";
  $("was").textContent = item.given ?? "no label";
  $("proposal").textContent = item.suggested ?? "nothing";
  $("accept").disabled = item.suggested === null;
  $("keep").firstChild.textContent = item.given === null ? "Leave without " : "Keep given ";
  $("undo").disabled = !item.decision && !done.length;
  $("previous").disabled = index === 0;
  $("next").disabled = index >= order.length - 1;
}

function drawEvidence(item) {
  const probs = Object.entries(item.probs);
  $("evidence").hidden = !probs.length && !item.votes;
  $("evidence").querySelector("h3").hidden = !probs.length;
  $("probs").replaceChildren(...probs.map(([name, share]) => {
    const line = element("li");
    const bar = element("progress");
    bar.max = 1;
    bar.value = share;
    bar.setAttribute("aria-label", name);
    line.append(element("span", name), bar, element("span", percent(share), "share"));
    return line;
  }));
  $("votes-part").hidden = !item.votes;
  $("votes").replaceChildren(...Object.entries(item.votes ?? {}).map(([name, label]) => {
    const line = element("li");
    line.append(element("span", name), element("span", label, label === item.suggested ? "" : "against"));
    return line;
  }));
}

function matchingClasses() {
  const typed = $("class-filter").value.trim().toLowerCase();
  const names = run.classes.map((each) => each.name);
  if (!typed) return names;
  const starting = names.filter((name) => name.toLowerCase().startsWith(typed));
  return [...starting, ...names.filter((name) => !starting.includes(name) && name.toLowerCase().includes(typed))];
}

function drawClasses() {
  const typed = $("class-filter").value.trim();
  const numbers = new Map(run.classes.slice(0, 9).map((each, place) => [each.name, place + 1]));
  $("class-list").replaceChildren(...matchingClasses().slice(0, 200).map((name, place) => {
    const line = element("li");
    const button = element("button", name, typed && place === 0 ? "first" : "");
    button.type = "button";
    if (numbers.has(name)) button.append(" ", element("kbd", numbers.get(name)));
    button.addEventListener("click", () => choose(name));
    line.append(button);
    return line;
  }));
}

function drawProgress(progress) {
  const left = progress.issues - progress.issues_decided;
  $("progress").textContent = `${progress.issues_decided.toLocaleString()} of ${progress.issues.toLocaleString()} decided`;
  $("bar").max = Math.max(1, progress.issues);
  $("bar").value = progress.issues_decided;
  document.title = `${left.toLocaleString()} left · ${run.source}`;
}

function speakItem() {
  const item = current();
  if (item) speak(`${item.id}: given ${item.given ?? "no label"}, suggested ${item.suggested ?? "nothing"}`);
}

function speakRegion() {
  const text = regions.spoken();
  if (text) speak(text);
}

// ---------------------------------------------------------------- deciding

function take(answer) {
  const item = items.get(answer.at);
  if (item) Object.assign(item, { revision: answer.revision, decision: answer.decision });
  if (answer.decision) states.set(answer.at, answer.decision.action);
  else states.delete(answer.at);
}

// What is pressed while a decision is being saved would be about an item that nobody has seen.
async function alone(work) {
  if (busy) return;
  busy = true;
  try {
    await work();
  } finally {
    busy = false;
  }
}

async function send(item, said) {
  try {
    const answer = await ask("api/decisions", { at: item.at, seen: item.revision, tab, ...said });
    take(answer);
    drawProgress(answer.progress);
    notice("");
    return true;
  } catch (error) {
    if (error.status === 409) {
      items.set(error.item.at, error.item);
      take(error.item);
      draw();
      const now = error.item.decision;
      notice(`Another tab has decided about ${error.item.id} meanwhile: ${now ? WORDS[now.action] : "its decision was undone"}`
        + `${now?.label ? `: ${now.label}` : ""}. Yours was not saved; decide again if you disagree.`);
    } else notice(error.message);
    return false;
  }
}

async function decideNow(said) {
  const item = current();
  if (!item || (said.action === "accept" && item.suggested === null)) return;
  if (said.action === "accept" && run.colours !== null) {
    if (!regions.ready(item)) return;
    said.regions = regions.decision();
  }
  if (!(await send(item, said))) return;
  done.push(item.at);
  await advance();
}

async function advance() {
  $("class-filter").value = "";
  let next = index + 1;
  if (["issues", "unlabelled", "all"].includes($("show").value)) {
    while (next < order.length && states.has(order[next])) next += 1;
  }
  if (next >= order.length) {
    await show(index);
    const open = order.filter((at) => !states.has(at)).length;
    notice(open ? `This was the last one; ${open} before it are open.` : "All of these are decided. Your decisions are saved; you may close the page.");
    return;
  }
  await show(next, true);
  speakItem();
}

const go = (by) => alone(() => show(index + by, true));
const decide = (said) => alone(() => decideNow(said));
const undo = () => alone(undoNow);
const choose = (name) => decide(name === current()?.given ? { action: "keep" } : { action: "class", label: name });

async function undoNow() {
  const shown = current();
  const at = done.length ? done.at(-1) : shown?.decision ? shown.at : undefined;
  if (at === undefined) return;
  try {
    await fetchItems([at]);
  } catch (error) {
    notice(error.message);
    return;
  }
  const item = items.get(at);
  if (!item.decision) { done.pop(); return; } // another tab has undone it already
  if (!(await send(item, { action: "undo" }))) { done.pop(); return; }
  done.pop();
  const place = order.indexOf(at);
  await show(place >= 0 ? place : index, true);
  speak(`Decision about ${item.id} undone`);
}

// ---------------------------------------------------------------- other tabs

async function poll() {
  if (document.hidden || busy) return;
  try {
    const heard = await ask(`api/changes?since=${since}`);
    since = heard.progress.count;
    for (const change of heard.changed) {
      const known = items.get(change.at);
      const news = known && known.revision < change.revision;
      if (known && known.revision > change.revision) continue;
      take(change);
      if (news && current() === known) {
        draw();
        notice(`Another tab has decided about ${known.id}: ${change.decision ? WORDS[change.decision.action] : "undone"}.`);
      }
    }
    drawProgress(heard.progress);
  } catch (error) {
    notice(error.message);
  }
}

// ---------------------------------------------------------------- filters, keys, start

async function applyFilters() {
  const query = new URLSearchParams();
  for (const name of ["show", "given", "suggested", "annotator"]) query.set(name, $(name).value);
  try {
    const answer = await ask(`api/queue?${query}`);
    order = answer.order;
    states = new Map(Object.entries(answer.states).map(([at, action]) => [Number(at), action]));
    since = Math.max(since, answer.progress.count);
    drawProgress(answer.progress);
    notice("");
    const first = order.findIndex((at) => !states.has(at));
    await show(first >= 0 ? first : 0);
  } catch (error) {
    notice(error.message);
  }
}

function fill(select, pairs) {
  select.replaceChildren(...pairs.map(([value, text]) => {
    const option = element("option", text);
    option.value = value;
    return option;
  }));
  select.addEventListener("change", () => { applyFilters(); select.blur(); });
}

const KEYS = {
  a: () => decide({ action: "accept" }), Enter: () => decide({ action: "accept" }), k: () => decide({ action: "keep" }),
  s: () => decide({ action: "skip" }), u: undo, ArrowRight: () => go(1), ArrowLeft: () => go(-1),
  "?": () => $("help").showModal(),
};
const MASK_KEYS = {
  n: () => regions.step(1), p: () => regions.step(-1), " ": () => regions.toggle(), x: () => regions.toggleAll(),
  v: () => regions.nextLayer(),
};

function focusFilter() {
  $("class-filter").focus();
  $("class-filter").select();
}

function onKey(event) {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey || !run || $("help").open) return;
  const target = event.target;
  if (target instanceof HTMLSelectElement || target instanceof HTMLInputElement) return;
  if (target instanceof HTMLButtonElement && (event.key === "Enter" || event.key === " ")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const masks = run.colours !== null;
  let action = (masks && MASK_KEYS[key]) || KEYS[key];
  if (!masks && (key === "c" || key === "/")) action = focusFilter;
  if (!masks && /^[1-9]$/.test(key) && run.classes[key - 1]) action = () => choose(run.classes[key - 1].name);
  if (!action) return;
  event.preventDefault();
  action();
}

function onFilterKey(event) {
  if (event.key === "Escape") { $("class-filter").value = ""; $("class-filter").blur(); drawClasses(); }
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  const [first] = matchingClasses();
  if (!$("class-filter").value.trim() || first === undefined) return;
  $("class-filter").blur();
  choose(first);
}

async function start() {
  try {
    run = await ask("api/run");
  } catch (error) {
    notice(error.message);
    return;
  }
  $("source").textContent = `${run.source} · ${run.label}`;
  fill($("show"), run.shows.map((name) => [name, SHOWS[name] ?? name]));
  const any = [["", "any class"]];
  fill($("given"), any.concat(run.classes.map((each) => [each.name, `${each.name} (${each.issues})`])));
  fill($("suggested"), any.concat(run.classes.map((each) => [each.name, each.name])));
  fill($("annotator"), [["", "any"]].concat(run.annotators.map((name) => [name, name])));
  $("annotator-label").hidden = !run.annotators.length;
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  for (const action of ["accept", "keep", "skip"]) $(action).addEventListener("click", () => decide({ action }));
  $("undo").addEventListener("click", undo);
  $("next").addEventListener("click", () => go(1));
  $("previous").addEventListener("click", () => go(-1));
  $("help-open").addEventListener("click", () => $("help").showModal());
  $("class-filter").addEventListener("input", drawClasses);
  $("class-filter").addEventListener("keydown", onFilterKey);
  document.addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", poll);
  since = run.progress.count;
  await applyFilters();
  document.body.dataset.ready = "true";
  setInterval(poll, POLL);
}

start();
