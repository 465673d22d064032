"use strict";
// What several views of the page share: the data, elements, texts, pictures; and the view of an expert.
const data = JSON.parse(document.getElementById("data").textContent);
const gates = data.gates;
const NONE = 0xffff;

/** An element with attributes and children; on* are listeners. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== undefined));
  return element;
}

const percent = part => (100 * part).toFixed(part < 0.1 ? 2 : 1) + " %";
const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : what.endsWith("ch") ? "es" : "s"}`;
const colour = expert => `hsl(${(expert * 137.508) % 360} 62% 55%)`;

/** Reads numbers of bytes, the lowest first. */
function reader(text) {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  let at = 0;
  return {
    left: () => bytes.length - at,
    next(size) {
      let value = 0;
      for (let i = 0; i < size; ++i) value += bytes[at++] * 2 ** (8 * i);
      return value;
    },
  };
}

/** Of tokens what each adds in whole characters. */
function texts(ids) {
  const decoder = new TextDecoder();
  return ids.map(id => {
    const bytes = Uint8Array.from(data.tokens[id], character => character.charCodeAt(0));
    if (bytes.length === 0 || (bytes.length === 1 && bytes[0] === 0)) return "\u25ae";
    return decoder.decode(bytes, {stream: true});
  });
}
const visible = text => text.replaceAll("\n", "\u21b5").replaceAll("\t", "\u21e5").replaceAll("\r", "");

/** The examples of an expert: two lists, the largest coefficients and drawn ones. */
function examplesOf(gate, expert) {
  const from = reader(gates[gate].examples[expert]);
  const sizes = [from.next(1), from.next(1)];
  return sizes.map(size => Array.from({length: size}, () => {
    const example = {sample: from.next(4), token: from.next(2), coefficient: from.next(2) / 65535};
    if (!data.text) return {...example, tile: from.next(2), crop: data.crops ? from.next(2) : NONE};
    example.mark = from.next(1);
    example.words = Array.from({length: from.next(1)}, () => ({id: from.next(2), share: from.next(1) / 255}));
    return example;
  }));
}

function textLine(example) {
  const words = texts(example.words.map(word => word.id));
  const line = make("span", {class: "words"});
  example.words.forEach((word, i) => {
    const shade = word.share > 0 ? `background-color:rgba(var(--mark),${(0.1 + 0.75 * word.share).toFixed(2)})` : undefined;
    const text = i === example.mark ? visible(words[i]) || "\u00b7" : visible(words[i]);
    if (i === example.mark || shade) {
      line.append(make(i === example.mark ? "b" : "span", {style: shade, title: word.share.toFixed(2)}, text));
    } else {
      line.append(text);
    }
  });
  return make("li", {},
    make("span", {class: "n", title: "coefficient"}, example.coefficient.toFixed(3)),
    make("span", {}, line, make("span", {class: "soft"}, `  window ${example.sample}, position ${example.token}`)));
}

const labelText = label => label < 0 ? "" : data.classes[label] || `class ${label}`;

/** Tile `tile` of a sheet of pictures, so many pixels a side; `part` of a grid: that square alone. */
function picture(tile, side, part, sheet = "images") {
  const {columns, count: tiles} = data[sheet], grid = data.images.grid;
  const zoom = part === undefined ? 1 : grid;
  const x = tile % columns, y = Math.floor(tile / columns);
  const [px, py] = part === undefined ? [0, 0] : [part % grid, Math.floor(part / grid)];
  const rows = Math.ceil(tiles / columns);
  return make("div", {class: "picture", role: "img", "aria-label": sheet === "images" ? labelText(data.images.labels[tile]) : "patch",
    style: `width:${side}px;height:${side}px;background-image:var(--${sheet});` +
      `background-size:${columns * side * zoom}px ${rows * side * zoom}px;` +
      `background-position:${-(x * zoom + px) * side}px ${-(y * zoom + py) * side}px`});
}

/** The place of a token in the grid of patches; undefined: it has none. */
function patchOf(gate, token) {
  if (gates[gate].unit !== "patch") return undefined;
  const tokens = gates[gate].perSample, patches = data.images.grid ** 2;
  return token - (tokens - patches) < 0 ? undefined : token - (tokens - patches);
}

function pictureFigure(gate, example) {
  const unit = gates[gate].unit;
  const where = unit === "image" ? "" : `, ${unit} ${example.token}`;
  const caption = make("figcaption", {}, `${example.coefficient.toFixed(3)} `);
  const shown = make("div", {class: "pair"});
  if (data.images && example.tile !== NONE) {
    const whole = picture(example.tile, 56);
    const patch = patchOf(gate, example.token);
    shown.append(whole);
    if (patch !== undefined) {
      const step = 100 / data.images.grid, grid = data.images.grid;
      whole.append(make("i", {style: `width:${step}%;height:${step}%;left:${patch % grid * step}%;` +
        `top:${Math.floor(patch / grid) * step}%`}));
      shown.append(example.crop === NONE ? picture(example.tile, 56, patch) : picture(example.crop, 56, undefined, "crops"));
    }
    caption.append(labelText(data.images.labels[example.tile]));
  }
  caption.append(make("div", {}, `image ${example.sample}${where}`));
  return make("figure", {}, shown, caption);
}

function exampleList(gate, examples) {
  if (examples.length === 0) return make("p", {class: "soft"}, "none");
  return data.text ? make("ol", {class: "lines"}, ...examples.map(textLine))
    : make("div", {class: "pictures"}, ...examples.map(example => pictureFigure(gate, example)));
}

/** What is known of an expert. */
function expertDetail(gate, expert) {
  const one = gates[gate];
  const [top, drawn] = examplesOf(gate, expert);
  const facts = [["chosen by", `${percent(one.chosen[expert] / one.tokens)} of ${count(one.tokens, one.unit)}`],
    ["active at", percent(one.active[expert] / one.tokens)],
    ["mean coefficient", one.mean[expert].toPrecision(3)]];
  if (one.without) {
    const cost = one.score - one.without[expert];
    facts.push(["its removal costs", data.text ? `${cost.toFixed(4)} nats a token` : `${(100 * cost).toFixed(2)} points of accuracy`]);
  }
  const panel = make("section", {"aria-label": `expert ${expert}`},
    make("h2", {}, `${one.name}, expert ${expert} `, make("span", {class: "swatch", style: `background:${colour(expert)}`})),
    make("ul", {class: "facts"}, ...facts.map(([name, value]) => make("li", {}, name + " ", make("b", {}, value)))));
  if (one.promoted && top.length > 0) {
    const from = reader(one.promoted[expert]);
    const chips = make("div", {class: "chips"});
    while (from.left() > 0) chips.append(make("span", {class: "chip"}, visible(texts([from.next(2)])[0]) || "\ufffd"));
    panel.append(make("h3", {}, "Tokens that it promotes"), chips);
  }
  for (const tree of data.trees || []) panel.append(...treeLines(tree, gate, expert));
  panel.append(make("h3", {}, "Largest coefficients"), exampleList(gate, top));
  panel.append(make("h3", {}, `Drawn among coefficients from ${data.threshold} on`), exampleList(gate, drawn));
  return panel;
}

/** Moves a focus that one element of `all` has, by keys: `across` elements make a line. */
function roving(all, chosen, across, key) {
  const size = all.length;
  const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across}[key];
  if (step) return Math.min(size - 1, Math.max(0, chosen + step)) ;
  return {Home: 0, End: size - 1}[key];
}

let chosen = {gate: 0, expert: 0, order: "number"};

function expertsInOrder(gate) {
  const one = gates[gate];
  const all = Array.from({length: one.experts}, (_, i) => i);
  const by = {number: () => 0, chosen: i => -one.chosen[i], mean: i => -one.mean[i],
    cost: i => one.without ? one.without[i] - one.score : 0}[chosen.order];
  return all.sort((a, b) => by(a) - by(b) || a - b);
}

function gateSelect(gate, change) {
  return make("select", {"aria-label": "layer", onchange: event => change(Number(event.target.value))},
    ...gates.map((one, i) => make("option", {value: i, selected: i === gate},
      `${one.name}, ${count(one.experts, "expert")}`)));
}

function expertView(root) {
  const one = gates[chosen.gate];
  const detail = make("div", {"aria-live": "polite"}, expertDetail(chosen.gate, chosen.expert));
  const most = Math.max(1, ...one.chosen);
  const order = expertsInOrder(chosen.gate);
  const cells = make("div", {class: "cells", role: "listbox", "aria-label": "experts"});
  const choose = (place, focus) => {
    chosen.expert = order[place];
    [...cells.children].forEach((cell, i) => {
      cell.setAttribute("aria-selected", i === place);
      cell.tabIndex = i === place ? 0 : -1;
    });
    if (focus) cells.children[place].focus();
    detail.replaceChildren(expertDetail(chosen.gate, chosen.expert));
    remember(`e/${chosen.gate}/${chosen.expert}`);
  };
  order.forEach((expert, place) => {
    const share = Math.log1p(one.chosen[expert]) / Math.log1p(most);
    cells.append(make("button", {role: "option", title: `expert ${expert}, chosen by ${count(one.chosen[expert], one.unit)}`,
      "aria-selected": expert === chosen.expert, tabindex: expert === chosen.expert ? 0 : -1,
      style: share > 0 ? `background-color:rgba(var(--mark),${(0.08 + 0.6 * share).toFixed(2)})` : undefined,
      onclick: () => choose(place, false)}, String(expert)));
  });
  cells.addEventListener("keydown", event => {
    const across = getComputedStyle(cells).gridTemplateColumns.split(" ").length;
    const next = roving(cells.children, order.indexOf(chosen.expert), across, event.key);
    if (next === undefined) return;
    event.preventDefault();
    choose(next, true);
  });
  const orders = [["number", "number"], ["chosen", "how often chosen"], ["mean", "mean coefficient"]];
  if (one.without) orders.push(["cost", "what its removal costs"]);
  const left = make("div", {},
    make("div", {class: "row"},
      make("label", {}, "Layer", gateSelect(chosen.gate, gate => { chosen.gate = gate; chosen.expert = 0; expertView(root); remember(`e/${gate}/0`); })),
      make("label", {}, "Order", make("select", {onchange: event => { chosen.order = event.target.value; expertView(root); }},
        ...orders.map(([value, text]) => make("option", {value, selected: value === chosen.order}, text))))),
    cells,
    make("p", {class: "soft"}, `The more ${one.unit === "patch" ? "patches" : one.unit + "s"} chose an expert, the stronger its colour; ` +
      `${one.unchosen} of ${one.experts} were never chosen, ${one.dead} never active; used like ${one.effective.toFixed(1)} evenly used ones.`));
  root.replaceChildren(make("div", {class: "two"}, left, detail));
  cells.querySelector("[aria-selected=true]").scrollIntoView({block: "nearest"});
}
