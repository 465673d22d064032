"use strict";
// The other views, and what turns from one to another.

/** Shows expert `expert` of gate `gate`. */
function goTo(gate, expert) {
  chosen.gate = gate;
  chosen.expert = expert;
  show("e", true);
  remember(`e/${gate}/${expert}`);
}
const link = (gate, expert, text) => make("button", {onclick: () => goTo(gate, expert)},
  make("span", {class: "swatch", style: `background:${colour(expert)}`}), " " + (text || `expert ${expert}`));

/** The branches of a tree that an expert of it has, or hangs on. */
function treeLines(tree, gate, expert) {
  const upper = gates[tree.upper].experts, lower = gates[tree.lower].experts;
  const below = gate === tree.upper;
  if (!below && gate !== tree.lower) return [];
  const shares = Array.from({length: below ? lower : upper},
    (_, i) => ({other: i, share: tree.mean[below ? expert * lower + i : i * lower + expert]}));
  return [make("h3", {}, below ? `Experts of ${gates[tree.lower].name} that go with it` : `Branches of ${gates[tree.upper].name} that it is on`),
    branches(shares, below ? tree.lower : tree.upper, 8)];
}

function branches(shares, gate, most) {
  const sum = shares.reduce((all, {share}) => all + share, 0);
  const largest = shares.filter(({share}) => share > 0).sort((a, b) => b.share - a.share || a.other - b.other).slice(0, most);
  if (largest.length === 0) return make("p", {class: "soft"}, "none");
  return make("div", {class: "branches"}, ...largest.map(({other, share}) => make("div", {class: "row", style: "margin:.15rem 0"},
    link(gate, other), make("span", {class: "soft"}, percent(share / sum)),
    make("span", {style: `display:inline-block;height:.6rem;width:${(9 * share / sum).toFixed(2)}rem;background:var(--bar)`}))));
}

function treeView(root) {
  root.replaceChildren(...data.trees.flatMap(tree => {
    const upper = gates[tree.upper], lower = gates[tree.lower];
    const all = Array.from({length: upper.experts}, (_, n) => {
      const shares = Array.from({length: lower.experts}, (_, i) => ({other: i, share: tree.mean[n * lower.experts + i]}));
      return {n, shares, sum: shares.reduce((sum, {share}) => sum + share, 0)};
    }).sort((a, b) => b.sum - a.sum || a.n - b.n);
    return [make("h2", {}, `${upper.name}, with what goes with each`),
      make("p", {class: "soft"}, "Shares of the product of both levels' coefficients, mean over all tokens; the largest first."),
      make("div", {class: "tree"}, ...all.map(({n, shares, sum}, i) => {
        const inside = make("details", {open: i === 0, ontoggle: event => {
          if (event.target.open && event.target.children.length === 1) {
            event.target.append(link(tree.upper, n, `show expert ${n}`), branches(shares, tree.lower, 12));
          }
        }}, make("summary", {}, `expert ${n}: ${percent(sum)}`));
        return inside;
      }))];
  }));
}

/** The experts that worked at each token of a lane. */
function laneOf(text) {
  const from = reader(text), tokens = [];
  while (from.left() > 0) {
    tokens.push(Array.from({length: 4}, () => ({expert: from.next(2) - 1, share: from.next(1) / 255})).filter(({expert}) => expert >= 0));
  }
  return tokens;
}

/** Experts above each other, as high as their coefficients. */
function stripes(experts) {
  let height = 0;
  const stops = experts.map(({expert, share}) => {
    const from = height;
    height += 100 * share;
    return `${colour(expert)} ${from.toFixed(0)}% ${height.toFixed(0)}%`;
  });
  return `background-image:linear-gradient(to top,${[...stops, `transparent ${height.toFixed(0)}% 100%`].join(",")})`;
}

let shownNumber = 0;
const titleOf = shown => shown.tokens ? `${shown.title}: ${visible(texts(shown.tokens.slice(0, 40)).join("")).slice(0, 40)}` : shown.title;

function promptView(root) {
  const one = data.shown[shownNumber];
  const lanes = one.lanes.map(laneOf);
  const words = data.text ? texts(one.tokens).map(visible) : undefined;
  const said = make("div", {class: "said", role: "status"});
  const rows = lanes.map(() => []);
  let at = {lane: 0, token: 0};
  const tell = (lane, token, focus) => {
    const before = rows[at.lane][at.token];
    if (before) { before.classList.remove("at"); before.tabIndex = -1; }
    at = {lane, token};
    const cell = rows[lane][token];
    cell.classList.add("at");
    cell.tabIndex = 0;
    if (focus) cell.focus();
    const unit = gates[lane].unit;
    said.replaceChildren(make("b", {}, `${gates[lane].name}, ${unit} ${unit === "image" ? "" : token}`),
      words ? make("span", {class: "words"}, " " + words[token]) : "", " ",
      ...lanes[lane][token].flatMap(({expert, share}) => [link(lane, expert), ` ${share.toFixed(2)} `]));
  };
  const cell = (lane, token) => {
    const made = make("i", {tabindex: lane === 0 && token === 0 ? 0 : -1, role: "gridcell",
      "aria-label": `${gates[lane].name}, ${gates[lane].unit} ${token}: ` +
        lanes[lane][token].map(({expert, share}) => `expert ${expert} ${share.toFixed(2)}`).join(", "),
      onclick: () => tell(lane, token, true), onmouseenter: () => tell(lane, token, false)});
    rows[lane][token] = made;
    return made;
  };
  const body = data.text ? wordLanes(lanes, words, cell) : pictureLanes(one, lanes, cell);
  body.addEventListener("keydown", event => {
    const step = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0]}[event.key];
    if (!step) return;
    event.preventDefault();
    const lane = Math.min(lanes.length - 1, Math.max(0, at.lane + step[0]));
    tell(lane, Math.min(lanes[lane].length - 1, Math.max(0, at.token + step[1])), true);
  });
  tell(0, 0, false);
  root.replaceChildren(
    make("div", {class: "row"}, make("label", {}, "Shown", make("select", {onchange: event => {
      shownNumber = Number(event.target.value);
      promptView(root);
      remember(`p/${shownNumber}`);
    }}, ...data.shown.map((shown, i) => make("option", {value: i, selected: i === shownNumber}, titleOf(shown)))))),
    body, said,
    make("p", {class: "soft"}, "Each cell has a colour for each of the four experts with the largest coefficients, as high as these are. Arrow keys go from cell to cell."));
}

function wordLanes(lanes, words, cell) {
  return make("div", {class: "scroll"}, make("table", {class: "lanes", role: "grid", "aria-label": "experts of each token"},
    make("tr", {}, make("th", {}), ...words.map(word => make("td", {class: "word"}, word || "\u00a0"))),
    ...lanes.map((lane, l) => make("tr", {}, make("th", {scope: "row"}, gates[l].name), ...lane.map((experts, t) => {
      const made = cell(l, t);
      made.setAttribute("style", stripes(experts));
      return make("td", {}, made);
    })))));
}

function pictureLanes(one, lanes, cell) {
  const maps = make("div", {class: "maps", role: "grid", "aria-label": "experts of each part"});
  if (data.images && one.tile !== NONE) {
    maps.append(make("figure", {style: "margin:0"}, make("figcaption", {class: "soft"}, labelText(one.label)), picture(one.tile, 160)));
  }
  lanes.forEach((lane, l) => {
    const name = make("figcaption", {class: "soft"}, gates[l].name);
    const place = gates[l].unit === "patch" ? lane.map((_, t) => patchOf(l, t)) : [];
    if (gates[l].unit === "patch") {
      const grid = data.images.grid;
      const map = one.tile === NONE ? make("div", {class: "picture", style: "width:160px;height:160px"}) : picture(one.tile, 160);
      const over = make("div", {class: "grid", style: `grid-template-columns:repeat(${grid},1fr);width:160px;height:160px`});
      lane.forEach((experts, t) => {
        const made = cell(l, t);
        if (place[t] === undefined) return;
        const best = experts[0];
        made.setAttribute("style", best ? `background:${colour(best.expert)};opacity:${(0.25 + 0.6 * best.share).toFixed(2)}` : "");
        over.append(made);
      });
      map.append(over);
      maps.append(make("figure", {style: "margin:0"}, name, map));
      return;
    }
    const strip = make("div", {class: "strip"});
    lane.forEach((experts, t) => {
      const made = cell(l, t);
      made.setAttribute("style", stripes(experts));
      strip.append(made);
    });
    maps.append(make("figure", {style: "margin:0"}, name, strip));
  });
  return maps;
}

function runsView(root) {
  const runs = [{run: data.run, gates}];
  if (data.other) runs.push({run: data.other.run, gates: data.other.gates});
  const columns = [["experts", g => g.experts], ["active", g => percent(g.share)], ["dead", g => g.dead], ["unchosen", g => g.unchosen],
    ["nats", g => g.nats.toFixed(3)], ["effective", g => g.effective.toFixed(1), g => g.effective / g.experts]];
  const longest = Math.max(...runs.map(({gates: all}) => all.length));
  const head = make("tr", {}, make("th", {}, "layer"), ...runs.flatMap(() => columns.map(([name]) => make("th", {}, name))));
  const body = Array.from({length: longest}, (_, i) => make("tr", {}, make("th", {scope: "row"}, (runs.find(({gates: all}) => all[i]).gates[i]).name),
    ...runs.flatMap(({gates: all}) => columns.map(([, text, share]) => !all[i] ? make("td", {})
      : make("td", share ? {class: "bar", style: `--w:${(100 * share(all[i])).toFixed(1)}%;min-width:8rem`} : {}, String(text(all[i])))))));
  const names = runs.length === 1 ? [] : [make("tr", {}, make("th", {}), ...runs.map(({run}) => make("th", {colspan: columns.length}, `${run.run}, step ${run.step}`)))];
  root.replaceChildren(
    ...runs.map(({run}) => make("p", {}, make("b", {}, run.run), `, step ${run.step}: ${run.model}; ${count(run.samples, "sample")} of ${run.data}, ${run.part}`)),
    make("figure", {class: "scroll chart"}, document.getElementById("chart").content.cloneNode(true)),
    make("div", {class: "scroll"}, make("table", {}, make("thead", {}, ...names, head), make("tbody", {}, ...body))),
    make("p", {class: "soft"}, "active: share of the experts with a coefficient above 0, mean over tokens; dead: no token has one; " +
      `unchosen: none of at least ${data.threshold}; nats: entropy of a token's coefficients, mean; effective: exp of the entropy of the mean ` +
      "coefficients, so many evenly used experts have it; its bar is its share of all."));
}

const views = [["e", "Experts", expertView]];
if (data.shown.length > 0) views.push(["p", data.text ? "Texts" : "Images", promptView]);
if (data.trees) views.push(["t", "Tree", treeView]);
views.push(["r", data.other ? "Both runs" : "All layers", runsView]);
const tabs = document.getElementById("tabs"), main = document.getElementById("view");

function remember(place) {
  history.replaceState(null, "", "#" + place);
}

function show(name, focus) {
  const found = views.findIndex(([key]) => key === name);
  [...tabs.children].forEach((tab, i) => {
    tab.setAttribute("aria-selected", i === found);
    tab.tabIndex = i === found ? 0 : -1;
  });
  if (focus) tabs.children[found].focus();
  views[found][2](main);
}

views.forEach(([name, text]) => tabs.append(make("button", {role: "tab", "aria-controls": "view", onclick: () => { show(name); remember(name); }}, text)));
tabs.addEventListener("keydown", event => {
  const next = roving(tabs.children, [...tabs.children].indexOf(document.activeElement), 1, event.key);
  if (next === undefined) return;
  event.preventDefault();
  show(views[next][0], true);
  remember(views[next][0]);
});

function start() {
  const [view, first, second] = location.hash.slice(1).split("/");
  for (const gate of gates) gate.perSample = Math.round(gate.tokens / data.run.samples);
  for (const sheet of ["images", "crops"]) {
    if (data[sheet]) document.documentElement.style.setProperty(`--${sheet}`, `url(${data[sheet].uri})`);
  }
  if (view === "e" && gates[first] && Number(second) < gates[first].experts) chosen = {...chosen, gate: Number(first), expert: Number(second)};
  if (view === "p" && data.shown[first]) shownNumber = Number(first);
  if (!location.hash) {
    const one = gates[0];
    chosen.expert = one.chosen.indexOf(Math.max(...one.chosen));
  }
  show(views.some(([name]) => name === view) ? view : "e");
  document.body.dataset.ready = Math.round(performance.now());
}
start();
