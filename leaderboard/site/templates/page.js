"use strict";
{
  // Sorting: within each tbody, so that rows stay under their task or budget.
  const value = (row, column) => row.cells[column].dataset.v ?? "";

  function sort(button) {
    const th = button.parentElement;
    const column = th.cellIndex;
    const numeric = button.dataset.kind === "number";
    const first = numeric && !th.classList.contains("rank") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = th.getAttribute("aria-sort") === first ? second : first;
    const sign = order === "ascending" ? 1 : -1;
    for (const other of th.parentElement.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
    th.setAttribute("aria-sort", order);
    for (const body of th.closest("table").tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      rows.sort((a, b) => {
        const [x, y] = [value(a, column), value(b, column)];
        if (x === "" || y === "") return (x === "") - (y === ""); // no value: last, in both orders
        return sign * (numeric ? x - y : x.localeCompare(y));
      });
      body.append(...rows);
    }
  }

  for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => sort(button));

  // Filters: rows and lines carry a data attribute for each; what has none of that name is not concerned.
  const form = document.querySelector(".filters");
  const items = [...document.querySelectorAll("main [data-row]")];
  const words = new Map();
  const text = (item) => {
    if (!words.has(item)) words.set(item, (item.querySelector("th") ?? item).textContent.toLowerCase());
    return words.get(item);
  };

  function filter() {
    const chosen = [...new FormData(form)].filter(([, wanted]) => wanted.trim() !== "");
    const fails = (item) => ([name, wanted]) =>
      name === "find"
        ? !wanted.toLowerCase().trim().split(/\s+/).every((word) => text(item).includes(word))
        : name in item.dataset && item.dataset[name] !== wanted;
    for (const item of items) {
      item.hidden = chosen.some(fails(item));
      if (item.dataset.line) {
        for (const line of item.closest("figure").querySelectorAll("svg ." + item.dataset.line)) {
          line.toggleAttribute("hidden", item.hidden);
        }
      }
    }
    const budget = form.elements.budget?.value;
    for (const figure of document.querySelectorAll("main figure[data-budget]")) {
      const lines = [...figure.querySelectorAll("li[data-row]")];
      const other = budget && budget !== figure.dataset.budget;
      figure.hidden = other || (lines.length > 0 && lines.every((line) => line.hidden));
    }
    for (const body of document.querySelectorAll("main tbody:has([data-row])")) {
      body.hidden = !body.querySelector("[data-row]:not([hidden])");
    }
    const rows = items.filter((item) => item.localName === "tr");
    const shown = rows.filter((row) => !row.hidden).length;
    form.querySelector("[type=reset]").hidden = chosen.length === 0;
    form.querySelector("output").textContent = chosen.length ? `${shown} of ${rows.length} rows` : "";
  }

  if (form && items.length) {
    // Only filters that this page's rows know of.
    for (const field of form.querySelectorAll("select")) {
      field.closest("label").hidden = !items.some((item) => field.name in item.dataset);
    }
    form.hidden = false;
    form.addEventListener("input", filter);
    form.addEventListener("change", filter);
    form.addEventListener("reset", () => setTimeout(filter)); // the fields change after the event
    form.addEventListener("submit", (event) => event.preventDefault());
    filter(); // a reload keeps what was chosen
  }

  // A legend's entry lifts its line out of the others.
  for (const item of document.querySelectorAll("[data-line]")) {
    const svg = item.closest("figure").querySelector(".plot svg");
    const lift = (on) => {
      svg.classList.toggle("lifted", on);
      for (const line of svg.querySelectorAll("." + item.dataset.line)) line.classList.toggle("lift", on);
    };
    item.addEventListener("pointerenter", () => lift(true));
    item.addEventListener("pointerleave", () => lift(false));
  }
}
