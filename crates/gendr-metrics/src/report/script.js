"use strict";
const zoom = document.getElementById("zoom");
const cases = [...document.querySelectorAll(".case")].map(element => ({
  element, x: 0.5, y: 0.5,
  compare: element.querySelector(".compare"),
  images: [...element.querySelectorAll(".crop img")],
}));

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Every crop of a case shows the same place, as large as the zoom says.
function place(one) {
  const scale = Number(zoom.value);
  const left = clamp(one.x * scale - 0.5, 0, scale - 1), top = clamp(one.y * scale - 0.5, 0, scale - 1);
  for (const image of one.images) {
    Object.assign(image.style, { width: `${scale * 100}%`, height: `${scale * 100}%`, left: `${-left * 100}%`, top: `${-top * 100}%` });
  }
  const lens = one.compare.querySelector(".lens");
  Object.assign(lens.style, { width: `${100 / scale}%`, height: `${100 / scale}%`, left: `${left / scale * 100}%`, top: `${top / scale * 100}%` });
}

function look(one, x, y) {
  one.x = clamp(x, 0, 1);
  one.y = clamp(y, 0, 1);
  place(one);
}

function setZoom(value) {
  zoom.value = value;
  document.getElementById("zoom-value").value = `${zoom.value}\u00d7`;
  cases.forEach(place);
}

for (const one of cases) {
  const { element, compare, images } = one;
  const split = element.querySelector(".split");
  const divide = () => compare.style.setProperty("--split", `${split.value}%`);
  const choose = (select, image) => {
    const chosen = images[element.querySelector(select).value];
    compare.querySelector(image).src = chosen.src;
    compare.querySelector(image).alt = chosen.alt;
  };
  const move = event => {
    const box = compare.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    look(one, x, (event.clientY - box.top) / box.height);
    if (event.buttons) { split.value = x * 100; divide(); }
  };
  split.addEventListener("input", divide);
  compare.addEventListener("pointermove", move);
  compare.addEventListener("pointerdown", move);
  compare.addEventListener("keydown", event => {
    const step = 0.1 / Number(zoom.value);
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    if (moves[event.key]) look(one, one.x + moves[event.key][0], one.y + moves[event.key][1]);
    else if (event.key === "+") setZoom(Number(zoom.value) + 1);
    else if (event.key === "-") setZoom(Number(zoom.value) - 1);
    else return;
    event.preventDefault();
  });
  for (const [select, image] of [[".left", ".over"], [".right", ".under"]]) {
    element.querySelector(select).addEventListener("change", () => choose(select, image));
    choose(select, image);
  }
  place(one);
}
if (zoom) zoom.addEventListener("input", () => setZoom(zoom.value));

// A click, or Enter, on a heading sorts; again, the other way round.
for (const heading of document.querySelectorAll(".sortable th[scope=col]")) {
  heading.tabIndex = 0;
  const sort = () => {
    const table = heading.closest("table"), column = heading.cellIndex;
    const down = heading.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th[scope=col]").forEach(other => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const text = row => row.cells[column].textContent;
    const rows = [...table.rows].slice(1).sort((a, b) => text(a).localeCompare(text(b), undefined, { numeric: false }) );
    const numbers = rows.every(row => text(row) === "" || Number.isFinite(Number(text(row))));
    if (numbers) rows.sort((a, b) => (text(a) === "") - (text(b) === "") || text(a) - text(b));
    if (down) rows.reverse();
    rows.forEach(row => table.tBodies[0].append(row));
  };
  heading.addEventListener("click", sort);
  heading.addEventListener("keydown", event => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); }
  });
}
document.documentElement.dataset.ready = cases.length;
