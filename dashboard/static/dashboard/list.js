// Keys for the job list (keys.js has those of every page), the word that there are new jobs, and searching until a job fits.
// The page works without this file.
"use strict";

const rows = [...document.querySelectorAll("#result_list tbody tr")];
const search = document.getElementById("searchbar");
const fresh = document.getElementById("new-jobs");
const further = document.getElementById("search-further");

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

search?.addEventListener("keydown", (event) => {
  if (event.key === "Escape") search.blur();
});

document.addEventListener("console:key", (event) => {
  const row = rows[current()];
  if (event.detail === "j") go(1);
  else if (event.detail === "k") go(-1);
  else if (event.detail === "x" && row) row.querySelector("input.action-select")?.click();
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
          // Said when the first ones come, and not again with each further one.
          if (fresh.hidden && text) document.dispatchEvent(new CustomEvent("live:say", { detail: text }));
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

// No index finds what is searched for: look further, page after page, until a job fits or there are no more.
if (further) {
  // The catalog is there only where the page is not in English.
  const gettext = window.gettext || ((words) => words);
  const start = gettext("Keep searching until one fits");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  button.textContent = start;
  further.after(button);
  const said = document.createElement("span");
  said.setAttribute("role", "status");
  button.after(said);
  const looked = document.getElementById("searched-jobs");
  let total = Number(looked.dataset.looked);
  let going = null; // what stops the search, while it goes on

  const step = async (signal) => {
    const url = further.href;
    const answer = await fetch(url, { credentials: "same-origin", cache: "no-store", redirect: "manual", signal });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const next = page.getElementById("search-further");
    if (!next || page.getElementById("result_list")) {
      location.assign(url);
      return false;
    }
    total += Number(page.getElementById("searched-jobs").dataset.looked);
    looked.textContent = total.toLocaleString(document.documentElement.lang || "en");
    document.getElementById("searched-to").replaceWith(document.adoptNode(page.getElementById("searched-to")));
    further.href = new URL(next.getAttribute("href"), url).href;
    return true;
  };

  button.addEventListener("click", async () => {
    if (going) {
      going.abort();
      return;
    }
    going = new AbortController();
    const { signal } = going;
    button.textContent = gettext("Stop");
    said.textContent = "";
    try {
      while (await step(signal));
    } catch {
      if (!signal.aborted) said.textContent = ` ${gettext("The server does not answer, or you are no longer signed in. Load the page again.")}`;
    }
    going = null;
    button.textContent = start;
  });
}

// What nobody filled in stays out of the address; without this the server leads to the clean one.
document.getElementById("changelist-search")?.addEventListener("formdata", (event) => {
  for (const [name, value] of [...event.formData.entries()]) {
    if (typeof value === "string" && !value.trim()) event.formData.delete(name);
  }
});
