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

  // Filters: anything that carries a data attribute of that name; what has none is not concerned.
  const form = document.querySelector(".filters");
  form.hidden = false;

  function filter() {
    const chosen = [...new FormData(form)].filter(([, wanted]) => wanted !== "");
    const hidden = (item) => chosen.some(([name, wanted]) => name in item.dataset && item.dataset[name] !== wanted);
    for (const item of document.querySelectorAll("main [data-budget]")) {
      item.hidden = hidden(item);
      if (item.dataset.line) {
        for (const line of item.closest("figure").querySelectorAll("svg ." + item.dataset.line)) {
          line.toggleAttribute("hidden", item.hidden);
        }
      }
    }
    for (const figure of document.querySelectorAll("figure")) {
      figure.hidden = figure.hidden || !figure.querySelector("li:not([hidden])");
    }
    for (const body of document.querySelectorAll("main table:not(.mini) tbody")) {
      body.hidden = !body.querySelector("tr[data-budget]:not([hidden])");
    }
    for (const group of document.querySelectorAll(".rungroup")) {
      group.hidden = !group.querySelector(":scope > details:not([hidden])");
    }
    const all = document.querySelectorAll("#results tr[data-budget]").length;
    const shown = document.querySelectorAll("#results tr[data-budget]:not([hidden])").length;
    form.querySelector("[type=reset]").hidden = chosen.length === 0;
    form.querySelector("output").textContent = chosen.length ? `${shown} of ${all} results` : "";
  }

  form.addEventListener("change", filter);
  form.addEventListener("reset", () => setTimeout(filter)); // the fields change after the event
  filter(); // a reload keeps what was chosen

  // A link to a run opens its details, also where a filter had hidden them.
  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    if (!target?.classList.contains("run")) return;
    if (target.closest("[hidden]")) form.reset();
    target.closest("details").hidden = false;
    target.closest(".rungroup").hidden = false;
    target.closest("details").open = true;
    target.focus({ preventScroll: true });
    target.closest("details").scrollIntoView();
  }

  addEventListener("hashchange", reveal);
  for (const link of document.querySelectorAll('a[href^="#run-"]')) {
    link.addEventListener("click", () => link.hash === location.hash && reveal()); // no hashchange the second time
  }
  reveal();
}
