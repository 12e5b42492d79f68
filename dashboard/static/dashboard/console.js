// Small comforts. Every page works without this file.
"use strict";

// A choice takes effect at once.
for (const select of document.querySelectorAll(".filter-bar select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

// One press is enough: a second one while the answer is on its way would find that the job had moved on.
for (const form of document.querySelectorAll("form.verbs, form.confirm, form.inline")) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  window.addEventListener("pageshow", () => { sent = false; });
}

// What scrolls can be reached by keyboard, also where the browser does not see to it.
const reachable = () => {
  for (const block of document.querySelectorAll("pre")) {
    const scrolls = block.scrollWidth > block.clientWidth || block.scrollHeight > block.clientHeight;
    if (scrolls) block.tabIndex = 0;
  }
};
reachable();
document.addEventListener("toggle", reachable, true);
document.addEventListener("live:swapped", reachable);
window.addEventListener("resize", reachable);

// The stock boxes for choosing from a long list name their help icon, but not as what.
window.addEventListener("load", () => {
  for (const icon of document.querySelectorAll("span.help-tooltip[aria-label]")) icon.setAttribute("role", "img");
});

// On a narrow screen the bar scrolls: the page that one is on is in sight.
for (const here of document.querySelectorAll(".console-nav [aria-current]")) {
  const bar = here.parentElement;
  const [inside, around] = [here.getBoundingClientRect(), bar.getBoundingClientRect()];
  bar.scrollLeft += inside.left - around.left - (around.width - inside.width) / 2;
}
