// Keys for the job list (keys.js has those of every page), and the word that there are new jobs. The page works without this file.
"use strict";

const rows = [...document.querySelectorAll("#result_list tbody tr")];
const search = document.getElementById("searchbar");
const fresh = document.getElementById("new-jobs");

function isTyping(target) {
  return target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]") !== null;
}

function current() {
  return rows.findIndex((row) => row.contains(document.activeElement));
}

function go(step) {
  const at = current();
  const next = at < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + step, 0), rows.length - 1);
  // The job's own link: Enter opens it, and screen readers say which job it is.
  rows[next]?.querySelector("th a, td.field-job a")?.focus();
}

document.addEventListener("focusin", () => {
  const at = current();
  rows.forEach((row, place) => row.classList.toggle("current", place === at));
});

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape" && event.target === search) search.blur();
    return;
  }
  const row = rows[current()];
  if (event.key === "j") go(1);
  else if (event.key === "k") go(-1);
  else if (event.key === "x" && row) row.querySelector("input.action-select")?.click();
  else if (event.key === "r" && row) row.querySelector("button[formaction*='/retry/']")?.click();
  else return;
  event.preventDefault();
});

// "12 new": the rows stay where they are until the person asks for the new ones.
if (fresh) {
  const every = 10_000;
  const ask = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(fresh.dataset.new, { headers: { Accept: "application/json" } });
        if (answer.ok) {
          const { text } = await answer.json();
          fresh.hidden = !text;
          fresh.textContent = text;
        }
      } catch {
        // The next time may do better.
      }
    }
    setTimeout(ask, every);
  };
  setTimeout(ask, every);
}
