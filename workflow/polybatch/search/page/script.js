// The page's only script. Texts of strangers are written with textContent alone, so that no text becomes markup.
"use strict";

const at = (id) => document.getElementById(id);
const page = { state: null, asked: null, running: null, start: 0 };

/** An element with attributes and children; strings become text. */
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** Text in a language, in the direction of its script. */
const text = (name, lang, content, attributes = {}) => make(name, { dir: "auto", lang, ...attributes }, content);
const nameOf = (code) => page.state.languages.find((one) => one.code === code)?.name ?? code;
const percent = (share) => `${Math.round(100 * share)} %`;
const ms = (value) => (value < 10 ? value.toFixed(1) : Math.round(value).toString());
const number = (value) => value.toLocaleString("en");

/** Asks the server; a fault is an Error with its facts. */
async function ask(path, parameters = {}, signal = undefined) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "");
  let found;
  try {
    const response = await fetch(`${path}?${new URLSearchParams(given)}`, { signal, cache: "no-store" });
    found = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The program behind this page does not answer."), {
      facts: { "to do": "start `polybatch search` again, in the terminal where it ran" },
    });
  }
  if (found.fault && !("study" in found)) throw Object.assign(new Error(found.fault.problem), { facts: found.fault.facts });
  return found;
}

function tellFault(problem, facts = {}) {
  const told = Object.entries(facts).map(([name, words]) => make("p", {}, `${name}: ${words}`));
  at("fault").replaceChildren(make("p", {}, problem), ...told);
}
const clearFault = () => at("fault").replaceChildren();

/** The last parts of two runs' names in which they differ: what they are called on the page. */
function labels(runs) {
  if (runs.length < 2) return runs;
  const parts = runs.map((run) => run.split("/"));
  const short = parts.map((own, place) => own.filter((part) => !parts[1 - place].includes(part)));
  return short.map((own, place) => own.slice(0, 1).join("/") || runs[place]);
}

/** The words of an order of the list, with the models' names. */
function named(words) {
  const [first, second] = labels(page.state.runs);
  return words.replace("the first model", first).replace("the second model", second);
}

// What is asked: the address of the page holds it, so that it can be kept and sent on.

function fromAddress() {
  const given = new URLSearchParams(location.search);
  const [q, id, langs, lang] = ["q", "id", "langs", "lang"].map((key) => given.get(key) ?? "");
  return { q, id, langs, lang, top: given.get("top") ?? "10" };
}

function fromForm() {
  const langs = [...document.querySelectorAll("#languages input:checked")].map((box) => box.value).join(",");
  const q = at("question").value;
  const own = page.asked?.own;
  const same = own !== null && own !== undefined && own.text === q;
  return { q: same ? "" : q, id: same ? own.query_id : "", langs, lang: same ? "" : at("spoken-in").value, top: at("top").value };
}

function intoForm(asked) {
  const langs = asked.langs.split(",");
  for (const box of document.querySelectorAll("#languages input")) box.checked = langs.includes(box.value);
  at("top").value = [...at("top").options].some((one) => one.value === asked.top) ? asked.top : "10";
  at("question").value = asked.q;
  if (asked.lang) at("spoken-in").value = asked.lang;
}

/** Asks, shows the answer, and keeps the question in the address. */
async function search(asked, { keep = true, move = false } = {}) {
  const most = page.state.most_characters;
  clearFault();
  if (!asked.id && !asked.q.trim()) {
    at("status").textContent = "Type a question, or choose one of the benchmark's queries.";
    return;
  }
  if (asked.q.length > most) {
    tellFault("The question is too long.", { expected: `at most ${number(most)} characters`, found: `${number(asked.q.length)} characters` });
    return;
  }
  page.running?.abort();
  const running = (page.running = new AbortController());
  const start = performance.now();
  at("status").textContent = "Searching …";
  at("results").setAttribute("aria-busy", "true");
  try {
    const answer = await ask("/api/search", asked, running.signal);
    show(answer, asked, performance.now() - start);
    if (keep) {
      const given = Object.entries(asked).filter(([key, value]) => value !== "" && !(key === "top" && value === "10"));
      history.pushState(null, "", `?${new URLSearchParams(given)}`);
    }
    if (move) at("results").focus();
  } catch (error) {
    if (error.name === "AbortError") return;
    at("status").textContent = "";
    tellFault(error.message, error.facts);
  }
  at("results").removeAttribute("aria-busy");
}

function show(answer, asked, took) {
  page.asked = answer;
  at("question").value = answer.question;
  at("question").lang = answer.own?.lang ?? "";
  const encoded = answer.models.map((model) => ms(model.encode_ms)).join(" + ");
  const searched = answer.models.map((model) => ms(model.search_ms)).join(" + ");
  const passages = page.state.languages.reduce((sum, one) => sum + one.passages, 0);
  const fresh = answer.models.some((model) => model.encode_ms);
  const reading = fresh ? `encoded in ${encoded} ms, ` : answer.own ? "stored query, not encoded; " : "encoded before; ";
  at("status").textContent = `${reading}searched in ${searched} ms; ${ms(took)} ms together, ${number(passages)} passages`;
  const notes = [
    answer.own
      ? `${answer.own.query_id} is a query of the benchmark, in ${nameOf(answer.own.lang)}: what is relevant to it is marked.`
      : "A question of your own: what is relevant to it is not known.",
    answer.note,
    answer.models.some((model) => model.cut) ? "It is longer than a model reads: only its beginning counted." : "",
  ];
  at("own").textContent = notes.filter(Boolean).join(" ");
  const names = labels(answer.models.map((model) => model.run));
  at("models").replaceChildren(...answer.models.map((model, place) => ofModel(model, names, place, answer, asked)));
  at("results").hidden = false;
}

function ofModel(model, names, place, answer, asked) {
  const ranks = model.relevant_ranks;
  const few = ranks.slice(0, 12).join(", ") + (ranks.length > 12 ? ", …" : "");
  const heading = `model-${place}`;
  return make("section", { class: "model", "aria-labelledby": heading },
    make("h2", { id: heading, tabindex: "-1" }, names[place]),
    make("p", { class: "facts" }, model.run),
    names.length > 1 ? make("a", { class: "other", href: `#model-${1 - place}` }, `to ${names[1 - place]}`) : null,
    shares(model.shares, answer.own?.lang),
    ranks.length ? make("p", { class: "facts" }, `Relevant passages at ranks ${few}.`) : null,
    model.hits.length
      ? make("ol", { class: "hits" }, ...model.hits.map((hit) => ofHit(hit, names, asked)))
      : make("p", {}, "No passage in these languages."));
}

/** Languages among the first passages: a row each, so that two models can be read across. */
function shares(found, own) {
  const depths = Object.keys(found);
  const total = page.state.languages.reduce((sum, one) => sum + one.passages, 0);
  const rows = page.state.languages.filter((one) => one.passages).map((one) => {
    const cells = depths.map((depth) => {
      const filled = make("i"), corpus = make("b");
      filled.style.width = `${100 * found[depth][one.code]}%`;
      corpus.style.left = `calc(${(100 * one.passages) / total}% - 1px)`;
      return make("td", {}, make("div", { class: "share" },
        make("span", { class: "bar", "aria-hidden": "true" }, filled, corpus), make("span", {}, percent(found[depth][one.code]))));
    });
    return make("tr", { class: one.code === own ? "asked-in" : false },
      make("th", { scope: "row" }, one.name, one.code === own ? make("span", { class: "unseen" }, " (of the question)") : null), ...cells);
  });
  return make("table", { class: "shares" },
    make("caption", {}, "Languages of the first passages; the upright line is the language's share of all passages"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Language"),
      ...depths.map((depth) => make("th", { scope: "col" }, `first ${depth}`)))),
    make("tbody", {}, ...rows));
}

function ofHit(hit, names, asked) {
  const group = make("div", { class: "group", hidden: true });
  const button = make("button", { type: "button", "aria-expanded": "false" },
    hit.translations ? `Parallel passages (${hit.translations})` : "Ranks");
  button.addEventListener("click", () => toggle(button, group, hit, names, asked));
  return make("li", { class: "hit" },
    make("div", { class: "mark" },
      make("span", { class: "rank", title: "rank among all passages" }, hit.rank.toString()),
      make("span", { class: "lang", title: nameOf(hit.lang) }, hit.lang, make("span", { class: "unseen" }, ` ${nameOf(hit.lang)}`)),
      make("span", { title: "cosine of passage and question" }, hit.score.toFixed(3)),
      hit.relevant === null ? null : hit.relevant ? make("span", { class: "yes" }, "✓ relevant") : make("span", {}, "not relevant"),
      button),
    text("p", hit.lang, hit.text, { class: "text" }),
    group);
}

/** Opens or closes the passages that are parallel to a hit, with the rank that each model gives them. */
async function toggle(button, group, hit, names, asked) {
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  group.hidden = open;
  if (open || group.childElementCount) return;
  try {
    const found = await ask("/api/translations", { passage: hit.passage_id, q: asked.q, id: asked.id, lang: asked.lang });
    // Roles are spelled out because a narrow window lays the rows out as grids, which browsers no longer take for rows.
    const rows = found.passages.map((one) => make("tr", { role: "row", class: one.passage_id === hit.passage_id ? "here" : false },
      make("th", { role: "rowheader", scope: "row" }, one.lang, make("span", { class: "unseen" }, ` ${nameOf(one.lang)}`)),
      ...one.ranks.map((rank) => make("td", { role: "cell", class: "n" }, rank ? number(rank) : "taken out")),
      text("td", one.lang, one.text, { role: "cell", class: "text" })));
    const heads = [make("span", { class: "unseen" }, "Language"), ...names, "Passage"];
    group.replaceChildren(make("table", { role: "table" },
      make("caption", {}, "Ranks among the passages of all languages"),
      make("thead", { role: "rowgroup" }, make("tr", { role: "row" },
        ...heads.map((head) => make("th", { role: "columnheader", scope: "col", class: names.includes(head) ? "n" : false }, head)))),
      make("tbody", { role: "rowgroup" }, ...rows)));
  } catch (error) {
    group.replaceChildren(make("p", {}, `${error.message} ${Object.values(error.facts ?? {}).join(" ")}`));
  }
}

// The benchmark's queries.

async function list() {
  const given = { by: at("by").value, lang: at("lang").value, start: page.start };
  let found;
  try {
    found = await ask("/api/queries", given);
  } catch (error) {
    at("queries-status").textContent = `${error.message} ${Object.values(error.facts ?? {}).join(" ")}`;
    return;
  }
  if (found.compared < 1) {
    at("queries-status").textContent = `Comparing the models on ${number(found.of)} queries: ${percent(found.compared)} …`;
    setTimeout(list, 700);
    return;
  }
  const some = found.sampled < found.of ? `; ${number(found.sampled)} of ${number(found.of)}, evenly taken, were compared` : "";
  const last = Math.min(page.start + found.rows.length, found.total);
  at("queries-status").textContent =
    (found.total ? `${number(page.start + 1)} to ${number(last)} of ${number(found.total)} queries` : "No query") +
    `${some}. Counts are among the first ten passages.`;
  at("before").disabled = page.start === 0;
  at("after").disabled = last >= found.total;
  const [first, second] = labels(page.state.runs);
  at("list").tHead.replaceChildren(make("tr", {}, make("th", { scope: "col" }, "Query"), make("th", { scope: "col" }, ""),
    ...["passages that differ", `relevant: ${first}`, `relevant: ${second}`, `in the query's language: ${first}`,
      `in the query's language: ${second}`].map((words) =>
      make("th", { scope: "col", class: "n" }, words))));
  at("list").tHead.querySelector("th:nth-child(2)").append(make("span", { class: "unseen" }, "Language"));
  at("list").tBodies[0].replaceChildren(...found.rows.map((row) => {
    const chosen = make("button", { type: "button" }, text("span", row.query.lang, row.query.text));
    chosen.addEventListener("click", () => search({ ...fromForm(), q: "", lang: "", id: row.query.query_id }, { move: true }));
    return make("tr", {}, make("th", { scope: "row", class: "q" }, chosen),
      make("td", {}, make("span", { class: "lang", title: nameOf(row.query.lang) }, row.query.lang)),
      ...[row.other, ...row.found, ...row.own].map((count) => make("td", { class: "n" }, count.toString())));
  }));
}

// The beginning.

async function begin() {
  let state;
  try {
    state = await ask("/api/state");
  } catch (error) {
    tellFault(error.message, error.facts);
    return;
  }
  page.state = { languages: [], ...state };
  at("about").textContent = `study ${state.study} · benchmark ${state.benchmark} · ${state.runs.join("  against  ")}`;
  if (state.fault) {
    at("status").textContent = "";
    tellFault(state.fault.problem, state.fault.facts);
    return;
  }
  if (!state.ready) {
    at("status").textContent = `Loading: ${state.line}`;
    setTimeout(begin, 400);
    return;
  }
  ready();
}

function ready() {
  const { languages, orders, indexes } = page.state;
  const passages = languages.reduce((sum, one) => sum + one.passages, 0);
  at("status").textContent = `Ready: ${number(passages)} passages in ${languages.filter((one) => one.passages).length} languages.` +
    (indexes.length ? ` The runs' index (${[...new Set(indexes)].join(", ")}) is not exact; here every passage is compared.` : "");
  at("languages").replaceChildren(...languages.filter((one) => one.passages).map((one) =>
    make("label", {}, make("input", { type: "checkbox", value: one.code, onchange: again }), one.name)));
  at("filter").hidden = false;
  const spoken = page.state.question_languages;
  at("spoken-in").replaceChildren(...spoken.map((one) => make("option", { value: one.code }, one.name)));
  at("spoken").hidden = !spoken.length;
  for (const id of ["question", "top", "send"]) at(id).disabled = false;
  if (Object.keys(orders).length) {
    at("by").replaceChildren(...Object.entries(orders).map(([name, words]) => make("option", { value: name }, named(words))));
    at("lang").replaceChildren(make("option", { value: "" }, "all languages"),
      ...languages.filter((one) => one.queries).map((one) => make("option", { value: one.code }, one.name)));
    at("queries").hidden = false;
    list();
  }
  const asked = fromAddress();
  intoForm(asked);
  if (asked.q || asked.id) search(asked, { keep: false });
  else at("question").focus();
}

/** The same question with another filter or number. */
function again() {
  if (page.asked) search(fromForm());
}

function relist() {
  page.start = 0;
  list();
}

at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  search(fromForm());
});
at("top").addEventListener("change", again);
at("every").addEventListener("click", () => {
  for (const box of document.querySelectorAll("#languages input")) box.checked = false;
  again();
});
at("by").addEventListener("change", relist);
at("lang").addEventListener("change", relist);
at("before").addEventListener("click", () => { page.start = Math.max(0, page.start - 50); list(); });
at("after").addEventListener("click", () => { page.start += 50; list(); });
addEventListener("popstate", () => {
  const asked = fromAddress();
  intoForm(asked);
  if (asked.q || asked.id) search(asked, { keep: false });
});
begin();
